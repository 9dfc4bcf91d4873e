"""One of the archives that are merged: its lines with their receipts, its journal, its gaps."""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.archive.datafile import BLOCK_BYTES, DataFile
from kraken_l3.archive.gaps import Gap, gaps_in, last_receive_ns
from kraken_l3.archive.journal import (
    Acknowledged,
    ClockStep,
    Connected,
    Control,
    Disconnected,
    HandedOver,
    Instruments,
    Record,
    Rejected,
    Resync,
    Started,
    Unrecognised,
)
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.receipts import RECEIVE_TIME_UNKNOWN
from kraken_l3.archive.scan import BOM
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import MESSAGE_COLUMNS, Columns, EngineOptions
from kraken_l3.errors import DamageFound, UsageError
from kraken_l3.model.events import MessageKind, Verdict
from kraken_l3.model.frames import FrameColumns
from kraken_l3.protocol.alignment import time_of
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in
from kraken_l3.rebuild.playback import Step, play

__all__ = ["DONE", "LED", "NO_MESSAGE", "PENDING", "Source", "ranked"]

#: What is read at a time: little, for what waits to be aligned is in memory.
READ_BYTES = 1024 * 1024
#: So many of its last lines tell how far a source is read.
_LAST_LINES = 15
#: In place of a symbol: a line that is damaged or no data.
NO_MESSAGE = -1
#: States of a line: to be aligned; to be written; written, or left out.
PENDING, LED, DONE = range(3)
_HEAD_BYTES = 1024 * 1024
#: In columns of the engine: what is no update, and what it did not find in order.
_NO_UPDATE = re.compile(b"[^" + bytes([MessageKind.UPDATE]) + b"]", re.DOTALL)
_NOT_OK = re.compile(b"[^" + bytes([Verdict.OK]) + b"]", re.DOTALL)
#: Lines that are done are forgotten so many at a time.
_FORGOTTEN_AT_ONCE = 16_384

_CARRIED_OVER = (
    Connected,
    Disconnected,
    Control,
    Unrecognised,
    Acknowledged,
    Rejected,
    Resync,
    HandedOver,
    Instruments,
    ClockStep,
)


class _Ranked(NamedTuple):
    first_ns: int
    digest: str
    name: str
    archive: Archive


def ranked(paths: Sequence[Path]) -> list[tuple[Archive, str]]:
    """Archives with a digest of each, by what they hold, whatever the order in which they were named.

    The one with the earliest message comes first. Only identical archives rank alike.

    Raises:
        UsageError: one of them does not exist, or has no level3 data.
    """
    found = [_rank(path) for path in paths]
    digests = [each.digest for each in found]
    found = [
        each._replace(digest=f"{each.digest}-{_digest(each.archive, whole=True)}")
        if digests.count(each.digest) > 1
        else each
        for each in found
    ]
    return [(each.archive, each.digest) for each in sorted(found, key=lambda each: each[:3])]


def _rank(path: Path) -> _Ranked:
    archive = open_archive(path)
    files = archive.files()
    if not files:
        raise UsageError("no level3 data here", where=str(path), hint="Its files are named l3-YYYY-MM-DD.ndjson")
    with DataFile(files[0]) as file:
        head = next((block.data for block in file.blocks(size=_HEAD_BYTES)), b"")
    first_ns = next(filter(None, map(time_of, head.split(b"\n")[:1000])), 0)
    return _Ranked(first_ns, _digest(archive, whole=False), path.resolve().name, archive)


def _digest(archive: Archive, *, whole: bool) -> str:
    """Of the contents, or of their beginnings and sizes."""
    sha256 = hashlib.sha256()
    for stream in Stream:
        for path in archive.files(stream) if archive.is_directory or stream is Stream.LEVEL3 else ():
            with DataFile(path) as file:
                size = file.source.size()
                sha256.update(f"{stream.value} {file.day} {file.part} {size} ".encode())
                for at in range(0, size if whole else min(size, _HEAD_BYTES), BLOCK_BYTES):
                    sha256.update(file.source.read_at(at, BLOCK_BYTES if whole else _HEAD_BYTES))
                lines = len(file.receipts) if file.receipts is not None else 0
                for first in range(0, lines if whole else min(lines, 4096), 4096):
                    sha256.update(file.receipt_bytes(first, 4096))
    for day in archive.days:
        for record in archive.journal(day):
            sha256.update(msgspec.json.encode(record))
            if not whole:
                break
    return sha256.hexdigest()[:32]


class Source:
    """See the module. A line has a number that counts from 0 over the whole archive.

    Args:
        rank: which of the sources it is.
        of: how many there are.
        archive: what it reads.
        engine_name: see `engine.choose`.
        owner: of what a follower kept, the rank of the archive that it lies in, whose journal has its connections.

    Attributes:
        name: of its directory or file.
        is_follower: it is what a follower kept: no whole recording, so nothing is missing where it has nothing.
        position_ns: Kraken's time, up to which it is read.
        last_ns: Kraken's time of its last line, as far as it is read.
        is_over: whether it is read to its end.
        first: the number of the first line that is remembered. For each from there on:
        payload, ns, recv, mono, connection, flags, symbol, state: the line, its place in Kraken's time, its receipt,
            the engine's number of its symbol (or NO_MESSAGE), what became of it.
        elsewhere: for each source, when that one received the same message (0: it did not).
        pending: by symbol, the numbers of the lines that are to be aligned.
        snapshots: which of those are snapshots.
        bad: which of those the source's own engine could not verify.
        damaged: the numbers of the lines without a message that are to be decided.
        before: of a line that is written, the line of another source that comes before it.
        lines, read, left_out: see `journal.MergedSource`.
    """

    def __init__(self, rank: int, of: int, archive: Archive, engine_name: str, owner: Optional[int] = None) -> None:
        self.rank = rank
        self._of = of
        self.is_follower = owner is not None
        self._connections_of = rank if owner is None else owner
        self.archive = archive
        self.name = archive.path.resolve().name + (" (follower)" if self.is_follower else "")
        self._engine = make_engine(EngineOptions(messages=True), engine_name)
        self._metadata = metadata_in(archive)
        self._steps = self._play()
        self._depths: Optional[dict[str, Optional[int]]] = None
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.position_ns = self.last_ns = 0
        self.first_ns = 0
        self.first_recv_ns = self.last_recv_ns = 0
        self.is_over = False
        self.lines = self.read = self.left_out = 0
        self.damage: list[DamageFound] = []
        self.first = 0
        self.payload: list[bytes] = []
        self.ns: list[int] = []
        self.recv: list[int] = []
        self.mono: list[int] = []
        self.connection: list[int] = []
        self.flags: list[int] = []
        self.symbol: list[int] = []
        self.state = bytearray()
        self.elsewhere: list[list[int]] = [[] for _ in range(of)]
        self.pending: dict[str, list[int]] = defaultdict(list)
        self.snapshots: set[int] = set()
        self.bad: set[int] = set()
        self.damaged: list[int] = []
        self.before: dict[int, tuple[Source, int]] = {}
        self.pending_bytes = 0
        self.at = 0
        self.gaps: dict[str, list[Gap]] = defaultdict(list)
        for gap in gaps_in(archive, channel=Stream.LEVEL3):
            self.gaps[gap.symbol].append(gap)
        self.records = self._carried_over()
        self.version = self._version()
        last_ns = last_receive_ns(archive, Stream.LEVEL3)
        self._ends_ns = last_ns

    # -- reading

    def _play(self) -> Generator[Step, None, None]:
        for played in play(
            self._engine, self.archive, self._metadata, block_bytes=READ_BYTES, on_damage=self._on_damage
        ):
            if isinstance(played, Step):
                yield played

    def _on_damage(self, error: DamageFound) -> None:
        self.damage.append(error)

    @property
    def metadata(self) -> list[SymbolMetadata]:
        """What is told of its symbols, oldest first."""
        return self._metadata

    def read_more(self) -> tuple[int, list[str]]:
        """Read some lines more; how many bytes, and the symbols that they are of."""
        step = next(self._steps, None)
        if step is None:
            self.is_over = True
            return 0, list(self.names)
        self._depths = None
        data = step.block.data
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if step.block.offset == 0 and lines and lines[0].startswith(BOM):
            lines[0] = lines[0][len(BOM) :]
        begin = self.first + len(self.payload)
        self.payload += lines
        self.pending_bytes += len(data)
        symbols = self._take_messages(step, begin, len(lines))
        self._take_receipts(step, len(lines))
        self.state += bytes(len(lines))
        for times in self.elsewhere:
            times += repeat(0, len(lines))
        self.read += len(lines)
        times = sorted(filter(None, self.ns[-_LAST_LINES:]))
        if times:
            self.position_ns = times[len(times) // 2]  # one absurd timestamp does not count
            self.last_ns = times[-1]
        self.first_ns = self.first_ns or next(filter(None, self.ns), 0)
        self.first_recv_ns = self.first_recv_ns or self.recv[0]
        self.last_recv_ns = self.recv[-1]
        return len(data), symbols

    def _take_messages(self, step: Step, begin: int, lines: int) -> list[str]:
        messages = step.result.messages
        symbols, times = _column(messages, "symbol"), _column(messages, "msg_ns")
        numbers = _column(messages, "line")
        first = step.block.first_line
        if len(numbers) != lines or numbers[0] != first or numbers[-1] != first + lines - 1:
            symbols, times, messages = _one_a_line(messages, first, lines)
        names = self._engine.symbols()
        for name in names[len(self.names) :]:
            self.numbers[name] = len(self.names)
            self.names.append(name)
        if messages["kind"].strip(b"\1") or messages["verdict"].strip(b"\0"):
            self._take_odd(messages, begin, symbols, times)
        self.symbol += symbols
        self.ns += times
        if symbols and symbols[0] >= 0 and symbols.count(symbols[0]) == lines:
            name = self.names[symbols[0]]
            self.pending[name] += range(begin, begin + lines)
            return [name]
        by_symbol = [begin + at for at in sorted(range(lines), key=symbols.__getitem__)]
        touched, at = [], 0
        for symbol, count in sorted(Counter(symbols).items()):
            found = by_symbol[at : at + count]
            at += count
            if symbol == NO_MESSAGE:
                self.damaged += found
            else:
                self.pending[self.names[symbol]] += found
                touched.append(self.names[symbol])
        return touched

    def _take_odd(self, messages: Columns, begin: int, symbols: list[int], times: list[int]) -> None:
        """Snapshots, and messages that the engine did not find in order."""
        kinds, verdicts = messages["kind"], messages["verdict"]
        last_ns = self.position_ns
        odd = {found.start() for found in _NO_UPDATE.finditer(kinds)}
        odd.update(found.start() for found in _NOT_OK.finditer(verdicts))
        for at in sorted(odd):
            kind, verdict = kinds[at], verdicts[at]
            last_ns = (times[at - 1] if at else 0) or last_ns
            if verdict == Verdict.MALFORMED or symbols[at] < 0:
                symbols[at] = NO_MESSAGE
                times[at] = last_ns
                continue
            if verdict != Verdict.OK:
                self.bad.add(begin + at)
                times[at] = times[at] or time_of(self.payload[begin - self.first + at]) or last_ns
            if kind == MessageKind.SNAPSHOT:
                self.snapshots.add(begin + at)

    def _take_receipts(self, step: Step, lines: int) -> None:
        file = step.block.file
        words = array("q", file.receipt_bytes(step.block.first_line, lines) if file.receipts is not None else b"")
        if sys.byteorder == "big":
            words.byteswap()
        known = len(words) // 4
        self.recv += words[0::4]
        self.mono += words[1::4]
        last = words[3::4]
        if known and min(last) == max(last) < 1 << 32:
            self.connection += repeat(self.connection_of(last[0]), known)
            self.flags += repeat(0, known)
        else:
            connections = {word: self.connection_of(word & 0xFFFF_FFFF) for word in set(last)}
            self.connection += map(connections.__getitem__, last)
            self.flags += [(word >> 32) & 0xFFFF_FFFF for word in last]
        for at in range(len(self.recv), len(self.payload)):  # no receipt: Kraken's own time stands for it
            self.recv.append(self.recv[-1] if known else max(self.ns[at], self.last_recv_ns))
            self.mono.append(0)
            self.connection.append(0)
            self.flags.append(RECEIVE_TIME_UNKNOWN)

    def close(self) -> None:
        """Let go of its files."""
        self._steps.close()
        self.records.close()

    # -- lines

    def connection_of(self, connection: int) -> int:
        """The number that a connection has in the merged archive; 0, which is not known, stays 0."""
        return (connection - 1) * self._of + self._connections_of + 1 if connection else 0

    def index(self, line: int) -> int:
        """Where a line stands in the lists."""
        return line - self.first

    def payloads(self, lines: Sequence[int]) -> list[bytes]:
        """Their bytes."""
        payload, first = self.payload, self.first
        if lines and lines[-1] - lines[0] == len(lines) - 1:
            return payload[lines[0] - first : lines[-1] + 1 - first]
        return [payload[line - first] for line in lines]

    def frames(self, begin: int, end: int) -> FrameColumns:
        """Lines with their receipts."""
        cut = slice(begin - self.first, end - self.first)
        return FrameColumns(self.payload[cut], self.recv[cut], self.mono[cut], self.connection[cut], self.flags[cut])

    def rows(self, begin: int, end: int) -> bytes:
        """What `l3-D.sources` has of lines: their source, and when each source received them."""
        cut = slice(begin - self.first, end - self.first)
        width = self._of + 1
        rows = array("q", bytes(8 * width * (end - begin)))
        rows[0::width] = array("q", [self.rank]) * (end - begin)
        for rank, times in enumerate(self.elsewhere):
            rows[rank + 1 :: width] = array("q", self.recv[cut] if rank == self.rank else times[cut])
        if sys.byteorder == "big":
            rows.byteswap()
        return rows.tobytes()

    def is_done(self, line: int) -> bool:
        """Whether a line was written or left out."""
        return line < self.first or self.state[line - self.first] == DONE

    def skip_done(self) -> None:
        """Go on to the first line that is not done, and forget those before it now and then."""
        at = self.at - self.first
        rest = self.state[at:]
        self.at += len(rest) - len(rest.lstrip(b"\2"))
        count_done = self.at - self.first
        if not count_done or count_done < min(_FORGOTTEN_AT_ONCE, len(self.payload)):
            return
        self.pending_bytes -= sum(map(len, self.payload[:count_done])) + count_done
        for each in (self.payload, self.ns, self.recv, self.mono, self.connection, self.flags, self.symbol):
            del each[:count_done]
        for times in self.elsewhere:
            del times[:count_done]
        del self.state[:count_done]
        self.first = self.at

    # -- what its journal tells

    def _version(self) -> str:
        for day in self.archive.days:
            for record in self.archive.journal(day):
                if isinstance(record, Started):
                    return record.version
        return ""

    def _carried_over(self) -> Generator[Record, None, None]:
        """The records that stay true, with the connections' new numbers."""
        for number, day in enumerate(self.archive.days):
            for record in self.archive.journal(day):
                if isinstance(record, _CARRIED_OVER) and not (record.restated and number):
                    record = msgspec.structs.replace(record, restated=False)
                    for name in ("connection", "previous"):
                        if hasattr(record, name):
                            number_in_all = self.connection_of(getattr(record, name))
                            record = msgspec.structs.replace(record, **{name: number_in_all})
                    yield record

    def gap_before(self, symbol: str, recv_ns: int) -> Optional[Gap]:
        """The gap that a snapshot received then has closed."""
        gaps = self.gaps.get(symbol, [])
        return next((gap for gap in gaps if gap.right_ns == recv_ns), None)

    def gap_after(self, symbol: str, recv_ns: int) -> Optional[Gap]:
        """The first gap that begins at or after a line received then."""
        gaps = self.gaps.get(symbol, [])
        at = bisect_left([gap.left_ns for gap in gaps], recv_ns)
        return gaps[at] if at < len(gaps) else None

    def covered_ns(self, symbol: str) -> int:
        """For how long it has a symbol, by its journal."""
        end_ns = self._ends_ns
        begin_ns = self.first_recv_ns
        lost = sum(max(0, min(gap.end_ns, end_ns) - max(gap.left_ns, begin_ns)) for gap in self.gaps.get(symbol, []))
        return end_ns - begin_ns - lost

    def depth_of(self, symbol: str) -> Optional[int]:
        """The depth of a symbol's book, as far as it is read."""
        if self._depths is None:
            self._depths = {tally.symbol: tally.depth for tally in self._engine.tallies()}
        return self._depths.get(symbol)


def _column(messages: Columns, name: str) -> list[int]:
    column = array(MESSAGE_COLUMNS[name], messages[name])
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _one_a_line(messages: Columns, first: int, lines: int) -> tuple[list[int], list[int], Columns]:
    """For each line what is told of its first message; a line without one is unreadable."""
    symbols, times = [NO_MESSAGE] * lines, [0] * lines
    kinds = bytearray([MessageKind.UNREADABLE]) * lines
    verdicts = bytearray([Verdict.MALFORMED]) * lines
    told = zip(
        _column(messages, "line"),
        _column(messages, "symbol"),
        _column(messages, "msg_ns"),
        messages["kind"],
        messages["verdict"],
    )
    for line, symbol, msg_ns, kind, verdict in reversed(list(told)):  # the first message of a line is told last
        at = line - first
        symbols[at], times[at], kinds[at], verdicts[at] = symbol, msg_ns, kind, verdict
    return symbols, times, {"kind": bytes(kinds), "verdict": bytes(verdicts)}
