"""A recorded archive behind the exchange's port: its messages as they were received, on the recording's clock.

The books are rebuilt while the recording is shown, so that a client may subscribe at any moment: it is sent the
verified book of that moment, and from there on what was recorded, byte for byte. A client that asks for a smaller depth
is sent what Kraken would have sent it (`window`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import ORDER_ID_BYTES, BookImage, EngineOptions, Result, SymbolTally
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.exchange.feed import Message, PriceLevels
from kraken_l3.exchange.replay.listing import list_instruments, offered
from kraken_l3.exchange.replay.others import OtherStreams, elements_of
from kraken_l3.exchange.replay.pace import Pace
from kraken_l3.exchange.replay.reading import Piece, pieces_of
from kraken_l3.exchange.replay.retime import Retiming
from kraken_l3.exchange.replay.window import Entry, Window
from kraken_l3.model.events import MessageKind, Side, State
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.rebuild.metadata import metadata_in

__all__ = ["ArchiveFeed"]

#: Messages given at a time, so that requests of clients are answered in between.
_BATCH = 500
#: Without a new subscription for so long, the clock begins; it waits for the first as long as it takes.
_SETTLED_NS = 2_000_000_000
_RECENT_TRADES = 50


class ArchiveFeed:
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
        DataMissing: there is no level3 data.
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
        self._listing = list_instruments(self._archive, self._metadata, engine_name)
        if not self._listing.records:
            raise DataMissing("there is no level3 data to replay", where=str(path))
        self._begin_ns, self._end_ns, self._loop = begin_ns, end_ns, loop
        self._retiming = Retiming() if retime else None
        self._on_gap = on_gap
        self._engine_name = engine_name
        self._watched: dict[str, Counter[int]] = {symbol: Counter() for symbol in self._listing.records}
        self._recent: dict[str, deque[str]] = {symbol: deque(maxlen=_RECENT_TRADES) for symbol in self._watched}
        self._subscribed_ns: Optional[int] = None
        self._subscriptions = 0
        self._is_new_turn = self._shows_levels = False
        self._windows: dict[str, Window] = {}
        self._start(begin_ns)

    def _start(self, begin_ns: Optional[int]) -> None:
        self._engine = make_engine(EngineOptions(messages=True, events=True), self._engine_name)
        self._at = self._offset = 0
        self._others = OtherStreams(self._archive, begin_ns)
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
        if self._piece is not None and self.pace.has_begun:
            self._begin_clock(wall_ns, mono_ns)

    @property
    def at_ns(self) -> Optional[int]:
        """Receive time of the next line; None at the end."""
        return None if self._piece is None else self._piece.times[self._at]

    # what was recorded

    def instruments(self) -> Mapping[str, str]:
        """See `Feed.instruments`."""
        return self._listing.records

    def assets(self) -> str:
        """See `Feed.assets`."""
        return self._listing.assets

    def depths(self, symbol: str) -> Collection[int]:
        """See `Feed.depths`: what was recorded, and what is smaller."""
        return offered(self._listing.depths.get(symbol))

    # subscriptions

    def watch(self, symbol: str, depth: int) -> None:
        """See `Feed.watch`."""
        self._watched[symbol][depth] += 1
        self._subscriptions += 1
        self._subscribed_ns = None
        if depth < self._depth_of(symbol):
            self._follow(symbol)

    def unwatch(self, symbol: str, depth: int) -> None:
        """See `Feed.unwatch`."""
        watched = self._watched[symbol]
        watched[depth] -= 1
        if not watched[depth]:
            del watched[depth]
        if not watched:
            self._windows.pop(symbol, None)
        self._subscriptions -= 1
        self._shows_levels = self._shows_levels and self._subscriptions > 0

    def snapshot(self, symbol: str, depth: int) -> Optional[bytes]:
        """See `Feed.snapshot`: the verified book of this moment. None in a gap, and before the first snapshot."""
        image = self._verified(symbol)
        if image is None:
            return None
        message = image.message if depth >= self._depth_of(symbol) else self._follow(symbol).snapshot_like(image, depth)
        return self._retimed(message)

    def levels(self, symbol: str, depth: int) -> Optional[PriceLevels]:
        """See `Feed.levels`."""
        self._shows_levels = True
        window = self._follow(symbol)
        if not window.is_known or symbol in self._missing:
            return None
        at_ns = window.at_ns + (self._retiming.span_ns if self._retiming is not None else 0)
        bids, asks = window.levels(Side.BID, depth), window.levels(Side.ASK, depth)
        return PriceLevels(bids, asks, *window.precisions, format_rfc3339(at_ns))

    def recent_trades(self, symbol: str) -> Optional[bytes]:
        """See `Feed.recent_trades`."""
        entries = ",".join(self._recent[symbol])
        message = f'{{"channel":"trade","type":"snapshot","data":[{entries}]}}'.encode()
        return self._retimed(message) if entries else None

    def set_system(self, system: str) -> None:
        """See `Feed.set_system`. What was recorded is shown whatever a fault script says of the engine's status."""

    def _verified(self, symbol: str) -> Optional[BookImage]:
        """The book of this moment, where its checksum agrees with Kraken's."""
        self._look()
        tally = self._tallies.get(symbol)
        if symbol in self._missing or tally is None or tally.state is not State.SYNCED:
            return None
        return self._engine.export_book(symbol)

    def _depth_of(self, symbol: str) -> int:
        tally = self._tallies.get(symbol)
        return (tally.depth if tally is not None else None) or self._listing.depths[symbol]

    def _follow(self, symbol: str) -> Window:
        """The orders of a symbol, followed from now on."""
        if symbol not in self._windows:
            window = self._windows[symbol] = Window(symbol)
            image = self._verified(symbol)
            if image is not None:
                window.load(image, self._precisions(symbol))
        return self._windows[symbol]

    def _precisions(self, symbol: str) -> tuple[int, int]:
        tally = self._tallies[symbol]
        return tally.price_precision or 0, tally.qty_precision or 0

    def _retimed(self, payload: bytes) -> bytes:
        return self._retiming.apply(payload) if self._retiming is not None else payload

    # the recording, as it becomes due

    def due(self, wall_ns: int, mono_ns: int) -> list[Message]:
        """See `Feed.due`."""
        out: list[Message] = []
        if self._waits(mono_ns):
            return out
        left = 1 if self._shows_levels else _BATCH  # levels are read after each message, and not after many
        while self._piece is not None and left > 0:
            times = self._piece.times
            if not self.pace.has_begun or self._is_new_turn:
                self._begin_clock(wall_ns, mono_ns)
            count = self.pace.due(times, self._at, self._until_gap(left, told=not out), mono_ns)
            if not count:
                break
            left -= count
            self._show(self._piece, count, out)
        return out

    def _begin_clock(self, wall_ns: int, mono_ns: int) -> None:
        assert self._piece is not None
        self._is_new_turn = False
        self.pace.begin(self._piece.times[self._at], mono_ns)
        if self._retiming is not None:
            self._retiming.span_ns = wall_ns - self._piece.times[self._at]

    def next_due_ns(self) -> Optional[int]:
        """See `Feed.next_due_ns`."""
        if self._piece is None or not self.pace.has_begun or (math.isinf(self.pace.speed) and not self._subscriptions):
            return None
        return self.pace.mono_of(self._piece.times[self._at])

    def _waits(self, mono_ns: int) -> bool:
        """Whether the clock has not begun, or nobody is there to read what knows no pace."""
        if not self._subscriptions:
            return not self.pace.has_begun or math.isinf(self.pace.speed)
        if self.pace.has_begun or all(self._watched.values()):
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
        self._collect(result, lines, piece.first_line + first, out)
        for message in self._others.until(piece.times[self._at - 1]):
            if message.channel == Stream.TRADE.value and message.symbol in self._recent:
                self._recent[message.symbol] += elements_of(message.payload)
            out.append(message._replace(payload=self._retimed(message.payload)))
        if self._at == len(piece.lines):
            self._next_piece()

    def _feed(self, lines: list[bytes], first_line: int) -> Result:
        data = b"\n".join(lines) + b"\n"
        result = self._engine.feed(data, first_line, self._offset)
        self._offset += len(data)
        if MessageKind.SNAPSHOT in result.messages["kind"] or len(self._engine.symbols()) > len(self._names):
            self._look()
        return result

    def _look(self) -> None:
        self._tallies = {tally.symbol: tally for tally in self._engine.tallies()}
        self._names = list(self._tallies)

    def _collect(self, result: Result, lines: list[bytes], first_line: int, out: list[Message]) -> None:
        messages = result.messages
        numbers, expected, times = (memoryview(messages[name]).cast("q") for name in ("line", "expected", "msg_ns"))
        indices = memoryview(messages["symbol"]).cast("i")
        entries = _entries_of(result) if self._windows else {}
        for place, kind in enumerate(messages["kind"]):
            symbol = self._names[indices[place]] if indices[place] >= 0 else ""
            if kind == MessageKind.SNAPSHOT:
                self._missing.discard(symbol)
            watched = self._watched.get(symbol)
            if not watched:
                continue
            depth, payload = self._depth_of(symbol), self._retimed(lines[numbers[place] - first_line])
            out += [Message("level3", symbol, each, payload) for each in watched if each >= depth]
            window = self._windows.get(symbol)
            if window is None:
                continue
            smaller = [each for each in watched if each < depth]
            if kind == MessageKind.SNAPSHOT:
                window.precisions = self._precisions(symbol)
            texts = window.follow(smaller, entries.get(place, []), expected[place], times[place])
            out += [Message("level3", symbol, each, self._retimed(text)) for each, text in zip(smaller, texts) if text]

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


def _entries_of(result: Result) -> dict[int, list[Entry]]:
    """The rows of the event columns by their message."""
    events, size = result.events, ORDER_ID_BYTES
    ids = [events["order_id"][at : at + size].rstrip(b"\0").decode() for at in range(0, len(events["order_id"]), size)]
    for row, text in result.overflow_ids.items():
        ids[row] = text
    names = ("order_ns", "stated_ns", "price", "qty", "stated_qty")
    columns = [memoryview(events[name]).cast("q") for name in names]
    places = memoryview(events["queue_position"]).cast("i")
    found: dict[int, list[Entry]] = defaultdict(list)
    entries = map(Entry, events["side"], events["action"], ids, *columns, places)
    for message, entry in zip(memoryview(events["message"]).cast("I"), entries):
        found[message].append(entry)
    return found
