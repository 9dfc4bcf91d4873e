"""A recorded archive behind the exchange's port: its messages as they were received, on the recording's clock.

The books are rebuilt while the recording is shown, so that a client may subscribe at any moment: it is sent the
verified book of that moment, and from there on what was recorded.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, EngineOptions, Result, SymbolTally
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.exchange.feed import Message
from kraken_l3.exchange.replay.book_feed import BookFeed
from kraken_l3.exchange.replay.listing import list_instruments
from kraken_l3.exchange.replay.others import OtherStreams
from kraken_l3.exchange.replay.pace import Pace
from kraken_l3.exchange.replay.reading import Piece, pieces_of
from kraken_l3.exchange.replay.retime import Retiming
from kraken_l3.model.events import MessageKind, State
from kraken_l3.rebuild.metadata import metadata_in

__all__ = ["ArchiveFeed"]

#: Messages given at a time, so that requests of clients are answered in between.
_BATCH = 500
#: Without a new subscription for so long, the clock begins; it waits for the first as long as it takes.
_SETTLED_NS = 2_000_000_000


class ArchiveFeed(BookFeed):
    """Shows a recording; implements `Feed`.

    The clock begins when every recorded pair is subscribed, or when somebody is and two seconds passed without a new
    subscription: so a client gets the recording from its first line.

    Args:
        path: an archive directory, or an NDJSON file.
        pace: the recording's clock.
        begin_ns: receive time at which to begin; None: at the first line.
        end_ns: receive time before which to end.
        loop: begin again at the end.
        retime: move all timestamps, so that the recording begins now.
        on_gap: told of each gap as it is reached: its symbol and its cause.
        engine_name: which engine rebuilds the books.

    Attributes:
        is_over: everything was shown.
        hidden: damage that hides the rest of a file; the next file is shown.

    Raises:
        DataMissing: there is no level3 data, or none between `begin_ns` and `end_ns`.
        UsageError: there is no such file or directory.
    """

    def __init__(
        self,
        path: Path,
        pace: Pace,
        *,
        begin_ns: Optional[int] = None,
        end_ns: Optional[int] = None,
        loop: bool = False,
        retime: bool = False,
        on_gap: Optional[Callable[[str, str], None]] = None,
        engine_name: str = "auto",
    ) -> None:
        self.pace = pace
        self.is_over = False
        self.hidden: list[DamageFound] = []
        self._archive = open_archive(path)
        self._metadata = metadata_in(self._archive)
        self._gaps = gaps_in(self._archive, channel=Stream.LEVEL3)
        listing = list_instruments(self._archive, self._metadata, engine_name)
        if not listing.records:
            raise DataMissing("there is no level3 data to replay", where=str(path))
        super().__init__(listing, Retiming() if retime else None)
        self._begin_ns, self._end_ns, self._loop = begin_ns, end_ns, loop
        self._on_gap = on_gap
        self._engine_name = engine_name
        self._subscribed_ns: Optional[int] = None
        self._is_new_turn = False
        #: A book was sent: its timestamps and those of what follows have to be moved by the same span.
        self._is_span_kept = False
        self._start(begin_ns)
        if self._piece is None:
            hint = "`kraken-l3 info` shows from when to when it was recorded"
            raise DataMissing("nothing was recorded in the time to replay", where=str(path), hint=hint)

    def _start(self, begin_ns: Optional[int]) -> None:
        self._engine = make_engine(EngineOptions(messages=True, events=True), self._engine_name)
        self._at = self._offset = 0
        self._others = OtherStreams(self._archive, begin_ns)
        self._recent.clear()
        followed, self._windows = list(self._windows), {}
        self._tallies: dict[str, SymbolTally] = {}
        self._names: list[str] = []
        #: Symbols in a gap: what is known of their books is old.
        self._missing: set[str] = set()
        self._coming = sorted(self._gaps, key=lambda gap: (gap.left_ns, gap.symbol), reverse=True)
        self._pieces = pieces_of(
            self._archive,
            self._engine,
            self._metadata,
            begin_ns=begin_ns,
            end_ns=self._end_ns,
            on_damage=self._on_damage,
        )
        self._next_piece()
        if self._piece is not None:
            first_ns = self._piece.times[0]
            self._missing = {gap.symbol for gap in self._gaps if gap.left_ns < first_ns <= gap.end_ns}
        for symbol in followed:
            self._follow(symbol)

    def _on_damage(self, error: DamageFound) -> None:
        if str(error) not in map(str, self.hidden):  # each turn of a loop comes by it
            self.hidden.append(error)

    def close(self) -> None:
        """Stop reading."""
        self._pieces.close()

    def seek(self, at_ns: int, wall_ns: int, mono_ns: int) -> None:
        """Go on at another moment, or at the first line after it."""
        self.close()
        self._start(at_ns)
        if self.pace.has_begun and self._piece is not None:
            self._begin_clock(wall_ns, mono_ns)
        else:
            self._move_to(wall_ns)

    @property
    def at_ns(self) -> Optional[int]:
        """Receive time of the next line; None at the end."""
        return None if self._piece is None else self._piece.times[self._at]

    # subscriptions

    def watch(self, symbol: str, depth: int) -> None:
        """See `Feed.watch`."""
        super().watch(symbol, depth)
        self._subscribed_ns = None

    def snapshot(self, symbol: str, depth: int) -> Optional[bytes]:
        """See `Feed.snapshot`."""
        book = super().snapshot(symbol, depth)
        self._is_span_kept = self._is_span_kept or book is not None
        return book

    def _tally(self, symbol: str) -> Optional[SymbolTally]:
        return self._tallies.get(symbol)

    def _is_missing(self, symbol: str) -> bool:
        return symbol in self._missing

    def _verified(self, symbol: str) -> Optional[BookImage]:
        self._look()
        tally = self._tallies.get(symbol)
        if symbol in self._missing or tally is None or tally.state is not State.SYNCED:
            return None
        return self._engine.export_book(symbol)

    # the recording, as it becomes due

    def due(self, wall_ns: int, mono_ns: int) -> list[Message]:
        """See `Feed.due`."""
        out: list[Message] = []
        if not self.pace.has_begun and not self._is_span_kept:
            self._move_to(wall_ns)
        if self._waits(mono_ns):
            return out
        left = 1 if self._shows_levels else _BATCH  # levels are read after each message, and not after many
        while self._piece is not None and left > 0:
            times = self._piece.times
            if not self.pace.has_begun:
                self._begin_clock(wall_ns, mono_ns)
            elif self._is_new_turn:
                self._begin_clock(wall_ns, mono_ns)
                out += self._books_of_now()
            count = self.pace.due(times, self._at, self._until_gap(left, told=not out), mono_ns)
            if not count:
                break
            left -= count
            self._show(self._piece, count, out)
        return out

    def _begin_clock(self, wall_ns: int, mono_ns: int) -> None:
        assert self._piece is not None
        self._is_new_turn = False
        if self.pace.has_begun or not self._is_span_kept:
            self._move_to(wall_ns)
        self.pace.begin(self._piece.times[self._at], mono_ns)

    def _move_to(self, wall_ns: int) -> None:
        """From now on this moment of the recording bears this time, where timestamps are moved."""
        if self._retiming is not None and self._piece is not None:
            self._retiming.span_ns = wall_ns - self._piece.times[self._at]

    def next_due_ns(self) -> Optional[int]:
        """See `Feed.next_due_ns`."""
        if self._piece is None or not self.pace.has_begun or (math.isinf(self.pace.speed) and not self._subscriptions):
            return None
        return self.pace.mono_of(self._piece.times[self._at])

    def _books_of_now(self) -> Iterator[Message]:
        """For those who have read to the end: a turn that begins in the middle does not begin with snapshots."""
        for symbol, depths in self._watched.items():
            for depth in depths:
                book = self.snapshot(symbol, depth)
                if book is not None:
                    yield Message("level3", symbol, depth, book)

    def _waits(self, mono_ns: int) -> bool:
        """Whether the clock has not begun, or nobody is there to read what knows no pace."""
        if not self._subscriptions:
            return not self.pace.has_begun or math.isinf(self.pace.speed)
        if self.pace.has_begun or all(map(self._watched.get, self._listing.records)):
            return False
        if self._subscribed_ns is None:
            self._subscribed_ns = mono_ns
        return mono_ns - self._subscribed_ns < _SETTLED_NS

    def _until_gap(self, most: int, *, told: bool) -> int:
        """So many lines stand before the next gap. One whose left edge is reached is told only where `told`, which is
        when nothing waits to be sent: what was received before it goes out first.
        """
        assert self._piece is not None
        times = self._piece.times
        while self._coming and self._coming[-1].left_ns < times[self._at]:
            if not told:
                return 0
            gap = self._coming.pop()
            if gap.end_ns >= times[self._at]:
                self._missing.add(gap.symbol)
                if self._on_gap is not None:
                    self._on_gap(gap.symbol, gap.cause)
        if not self._coming:
            return most
        return min(most, bisect_right(times, self._coming[-1].left_ns, self._at) - self._at)

    def _show(self, piece: Piece, count: int, out: list[Message]) -> None:
        """The next lines of a piece: to the engine, and to those who read them."""
        first, self._at = self._at, self._at + count
        lines = piece.lines[first : self._at]
        result = self._feed(lines, piece.first_line + first)
        out += self._messages(result, lines, piece.first_line + first, self._names)
        out += map(self._other, self._others.until(piece.times[self._at - 1]))
        if self._at == len(piece.lines):
            self._next_piece()

    def _feed(self, lines: list[bytes], first_line: int) -> Result:
        data = b"\n".join(lines) + b"\n"
        result = self._engine.feed(data, first_line, self._offset)
        self._offset += len(data)
        has_snapshot = MessageKind.SNAPSHOT in result.messages["kind"]
        if has_snapshot or len(self._engine.symbols()) > len(self._names):
            self._look()
        if has_snapshot and self._missing:
            columns = zip(memoryview(result.messages["symbol"]).cast("i"), result.messages["kind"])
            self._missing -= {self._names[i] for i, kind in columns if kind == MessageKind.SNAPSHOT and i >= 0}
        return result

    def _look(self) -> None:
        self._tallies = {tally.symbol: tally for tally in self._engine.tallies()}
        self._names = list(self._tallies)

    def _next_piece(self) -> None:
        """Read on to the next lines; at the end, begin again or be over."""
        self._piece = next(self._pieces, None)
        self._at = 0
        if self._piece is not None:
            self._offset = self._piece.offset
        if self._piece is None and self._loop and not self._is_new_turn:
            self._is_new_turn = True
            self._start(self._begin_ns)
        self.is_over = self._piece is None
