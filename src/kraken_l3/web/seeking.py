"""A symbol's book at any moment of a day, and over time: what the slider and the heat map show.

As in `rebuild.book_at`, playback begins at the nearest checkpoint. Books that were reached are remembered too, so that
the next moment is near one of them, also where an archive has no checkpoints.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.datafile import Block, DataFile, Position
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.receipts import SLACK_NS, ReceiptIndex, receive_times
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, Result, RowOptions, SymbolTally
from kraken_l3.errors import ArchiveError, DataMissing
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.book_at import latest_checkpoints
from kraken_l3.rebuild.checkpointing import image_of
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import Place, Step, play
from kraken_l3.web.shared import Stopped
from kraken_l3.web.views import MOST_EVENTS, TapeEvent, newest_events

__all__ = ["Moment", "Row", "Seeker"]

#: Playback begins at least so long before the moment, so that the tape has events.
_TAPE_NS = 60 * NS_PER_S
#: A book is remembered whenever so much was read since the last; of all symbols together, so much of the newest.
_REMEMBER_BYTES = 32 * 1024 * 1024
_REMEMBERED_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024


class Moment(NamedTuple):
    """A book with the events that led to it.

    Attributes:
        image: the book; None where there is none.
        tally: of its symbol, since playback began; None where it had no message.
        recv_ns: when the newest line was received, of all symbols (0: none was).
        events: the newest, oldest first.
    """

    image: Optional[BookImage]
    tally: Optional[SymbolTally]
    recv_ns: int
    events: list[TapeEvent]


class Row(NamedTuple):
    """The best levels at an instant: (price, quantity), scaled, best first."""

    at_ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class _Known(NamedTuple):
    """A book as of a line."""

    symbol: str
    place: Place
    image: BookImage
    depth: Optional[int]


class Seeker:
    """Plays a day of an archive up to moments; any thread may ask.

    Args:
        archive: where playback may begin: the day alone, or the whole archive where its books come from days before.
        path: the day's data file, with receipts.
        metadata: what is told of its symbols (`rebuild.metadata`).
        slack_ns: see `ReceiptIndex`.
        stopping: set it to end all work with `Stopped`.
        engine_name: see `engine.choose`.
    """

    def __init__(
        self,
        archive: Archive,
        path: Path,
        metadata: Sequence[SymbolMetadata],
        *,
        slack_ns: int = SLACK_NS,
        stopping: Optional[threading.Event] = None,
        engine_name: str = "auto",
    ) -> None:
        self._stopping = stopping or threading.Event()
        self._archive = archive
        self._path = path
        self._metadata = metadata
        self._slack_ns = slack_ns
        self._engine_name = engine_name
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()
        self._known_bytes = 0
        self._lock = threading.Lock()

    def at(self, symbol: str, at_ns: int) -> Moment:
        """The book after all that was received until a moment.

        Raises:
            DamageFound: the file cannot be read up to there.
            DataMissing: it has no receipts, so nothing tells what was received when.
        """
        end = self._place(at_ns + 1)
        options = EngineOptions(messages=True, events=True, only=frozenset([symbol]))
        engine, begin = self._begin(options, symbol, self._place(at_ns - _TAPE_NS))
        last: list[Step] = []
        for step in self._steps(engine, begin, end, _Clock()):
            last = [*last[-1:], step]
        tally = _tally_of(engine, symbol)
        events = [event for step in last for event in _events(step, engine, tally)]
        return Moment(engine.export_book(symbol), tally, self._received(end), events[-MOST_EVENTS:])

    def rows(
        self, symbol: str, start_ns: int, end_ns: int, step_ns: int, levels: int
    ) -> tuple[list[Row], Optional[SymbolTally]]:
        """The best levels at each multiple of `step_ns` from `start_ns` to just before `end_ns`, while there is a book.

        Returns:
            The rows, and what the engine counts (its precisions are those of the rows).

        Raises:
            DamageFound, DataMissing: as `at`.
        """
        options = EngineOptions(rows=RowOptions(levels, step_ns), only=frozenset([symbol]))
        end = self._place(end_ns)
        engine, begin = self._begin(options, symbol, self._place(start_ns))
        engine.advance(start_ns)  # the first instant is shown too
        found: list[Row] = []
        for step in self._steps(engine, begin, end, _Clock()):
            found += _rows(step.result, levels)
        with self.receipts() as receipts:
            newest = receipts.last()
        if newest is not None:  # what was not received yet is not shown
            found += _rows(engine.advance(min(end_ns - 1, newest.recv_ns)), levels)
        return [row for row in found if start_ns <= row.at_ns < end_ns], _tally_of(engine, symbol)

    def _steps(
        self, engine: Engine, begin: Optional[Place], end: Place, clock: Optional[_Clock] = None
    ) -> Iterator[Step]:
        for each in play(
            engine, self._archive, self._metadata, begin=begin, end=end, clock=clock, block_bytes=_BLOCK_BYTES
        ):
            if self._stopping.is_set():
                raise Stopped("the page is being closed")
            if isinstance(each, Step):
                yield each

    # places

    @contextmanager
    def receipts(self) -> Iterator[ReceiptIndex]:
        """The day's receipts as they are now.

        Raises:
            DataMissing: there are none, so nothing tells what was received when.
        """
        paths = DayPaths.of(self._path)
        try:
            source = PlainFile(paths.receipts(Stream.LEVEL3)) if paths is not None else None
        except ArchiveError:
            source = None
        if source is None:
            raise DataMissing("no receipts tell when its lines were received", where=str(self._path))
        with closing(source):
            yield ReceiptIndex(source, slack_ns=self._slack_ns)

    def _place(self, at_ns: int) -> Place:
        """The first line received at a moment or later."""
        with self.receipts() as receipts:
            line = receipts.line_at_time(max(at_ns, 0))
            return Place(self._path, Position(line, receipts.start_of(line)))

    def _received(self, end: Place) -> int:
        with self.receipts() as receipts:
            return receipts[end.position.line - 1].recv_ns if end.position.line else 0

    # where to begin

    def _begin(self, options: EngineOptions, symbol: str, latest: Place) -> tuple[Engine, Optional[Place]]:
        """An engine, and where it begins: with a book at or not far before a place, if there is one."""
        engine, begin = self._nearest(EngineOptions(only=options.only), symbol, latest.position)
        unremembered = 0
        step: Optional[Step] = None
        for step in self._steps(engine, begin, latest):  # nothing but the book is wanted here
            unremembered += len(step.block.data)
            if unremembered >= _REMEMBER_BYTES:
                self._remember(engine, symbol, step)
                unremembered = 0
        if step is not None:
            self._remember(engine, symbol, step)
        return self._nearest(options, symbol, latest.position)

    def _nearest(self, options: EngineOptions, symbol: str, latest: Position) -> tuple[Engine, Optional[Place]]:
        """An engine with the last book that is known at or before a place, and that book's place."""
        for known in self._candidates(symbol, latest):
            engine = make_engine(options, self._engine_name)
            engine.set_symbol(symbol, depth=known.depth)
            if engine.load_book(known.image):
                return engine, known.place
        return make_engine(options, self._engine_name), None

    def _candidates(self, symbol: str, latest: Position) -> Iterator[_Known]:
        """The last book remembered, and those of checkpoints that are later; the last one first."""
        with self._lock:
            near = [each for each in self._known.values() if each.symbol == symbol and each.place.position <= latest]
        remembered = max(near, key=lambda each: each.place.position, default=None)
        for checkpoint in _checkpoints(self._path, symbol, latest.line):
            if remembered is not None and checkpoint.place.position <= remembered.place.position:
                break
            yield checkpoint
        if remembered is not None:
            yield remembered
        files = self._archive.files()
        for path in reversed(files[: files.index(self._path)]):
            yield from _checkpoints(path, symbol, None)

    def _remember(self, engine: Engine, symbol: str, step: Step) -> None:
        """A book that its last message proves, as of the end of a step; another would be taken for a good one later."""
        tally, image = _tally_of(engine, symbol), engine.export_book(symbol)
        is_proved = tally is not None and tally.state is State.SYNCED and tally.last_ok_line == tally.last_line
        if image is None or tally is None or not is_proved or step.path != self._path:
            return
        position = step.end
        with self._lock:
            if (symbol, position.line) in self._known:
                return
            self._known[symbol, position.line] = _Known(symbol, Place(step.path, position), image, tally.depth)
            self._known_bytes += len(image.message)
            while self._known_bytes > _REMEMBERED_BYTES:
                self._known_bytes -= len(self._known.popitem(last=False)[1].image.message)


def _checkpoints(path: Path, symbol: str, last_line: Optional[int]) -> Iterator[_Known]:
    """A symbol's books in a file up to a line, the last one first."""
    for place, checkpoint in latest_checkpoints(path, symbol, last_line):
        image = image_of(checkpoint)
        if image is not None:
            yield _Known(symbol, place, image, checkpoint.depth)


def _tally_of(engine: Engine, symbol: str) -> Optional[SymbolTally]:
    return next((each for each in engine.tallies() if each.symbol == symbol), None)


def _events(step: Step, engine: Engine, tally: Optional[SymbolTally]) -> list[TapeEvent]:
    if tally is None or not isinstance(step.times, _Times):
        return []
    index = list(engine.symbols()).index(tally.symbol)
    return newest_events(step.result, step.times.values, step.block.first_line, tally, index)


def _rows(result: Result, levels: int) -> list[Row]:
    columns = result.rows
    if not columns:
        return []
    sides = [
        (memoryview(columns[f"{side}_price"]).cast("q"), memoryview(columns[f"{side}_qty"]).cast("q"))
        for side in ("bid", "ask")
    ]
    rows = []
    for number, at_ns in enumerate(memoryview(columns["at_ns"]).cast("q")):
        span = slice(number * levels, (number + 1) * levels)
        bids, asks = ([(p, q) for p, q in zip(prices[span], qtys[span]) if p >= 0] for prices, qtys in sides)
        rows.append(Row(at_ns, bids, asks))
    return rows


class _Times(NamedTuple):
    """The receive times of a block's lines, never falling; see `playback.LineTimes`."""

    values: array[int]

    def packed(self) -> bytes:
        return self.values.tobytes()


class _Clock:
    """Receive times without numpy, which recording does not need either; see `playback.LineClock`."""

    def __init__(self) -> None:
        self.now_ns = 0

    def look(self, block: Block) -> None:
        """Nothing is needed ahead."""

    def times(self, file: DataFile, block: Block) -> _Times:
        count = block.data.count(b"\n") + (block.data[-1:] != b"\n")
        received = receive_times(file.receipt_bytes(block.first_line, count))
        values = array("q", accumulate(received, max, initial=self.now_ns))[1:]
        values.extend([self.now_ns] * (count - len(values)))
        if count:
            self.now_ns = values[-1]
        return _Times(values)
