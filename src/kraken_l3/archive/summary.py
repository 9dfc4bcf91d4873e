"""What an archive holds: lines, symbols, times, connections, gaps, repairs. Decodes no book.

Receipts and journals tell most of it without the data. What is counted in the data, in one pass, is told of each
symbol; a line counts for the first symbol that it names. Times are receive times, taken from the receipts; a file by
another recorder has none, and `missing` says so.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter, defaultdict
from typing import Any, Callable, Optional, Union

import msgspec

from kraken_l3.archive.companions import CompanionDamage, companion_damage
from kraken_l3.archive.datafile import Block, DataFile
from kraken_l3.archive.envelope import count_wrapped
from kraken_l3.archive.gaps import Gap, GapFolding, gaps_within, last_receive_ns
from kraken_l3.archive.journal import (
    Acknowledged,
    Alive,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    HandedOver,
    Record,
    Recovered,
    Rejected,
    Started,
    Stopped,
    SyncPoint,
    TradeGap,
)
from kraken_l3.archive.layout import DayPaths, Stream, stem
from kraken_l3.archive.merged import Later, later_in
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.receipts import MALFORMED, RECEIPT_BYTES, RECEIVE_TIME_UNKNOWN, ReceiptIndex
from kraken_l3.archive.unread import Unread, unread_files, unread_lines
from kraken_l3.errors import KrakenL3Error, MalformedMessage, UsageError
from kraken_l3.model.json_text import decode_json

__all__ = ["Connection", "FileSummary", "Gap", "Rejection", "Summary", "SymbolSummary", "summarise"]

#: Lines that are taken apart at a time: they should stay in the processor's cache.
_BLOCK_BYTES = 256 * 1024
#: Lines are counted by how they begin. So much holds a symbol of 17 characters, and no number behind a usual one.
_HEAD_BYTES = 72
#: How nearly every message begins; what begins otherwise is decoded.
_USUAL = re.compile(rb'\{"channel":"[a-z0-9]+","type":"([a-z]+)","data":\[\{"symbol":"([^"\\]+)"')
#: What is told of a line, by its number in `_USUAL`: 1 its type, 2 its first symbol, or nothing.
_Told = Union["re.Match[bytes]", tuple[bytes, bytes, bytes]]
#: Lines and bytes are summed in one number, for a dictionary is asked but once a line then. No block has 4 GiB.
_ONE_LINE = 1 << 32


class _Entry(msgspec.Struct):
    symbol: str = ""


class _Message(msgspec.Struct):
    channel: str = ""
    type: str = ""
    data: Union[list[_Entry], dict[str, msgspec.Raw], None] = None


_message = msgspec.json.Decoder(_Message)


class SymbolSummary(msgspec.Struct):
    """The lines of one symbol in one file; None where they were not counted."""

    symbol: str
    lines: Optional[int] = 0
    bytes: Optional[int] = 0
    snapshots: Optional[int] = 0
    first_received_ns: Optional[int] = None
    last_received_ns: Optional[int] = None


class FileSummary(msgspec.Struct):
    """One data file.

    Attributes:
        is_counted: whether its data was read. Else its lines are its receipts, its symbols those subscribed on its day,
            and what is told of receipts one by one (from `other_lines` to `connections`, without the times) is not
            known.
        other_lines: lines that name no symbol (an instrument list is one), or that are no message at all.
        unknown_receive_times: receipts that recovery had to make up.
        malformed: lines that came malformed, according to their receipts.
        left_out: lines with level3 messages in a form that is not read.
        connections: numbers of the connections that the lines came on.
    """

    name: str
    stream: str
    day: Optional[str]
    bytes: int
    lines: int = 0
    other_lines: int = 0
    is_counted: bool = True
    has_receipts: bool = False
    unknown_receive_times: int = 0
    malformed: int = 0
    left_out: int = 0
    first_received_ns: Optional[int] = None
    last_received_ns: Optional[int] = None
    connections: list[int] = []
    symbols: list[SymbolSummary] = []


class Connection(msgspec.Struct):
    """From when to when, and why it ended; None while nothing says that it did."""

    connection: int
    channel: str
    symbols: int
    opened_ns: int
    ended_ns: Optional[int] = None
    cause: Optional[str] = None


class Rejection(msgspec.Struct):
    """A symbol that was refused and has not been accepted since."""

    channel: str
    symbol: str
    error: str
    at_ns: int
    times: int = 1


class Summary(msgspec.Struct):
    """A whole archive, or one file of it.

    Attributes:
        gaps: those that count, as in `verify` (see `gaps.gaps_within`).
        ends: the others: open since the last message, where the recording ends.
        later: of a merged archive, how much later each source received than the others.
        unread: files and lines of level3 data that are not looked at.
        missing: in words, what could not be told.
    """

    path: str
    files: list[FileSummary] = []
    starts: int = 0
    stops: int = 0
    connections: list[Connection] = []
    gaps: list[Gap] = []
    ends: list[Gap] = []
    rejected: list[Rejection] = []
    trade_gaps: list[TradeGap] = []
    recoveries: list[Recovered] = []
    later: list[Later] = []
    unread: list[Unread] = []
    missing: list[str] = []


def summarise(archive: Archive, *, counting: bool = True, progress: Optional[Callable[[int], Any]] = None) -> Summary:
    """Read everything once, or only what stands beside the data.

    Args:
        archive: what to look at.
        counting: read all data. False reads that of files without receipts alone, whose lines nothing else tells, and
            looks through no receipts and checkpoints.
        progress: called with the number of bytes read, again and again.

    Raises:
        UsageError: there is nothing of an archive there.
    """
    paths = [path for stream in Stream for path in archive.files(stream)] if archive.is_directory else [archive.path]
    if not paths and not archive.days:
        hint = " ".join(f"{each}." for each in unread_files(archive)) or "Files are called l3-YYYY-MM-DD.ndjson"
        raise UsageError("no recording here", where=str(archive.path), hint=hint)
    summary = Summary(path=str(archive.path), unread=unread_files(archive))
    level3 = archive.files()
    for path in sorted(paths, key=stem):
        try:
            with DataFile(path) as file:
                is_told = file.receipts is not None and not counting
                counted = _as_told(file) if is_told else _Count(file, progress).result()
        except KrakenL3Error as error:
            if path in level3:
                raise
            summary.missing.append(str(CompanionDamage(path.name, error.what)))
            continue
        summary.files.append(counted)
        if counted.left_out:
            summary.unread.append(unread_lines(counted.name, counted.left_out))
        if not counted.has_receipts:
            summary.missing.append(f"{counted.name}: no receipts, so no receive times and no connections")
    _Story(summary).read(archive)
    summary.later = later_in(archive)
    # a recorder may be at work: what is half written is no damage yet
    damage = companion_damage(archive, is_growing=True, briefly=not counting)
    summary.missing = list(dict.fromkeys([*summary.missing, *map(str, damage)]))
    return summary


def _as_told(file: DataFile) -> FileSummary:
    """What receipts tell of a file."""
    assert file.receipts is not None
    told = _begun(file)
    told.is_counted, told.lines = False, len(file.receipts)
    _add_times(told, file.receipts)
    return told


def _begun(file: DataFile) -> FileSummary:
    day = file.day.isoformat() if file.day else None
    return FileSummary(name=file.path.name, stream=file.stream.value, day=day, bytes=file.source.size())


def _add_times(summary: FileSummary, receipts: ReceiptIndex) -> None:
    summary.has_receipts = True
    if len(receipts):
        summary.first_received_ns = _known(receipts, 0)
        summary.last_received_ns = _known(receipts, len(receipts) - 1)


class _Count:
    """Counts one file."""

    def __init__(self, file: DataFile, progress: Optional[Callable[[int], Any]]) -> None:
        self._file = file
        self._progress = progress
        self._symbols: dict[bytes, SymbolSummary] = {}
        self._first_line: dict[bytes, int] = {}
        self._last_line: dict[bytes, int] = {}
        self._next_line = 0

    def result(self) -> FileSummary:
        file = self._file
        counted = _begun(file)
        for block in file.blocks(size=_BLOCK_BYTES, numbered=False):
            self._add(block, counted)
            if self._progress is not None:
                self._progress(len(block.data))
        if file.receipts is not None:
            self._add_receipts(file.receipts, counted)
        counted.symbols = [self._symbols[name] for name in sorted(self._symbols)]
        return counted

    def _add(self, block: Block, counted: FileSummary) -> None:
        counted.left_out += block.left_out
        lines, first = block.data.split(b"\n"), self._next_line
        if not lines[-1]:
            lines.pop()
        self._next_line += len(lines)
        told = _USUAL.match(lines[0]) if lines else None
        if told is None:
            return self._add_mixed(lines, first, counted)
        # The data of one pair has type and symbol in common, but for heartbeats and snapshots.
        head = told[0]
        others = [(number, line) for number, line in enumerate(lines) if not line.startswith(head)]
        if len(others) > len(lines) // 2:
            return self._add_mixed(lines, first, counted)
        size = sum(map(len, lines)) + len(lines) - sum(len(line) + 1 for _, line in others)
        numbers = {number for number, _ in others}
        last = next(number for number in reversed(range(len(lines))) if number not in numbers)
        self._count(told, counted, lines=len(lines) - len(others), size=size, first=first, last=first + last)
        for number, line in others:
            self._add_other(line, first + number, counted)

    def _add_mixed(self, lines: list[bytes], first: int, counted: FileSummary) -> None:
        heads = [line[:_HEAD_BYTES] for line in lines]
        totals: defaultdict[bytes, int] = defaultdict(int)
        for head, line in zip(heads, lines):
            totals[head] += len(line) + _ONE_LINE
        has_times = self._file.receipts is not None
        last = dict(zip(heads, range(first, first + len(heads)))) if has_times else {}
        others = set()
        for head, total in totals.items():
            count, size = divmod(total, _ONE_LINE)
            told: Optional[_Told] = _USUAL.match(head)
            if told is None and len(head) < _HEAD_BYTES:  # heads that are the whole line, heartbeats mostly
                told = _look_into(head)
            if told is None:
                others.add(head)
            elif told[2]:
                begin = first + heads.index(head)
                self._count(told, counted, lines=count, size=size + count, first=begin, last=last.get(head, begin))
            else:
                self._add_unnamed(head, count, counted)
        for at, head in enumerate(heads) if others else ():
            if head in others:
                self._add_other(lines[at], first + at, counted)

    def _add_other(self, line: bytes, number: int, counted: FileSummary) -> None:
        told = _USUAL.match(line) or _look_into(line)
        if told[2]:
            self._count(told, counted, lines=1, size=len(line) + 1, first=number, last=number)
        else:
            self._add_unnamed(line, 1, counted)

    def _add_unnamed(self, line: bytes, count: int, counted: FileSummary) -> None:
        """So many lines like this one, which names no symbol."""
        if line.strip():
            counted.other_lines += count
            counted.lines += count
            counted.left_out += count * count_wrapped(line)

    def _count(self, told: _Told, counted: FileSummary, *, lines: int, size: int, first: int, last: int) -> None:
        """Some lines of one symbol; the first and the last number among them."""
        kind, name = told[1], told[2]
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = self._symbols[name] = SymbolSummary(symbol=name.decode(errors="replace"))
        self._first_line[name] = min(self._first_line.get(name, first), first)
        self._last_line[name] = max(self._last_line.get(name, last), last)
        symbol.lines = (symbol.lines or 0) + lines
        symbol.bytes = (symbol.bytes or 0) + size
        symbol.snapshots = (symbol.snapshots or 0) + (lines if kind == b"snapshot" else 0)
        counted.lines += lines

    def _add_receipts(self, receipts: ReceiptIndex, counted: FileSummary) -> None:
        _add_times(counted, receipts)
        for name, symbol in self._symbols.items():
            symbol.first_received_ns = _known(receipts, self._first_line[name])
            symbol.last_received_ns = _known(receipts, self._last_line[name])
        origins = _origins(self._file, len(receipts))
        counted.connections = sorted({word & 0xFFFFFFFF for word in origins} - {0})
        counted.unknown_receive_times = _flagged(origins, RECEIVE_TIME_UNKNOWN)
        counted.malformed = _flagged(origins, MALFORMED)


def _look_into(line: bytes) -> tuple[bytes, bytes, bytes]:
    """The line, type and first symbol of a message that is written in some other way."""
    try:
        message = decode_json(_message, line)
    except MalformedMessage:
        return line, b"", b""
    first = message.data[0].symbol if isinstance(message.data, list) and message.data else ""
    return line, message.type.encode(), first.encode()


def _known(receipts: ReceiptIndex, line: int) -> Optional[int]:
    if line >= len(receipts):
        return None
    receipt = receipts[line]
    return None if receipt.flags & RECEIVE_TIME_UNKNOWN else receipt.recv_ns


def _origins(file: DataFile, lines: int) -> Counter[int]:
    """How often each pair of connection (low half) and flags (high half) occurs."""
    counts: Counter[int] = Counter()
    step = 131_072
    for first in range(0, lines, step):
        words = array("Q", file.receipt_bytes(first, min(step, lines - first)))
        if sys.byteorder == "big":
            words.byteswap()
        counts.update(words[3 :: RECEIPT_BYTES // 8])
    return counts


def _flagged(origins: Counter[int], flag: int) -> int:
    return sum(count for word, count in origins.items() if word >> 32 & flag)


class _Story:
    """Folds the journals into what happened."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._gaps = GapFolding()
        self._connections: dict[int, Connection] = {}
        self._rejected: dict[tuple[str, str], Rejection] = {}

    def read(self, archive: Archive) -> None:
        for day in archive.days:
            name = DayPaths(archive.directory, day).journal
            if not name.exists():
                self._summary.missing.append(f"{name.name}: no journal, so nothing is known of gaps and their causes")
            subscribed: dict[str, set[str]] = {}
            for record in archive.journal(day):
                self._apply(record)
                if isinstance(record, Acknowledged):
                    subscribed.setdefault(record.channel, set()).add(record.symbol)
            self._name_symbols(day.isoformat(), subscribed)
        if not archive.days:
            self._summary.missing.append("no day in the name: companions, if there are any, were not looked for")
        last_ns = {stream.value: last_receive_ns(archive, stream) for stream in Stream}
        for gap in self._gaps.gaps():
            counts = gaps_within([gap], last_ns.get(gap.channel, 0))
            (self._summary.gaps if counts else self._summary.ends).append(gap)
        self._summary.rejected = list(self._rejected.values())

    def _name_symbols(self, day: str, subscribed: dict[str, set[str]]) -> None:
        for file in self._summary.files:
            if not file.is_counted and file.day == day:
                names = sorted(subscribed.get(file.stream, ()))
                file.symbols = [SymbolSummary(name, lines=None, bytes=None, snapshots=None) for name in names]

    def _apply(self, record: Record) -> None:
        if isinstance(record, (SyncPoint, Alive)):  # nearly all are
            return
        if isinstance(record, (GapOpened, GapClosed, HandedOver)):
            self._gaps.apply(record)
        elif isinstance(record, (Connected, Disconnected)):
            self._apply_connection(record)
        elif isinstance(record, Acknowledged):
            self._rejected.pop((record.channel, record.symbol), None)
        elif isinstance(record, Rejected):
            self._reject(record)
        elif isinstance(record, TradeGap):
            self._summary.trade_gaps.append(record)
        elif isinstance(record, Recovered):
            self._summary.recoveries.append(record)
        elif isinstance(record, Started):
            self._summary.starts += not record.restated
        elif isinstance(record, Stopped):
            self._summary.stops += 1

    def _apply_connection(self, record: Union[Connected, Disconnected]) -> None:
        if isinstance(record, Connected):
            if record.restated and record.connection in self._connections:
                return
            opened = Connection(record.connection, record.channel, len(record.symbols), record.at_ns)
            self._connections[record.connection] = opened
            self._summary.connections.append(opened)
            return
        ended = self._connections.pop(record.connection, None)
        if ended is not None:
            crashed = record.cause == "crash" and record.last_frame_ns  # noted when the next recorder started
            ended.ended_ns, ended.cause = record.last_frame_ns if crashed else record.at_ns, record.cause

    def _reject(self, record: Rejected) -> None:
        earlier = self._rejected.get((record.channel, record.symbol))
        times = earlier.times + 1 if earlier else 1
        rejection = Rejection(record.channel, record.symbol, record.error, record.at_ns, times)
        self._rejected[record.channel, record.symbol] = rejection
