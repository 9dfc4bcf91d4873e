"""Follows an archive that a recorder is writing: its messages as they are written, and the books of this moment.

For programs that verify or show a running recording: they read what the recorder has handed to the operating system, in
a process of their own, and cost it nothing. `Follower.look` never waits; whoever wants a message soon looks often.

It begins with the last checkpoint of each symbol (`kraken-l3 record` writes them with `verify: true`), else with the
first line of the day, and goes on over midnight. A book is known where it agrees with Kraken's checksum and the journal
has no gap for its symbol.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Union

from kraken_l3.archive.checkpoints import CheckpointHead, read_checkpoint, read_heads
from kraken_l3.archive.datafile import BEGINNING, Block, DataFile, Line, Position, Skipped
from kraken_l3.archive.journal import GapClosed, GapOpened, HandedOver, JournalState, Rotated, decode_record
from kraken_l3.archive.layout import DayPaths, FileName, Stream
from kraken_l3.archive.opening import existing
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import receive_times
from kraken_l3.archive.tail import Tail
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, Result, SymbolTally
from kraken_l3.errors import ArchiveError, MalformedMessage, UsageError
from kraken_l3.model.events import MessageKind, State, Verdict
from kraken_l3.rebuild.checkpointing import load_checkpoint
from kraken_l3.rebuild.metadata import MetadataReader, MetadataTeller, SymbolMetadata

__all__ = ["DayBegins", "Followed", "Follower", "Lines", "Message", "OtherLine"]

_BLOCK_BYTES = 256 * 1024
#: Between two looks for files that are not there yet, in seconds.
_LOOK_AROUND_S = 1.0
#: Of the other streams, so many lines of before are told.
_EARLIER_LINES = 1_000


class Message(NamedTuple):
    """One level3 message, and what its checksum says."""

    symbol: str
    payload: bytes
    recv_ns: int
    kind: MessageKind
    verdict: Verdict


class Lines:
    """Level3 lines that follow one another.

    Attributes:
        path: their file.
        begin: where the first of them begins.
        end: where the next line begins.
        result: what the engine gave.
        symbols: of the engine; the columns of `result` hold indices into them.
    """

    def __init__(
        self, block: Block, result: Result, symbols: Sequence[str], received: Sequence[int], before_ns: int
    ) -> None:
        self.path = block.file.path
        self.begin = Position(block.first_line, block.offset)
        self.end = Position(block.first_line + result.lines, block.offset + len(block.data))
        self.result, self.symbols = result, symbols
        self._data, self._received, self._before_ns = block.data, received, before_ns

    @cached_property
    def lines(self) -> list[bytes]:
        """Their bytes, without newlines."""
        return self._data.split(b"\n")[: self.result.lines]

    @cached_property
    def times(self) -> list[int]:
        """Their receive times, never falling (0: no receipt tells one)."""
        times = list(accumulate(self._received, max, initial=self._before_ns))
        times += times[-1:] * (self.result.lines + 1 - len(times))
        return times[1:]

    def messages(self) -> Iterator[Message]:
        """One after the other; without lines that hold none."""
        columns = self.result.messages
        numbers, indices = memoryview(columns["line"]).cast("q"), memoryview(columns["symbol"]).cast("i")
        for number, index, kind, verdict in zip(numbers, indices, columns["kind"], columns["verdict"]):
            place, symbol = number - self.begin.line, self.symbols[index] if index >= 0 else ""
            yield Message(symbol, self.lines[place], self.times[place], MessageKind(kind), Verdict(verdict))


class OtherLine(NamedTuple):
    """A line of another stream."""

    stream: Stream
    line: Line


class DayBegins(NamedTuple):
    """Another day is about to be read from its first line; the engine has the books that it begins with."""

    path: Path


#: What `look` yields. Gaps are those of all channels; one that is open at a `HandedOver` of its symbol never was one.
Followed = Union[DayBegins, Lines, GapOpened, GapClosed, HandedOver, OtherLine]


class Follower:
    """Follows one archive directory.

    Args:
        directory: the archive; it may still be empty.
        events: have the engine give order events too.
        streams: what else is told of; the last thousand lines at first.
        engine_name: see `engine.choose`.
        block_bytes: about how much to read at a time.
        look_around_s: seconds between two looks for files that are not there yet.
        before_snapshot: called before lines with a snapshot are read. Its acknowledgement, which tells the depth, may
            still be on its way into the journal: who can wait, waits here.

    Attributes:
        engine: has the books; only this feeds it.
        state: what the journal says holds now.
        now_ns: latest receive time of a level3 line so far.
        received_ns: receive time of the newest one whose receipt tells it; it falls where the clock stepped back.
        loaded: of each symbol whose book is that of a checkpoint: the last line that is in it, and its file.
        is_day_over: whether the next look goes on in the next day, or begins it.

    Raises:
        UsageError: there is no such directory, or it is a file.
    """

    def __init__(
        self,
        directory: Path,
        *,
        events: bool = False,
        streams: Sequence[Stream] = (),
        engine_name: str = "auto",
        block_bytes: int = _BLOCK_BYTES,
        look_around_s: float = _LOOK_AROUND_S,
        before_snapshot: Callable[[], object] = lambda: None,
    ) -> None:
        self._archive = open_archive(directory)
        if not self._archive.is_directory:
            raise UsageError("only the directory of an archive can be followed", where=str(directory))
        self.engine: Engine = make_engine(EngineOptions(messages=True, events=events), engine_name)
        self._metadata = MetadataReader()
        self._teller = MetadataTeller(self.engine)
        self._journal = Tail()
        self._streams = streams
        self._block_bytes = block_bytes
        self._look_around_s = look_around_s
        self._before_snapshot = before_snapshot
        self._waited_offset = 0
        self._others: dict[Stream, tuple[DataFile, Position]] = {}
        self._paths: Optional[DayPaths] = None
        self._journal_path = Path()
        #: None is read twice, whatever a journal says.
        self._days_read: set[dt.date] = set()
        self._next: Optional[DayPaths] = None
        self._file: Optional[DataFile] = None
        self._at = BEGINNING
        self._checkpoints: list[CheckpointHead] = []
        self._is_first_day = True
        self._names: list[str] = []
        #: Symbols whose books are old: from when to when.
        self._missing: dict[str, tuple[int, float]] = {}
        self._tallies: Optional[dict[str, SymbolTally]] = None
        self._looked_around = -math.inf
        self.state = JournalState()
        self.now_ns = self.received_ns = 0
        self.loaded: dict[str, tuple[Path, int]] = {}
        self.is_day_over = False

    def close(self) -> None:
        """Let go of the files."""
        self._journal.close()
        for file in (self._file, *(file for file, _ in self._others.values())):
            if file is not None:
                file.close()
        self._file, self._others = None, {}

    # what is known now

    @property
    def at(self) -> Optional[tuple[Path, Position]]:
        """The level3 file that is read, and where its next line begins; None where there is none yet."""
        return (self._file.path, self._at) if self._file is not None else None

    def book(self, symbol: str) -> Optional[BookImage]:
        """The book of this moment, of the depth that is recorded; None where it is not known."""
        tally = self.tallies().get(symbol)
        if tally is None or tally.state is not State.SYNCED or symbol in self._missing:
            return None
        return self.engine.export_book(symbol)

    def is_missing(self, symbol: str) -> bool:
        """Whether the symbol is in a gap."""
        return symbol in self._missing

    def tallies(self) -> dict[str, SymbolTally]:
        """What the engine counts, by symbol, since this began."""
        if self._tallies is None:
            self._tallies = {tally.symbol: tally for tally in self.engine.tallies()}
        return self._tallies

    def known(self) -> dict[str, SymbolMetadata]:
        """Precisions and depths, by symbol: what the journal says, else what the data showed."""
        found = dict(self._teller.known)
        for symbol, tally in self.tallies().items():
            told = found.get(symbol, SymbolMetadata(0, symbol))
            values = (new if new is not None else old for new, old in zip(told[2:], tally.parameters()))
            found[symbol] = SymbolMetadata(told.at_ns, symbol, *values)
        return found

    # what was written since

    def look(self) -> Iterator[Followed]:
        """What was written since the last look, in order. The first time that is all since the place of beginning.

        Raises:
            ArchiveError: somebody deleted or cut the file that is followed.
        """
        if self._paths is None and not (self._is_time_to_look_around() and self._begin()):
            return
        next_day = self._next  # what was written before the word that it comes is all there is of this day
        was_idle = True
        for block in self._blocks():
            was_idle = False
            if self._at == BEGINNING and not self._is_first_day:
                yield DayBegins(block.file.path)
            if b'"snapshot"' in block.data:
                self._wait_for_acknowledgement(block)
            yield from self._read_journal()  # what was written before these lines is in it
            for piece in self._teller.cut(block.file, block):
                if not isinstance(piece, SymbolMetadata):
                    yield self._feed(piece)
        yield from self._read_journal()
        if next_day is not None or self._is_time_to_look_around():
            self._require_intact()
            self._open_others()
            if was_idle and next_day is None:
                next_day = self._unannounced_day()
        for stream in self._others:
            yield from self._other_lines(stream)
        self.is_day_over = next_day is not None or self._next is not None
        if next_day is not None:
            self._enter(next_day)

    def _blocks(self) -> Iterator[Block]:
        if self._file is None and not self._open_data():
            return
        assert self._file is not None
        while self._checkpoints:
            line, end_offset = self._checkpoints[0][:2]
            yield from self._file.blocks(self._at, size=self._block_bytes, growing=True, until=end_offset)
            self._at = Position(line, end_offset)
            while self._checkpoints and self._checkpoints[0].line == line:
                self._load(self._checkpoints.pop(0))
        if self._file.has_grown(self._at):
            yield from self._file.blocks(self._at, size=self._block_bytes, growing=True)

    def _wait_for_acknowledgement(self, block: Block) -> None:
        """Once for all that is in the file by then."""
        if block.offset + len(block.data) > self._waited_offset:
            self._waited_offset = block.file.end(growing=True)
            self._before_snapshot()

    def _feed(self, block: Block) -> Lines:
        result = self.engine.feed(block.data, block.first_line, block.offset)
        self._tallies = None
        received = receive_times(block.file.receipt_bytes(block.first_line, result.lines))
        before_ns, self.now_ns = self.now_ns, max(self.now_ns, max(received, default=0))
        self.received_ns = received[-1] if received and received[-1] else self.received_ns
        if max(memoryview(result.messages["symbol"]).cast("i"), default=-1) >= len(self._names):
            self._names = list(self.engine.symbols())
        told = Lines(block, result, self._names, received, before_ns)
        self._at = told.end
        if self._missing:
            self._find_whole(told)
        return told

    def _find_whole(self, told: Lines) -> None:
        """A snapshot after the beginning of a gap ends it, and so does its end in the journal."""
        if MessageKind.SNAPSHOT in told.result.messages["kind"]:
            for message in told.messages():
                is_snapshot = message.kind is MessageKind.SNAPSHOT and message.symbol in self._missing
                if is_snapshot and message.recv_ns > self._missing[message.symbol][0]:
                    del self._missing[message.symbol]
        self._forget_ended()

    def _forget_ended(self) -> None:
        self._missing = {symbol: edges for symbol, edges in self._missing.items() if edges[1] > self.now_ns}

    def _read_journal(self) -> Iterator[Union[GapOpened, GapClosed, HandedOver]]:
        assert self._paths is not None
        for line in self._journal.lines(self._journal_path):
            try:
                record = decode_record(line)
            except MalformedMessage:
                continue
            self.state.apply(record)
            for told in self._metadata.read(record):
                self._teller.add(told)
            if isinstance(record, Rotated) and record.next_day not in self._days_read:
                self._next = DayPaths(self._paths.directory, record.next_day)
            elif isinstance(record, (GapOpened, GapClosed, HandedOver)):
                self._apply_gap(record)
                if not record.restated:
                    yield record

    def _apply_gap(self, record: Union[GapOpened, GapClosed, HandedOver]) -> None:
        if record.channel != Stream.LEVEL3.value:
            return
        if isinstance(record, HandedOver):
            self._missing.pop(record.symbol, None)
            return
        left_ns = self._missing.get(record.symbol, (record.left_ns, 0))[0]
        right_ns = record.right_ns if isinstance(record, GapClosed) else math.inf
        if right_ns > self.now_ns:
            self._missing[record.symbol] = left_ns, right_ns
        else:
            self._missing.pop(record.symbol, None)

    def _open_others(self) -> None:
        assert self._paths is not None
        for stream in self._streams:
            if stream not in self._others:
                with suppress(ArchiveError):  # not there yet
                    file = DataFile(self._paths.data(stream))
                    lines = len(file.receipts) if file.receipts is not None and self._is_first_day else 0
                    self._others[stream] = file, file.at_line(max(0, lines - _EARLIER_LINES))

    def _other_lines(self, stream: Stream) -> Iterator[OtherLine]:
        file, at = self._others[stream]
        if not file.has_grown(at):
            return
        for line in file.lines(at, growing=True, skipped=Skipped()):
            self._others[stream] = file, Position(line.number + 1, line.end_offset)
            yield OtherLine(stream, line)

    # days

    def _begin(self) -> bool:
        """At the newest day, or where its books begin; whether there is any."""
        days = self._archive.days
        if not days:
            return False
        paths = DayPaths(self._archive.directory, days[-1])
        heads = list(read_heads(paths.checkpoints))
        if len(days) > 1 and not any(head.line == 0 for head in heads) and self._goes_on(*days[-2:]):
            # the books of midnight are not written down (yet): they are found in the day before
            paths = DayPaths(self._archive.directory, days[-2])
            heads = list(read_heads(paths.checkpoints))
        self._go_to(paths)
        self._read_history(heads)
        self._looked_around = -math.inf
        return True

    def _goes_on(self, day: dt.date, next_day: dt.date) -> bool:
        names = (FileName(Stream.LEVEL3.prefix, each, "ndjson") for each in (day, next_day))
        return self._archive.goes_on(*names)

    def _read_history(self, heads: list[CheckpointHead]) -> None:
        """What the journal says up to now, and the last checkpoint of each symbol."""
        for _ in self._read_journal():
            pass
        if not self._open_data():
            return
        assert self._file is not None
        receipts = self._file.receipts
        latest = {head.symbol: head for head in heads}
        sound = [h for h in latest.values() if receipts is not None and receipts.start_of(h.line) == h.end_offset]
        subscribed = {symbol for channel, symbol in self.state.subscriptions if channel == Stream.LEVEL3.value}
        if not (sound and len(sound) == len(latest) and subscribed <= latest.keys()):
            self._checkpoints = [head for head in heads if head.line == 0]
            return
        self._checkpoints = sorted(sound, key=attrgetter("line"))
        self._at = self._file.at_line(self._checkpoints[0].line)
        if receipts is not None and self._at.line:
            self.now_ns = self.received_ns = receipts[self._at.line - 1].recv_ns
            self._forget_ended()

    def _load(self, head: CheckpointHead) -> None:
        assert self._paths is not None
        checkpoint = read_checkpoint(self._paths.checkpoints, head)
        if checkpoint is not None and load_checkpoint(self.engine, checkpoint) and head.line:
            self.loaded[head.symbol] = self._paths.data(Stream.LEVEL3), head.line - 1

    def _open_data(self) -> bool:
        assert self._paths is not None
        path = self._paths.data(Stream.LEVEL3)
        try:
            self._file = DataFile(path)
        except ArchiveError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # else it is not there yet
                raise
        return self._file is not None

    def _require_intact(self) -> None:
        """A file that somebody deleted or cut grows no more, and would look like a quiet market."""
        if self._file is None:
            return
        path = self._file.path
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            if existing(path) is None:  # else it was sealed, which takes the plain file away
                raise ArchiveError("deleted while it was followed", where=str(path)) from error
            return
        if size < self._at.offset:
            raise ArchiveError("cut while it was followed", where=f"{path}, offset {self._at.offset}")

    def _unannounced_day(self) -> Optional[DayPaths]:
        """The next day, where no journal says that it comes: the recorder was stopped, and this day sealed."""
        assert self._paths is not None
        days = self._archive.days
        if self._paths.day not in days[:-1]:
            return None
        return DayPaths(self._paths.directory, days[days.index(self._paths.day) + 1])

    def _is_time_to_look_around(self) -> bool:
        now = time.monotonic()
        if now - self._looked_around < self._look_around_s:
            return False
        self._looked_around = now
        return True

    def _go_to(self, paths: DayPaths) -> None:
        self._paths, self._journal_path = paths, paths.journal
        self._days_read.add(paths.day)

    def _enter(self, paths: DayPaths) -> None:
        assert self._paths is not None
        if paths != self._next and not self._goes_on(self._paths.day, paths.day):
            self.engine.invalidate()
            self._tallies = None
        self.close()
        self._go_to(paths)
        self._next, self._at, self._is_first_day, self._waited_offset = None, BEGINNING, False, 0
        self._looked_around = -math.inf
