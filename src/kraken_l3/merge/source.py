"""One of the archives that are merged: its lines with their receipts, its journal, its gaps."""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
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
from kraken_l3.merge.columns import PENDING, LineColumns
from kraken_l3.model.events import MessageKind, Verdict
from kraken_l3.protocol.alignment import time_of
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in
from kraken_l3.rebuild.playback import Step, play

__all__ = ["NO_MESSAGE", "Source", "ranked"]

#: What is read at a time: little, for what waits to be aligned is in memory.
READ_BYTES = 1024 * 1024
#: So many of its last lines tell how far a source is read.
_LAST_LINES = 15
#: In place of a symbol: a line that is damaged or no data.
NO_MESSAGE = -1
_HEAD_BYTES = 1024 * 1024
#: In columns of the engine: what is no update, and what it did not find in order.
_NO_UPDATE = re.compile(b"[^" + bytes([MessageKind.UPDATE]) + b"]", re.DOTALL)
_NOT_OK = re.compile(b"[^" + bytes([Verdict.OK]) + b"]", re.DOTALL)

_INT64_END = 1 << 63

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


class Source(LineColumns):
    """See the module.

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
        unsorted: the first of the lines that are not in `pending` or `damaged` yet.
        pending: by symbol, the numbers of the lines that are to be aligned.
        snapshots: which of those are snapshots.
        bad: which of those the source's own engine could not verify.
        damaged: the numbers of the lines without a message that are to be decided.
        before: of a line that is written, the line of another source that comes before it.
        lines, read, left_out: see `journal.MergedSource`.
    """

    def __init__(self, rank: int, of: int, archive: Archive, engine_name: str, owner: Optional[int] = None) -> None:
        super().__init__(rank, of)
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
        self.pending: dict[str, list[int]] = defaultdict(list)
        self.snapshots: set[int] = set()
        self.bad: set[int] = set()
        self.damaged: list[int] = []
        self._odd: list[int] = []
        self.unsorted = 0
        self.before: dict[int, tuple[Source, int]] = {}
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
        text = data.removeprefix(BOM) if step.block.offset == 0 else data
        text = text if text.endswith(b"\n") else text + b"\n"
        begin, lines = self.end, step.result.lines
        receipts = _receipt_words(step)
        self._add_lines(text, lines, receipts[2::4], step.block.offset)
        symbols = self._take_messages(step, begin, lines)
        self._take_receipts(receipts)
        self.read += lines
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
        self.symbol.extend(symbols)
        self.ns.extend(times)
        return [self.names[number] for number in sorted(set(symbols)) if number != NO_MESSAGE]

    def sort_in(self) -> None:
        """Put what is not in `pending` yet there, or into `damaged`."""
        begin, self.unsorted = self.unsorted, self.end
        symbols = self.symbol[begin - self.first :]
        counts = Counter(symbols)
        if len(counts) == 1:
            lines: Sequence[int] = range(begin, self.end)
        else:
            lines = [begin + at for at in sorted(range(len(symbols)), key=symbols.__getitem__)]
        at = 0
        for symbol, count in sorted(counts.items()):
            (self.damaged if symbol == NO_MESSAGE else self.pending[self.names[symbol]]).extend(lines[at : at + count])
            at += count

    def unsort(self, line: int) -> None:
        """All before a line is decided: what is behind it need not be in `pending`."""
        self.unsorted = line
        self.pending.clear()
        self.damaged.clear()

    def undecided(self) -> int:
        """The line from which on all are to be aligned; the end, if others stand between those that are."""
        at = self.state.find(PENDING, self.at - self.first)
        return self.end if at < 0 or self.state[at:].strip(bytes([PENDING])) else self.first + at

    def next_odd(self, line: int) -> int:
        """The first odd line from one on, or the end."""
        at = bisect_left(self._odd, line)
        return self._odd[at] if at < len(self._odd) else self.end

    def _take_odd(self, messages: Columns, begin: int, symbols: array[int], times: array[int]) -> None:
        """Snapshots, and messages that the engine did not find in order."""
        kinds, verdicts = messages["kind"], messages["verdict"]
        last_ns = self.position_ns
        odd = {found.start() for found in _NO_UPDATE.finditer(kinds)}
        odd.update(found.start() for found in _NOT_OK.finditer(verdicts))
        del self._odd[: bisect_left(self._odd, self.first)]
        self._odd += (begin + at for at in sorted(odd))
        for at in sorted(odd):
            kind, verdict = kinds[at], verdicts[at]
            last_ns = (times[at - 1] if at else 0) or last_ns
            if verdict == Verdict.MALFORMED or symbols[at] < 0:
                symbols[at] = NO_MESSAGE
                times[at] = last_ns
                continue
            if verdict != Verdict.OK:
                self.bad.add(begin + at)
                times[at] = times[at] or _int64(time_of(self.line(begin + at))) or last_ns
            if kind == MessageKind.SNAPSHOT:
                self.snapshots.add(begin + at)

    def _take_receipts(self, words: array[int]) -> None:
        known = len(words) // 4
        self.recv.extend(words[0::4])
        self.mono.extend(words[1::4])
        last = words[3::4]
        if last.tobytes() == last[:1].tobytes() * known:
            last, times = last[:1], known  # as nearly always
        else:
            times = 1
        numbers = {word: self.connection_of(word & 0xFFFF_FFFF) for word in set(last)}
        self.connection.extend(array("q", [numbers[word] for word in last]) * times)
        self.flags.extend(array("q", [(word >> 32) & 0xFFFF_FFFF for word in last]) * times)
        for at in range(len(self.recv), len(self)):  # no receipt: Kraken's own time stands for it
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


def _receipt_words(step: Step) -> array[int]:
    """Of each line that has a receipt its four words, the last one with the connection and the flags."""
    file = step.block.file
    words = array(
        "q", file.receipt_bytes(step.block.first_line, step.result.lines) if file.receipts is not None else b""
    )
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _int64(time_ns: int) -> int:
    return max(-_INT64_END, min(_INT64_END - 1, time_ns))


def _column(messages: Columns, name: str) -> array[int]:
    column = array(MESSAGE_COLUMNS[name], messages[name])
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _one_a_line(messages: Columns, first: int, lines: int) -> tuple[array[int], array[int], Columns]:
    """For each line what is told of its first message; a line without one is unreadable."""
    symbols, times = array("i", [NO_MESSAGE]) * lines, array("q", bytes(8 * lines))
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
