"""What feeds have in common whose books are rebuilt by an engine: who reads what, snapshots, price levels.

Subscribers of the recorded depth are sent what was recorded, byte for byte; those of a smaller one what Kraken would
have sent them (`window`).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

from kraken_l3.engine.port import ORDER_ID_BYTES, BookImage, Result, SymbolTally
from kraken_l3.exchange.feed import Message, PriceLevels
from kraken_l3.exchange.replay.listing import Listing, offered
from kraken_l3.exchange.replay.others import elements_of
from kraken_l3.exchange.replay.retime import Retiming
from kraken_l3.exchange.replay.window import Entry, Window
from kraken_l3.model.events import MessageKind, Side
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["BookFeed"]

_RECENT_TRADES = 50


class _Reading(NamedTuple):
    """What is read of a symbol: as recorded, at which smaller depths, and the orders where those are followed."""

    symbol: str
    whole: list[int]
    smaller: list[int]
    window: Optional[Window]


class BookFeed:
    """All of `Feed` but when something is due; who inherits it has the engine.

    Args:
        listing: the pairs; more may be added to it.
        retiming: moves all timestamps.
    """

    def __init__(self, listing: Listing, retiming: Optional[Retiming] = None) -> None:
        self._listing = listing
        self._retiming = retiming
        self._watched: dict[str, Counter[int]] = defaultdict(Counter)
        self._recent: dict[str, deque[str]] = {}
        self._subscriptions = 0
        self._shows_levels = False
        self._windows: dict[str, Window] = {}

    def _tally(self, symbol: str) -> Optional[SymbolTally]:
        """What the engine knows of a symbol."""
        raise NotImplementedError

    def _is_missing(self, symbol: str) -> bool:
        """Whether it is in a gap: what is known of its book is old."""
        raise NotImplementedError

    def _verified(self, symbol: str) -> Optional[BookImage]:
        """The book of this moment; None in a gap, before the first snapshot, and where it disagrees with Kraken's
        checksum.
        """
        raise NotImplementedError

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

    def set_system(self, system: str) -> None:
        """See `Feed.set_system`. What was recorded is shown whatever a fault script says of the engine's status."""

    # subscriptions

    def watch(self, symbol: str, depth: int) -> None:
        """See `Feed.watch`."""
        self._watched[symbol][depth] += 1
        self._subscriptions += 1
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
        """See `Feed.snapshot`."""
        image = self._verified(symbol)
        if image is None:
            return None
        message = image.message if depth >= self._depth_of(symbol) else self._follow(symbol).snapshot_like(image, depth)
        return self._retimed(message)

    def levels(self, symbol: str, depth: int) -> Optional[PriceLevels]:
        """See `Feed.levels`."""
        self._shows_levels = True
        window = self._follow(symbol)
        if not window.is_known or self._is_missing(symbol):
            return None
        at_ns = window.at_ns + (self._retiming.span_ns if self._retiming is not None else 0)
        bids, asks = window.levels(Side.BID, depth), window.levels(Side.ASK, depth)
        return PriceLevels(bids, asks, *window.precisions, format_rfc3339(at_ns))

    def recent_trades(self, symbol: str) -> Optional[bytes]:
        """See `Feed.recent_trades`."""
        entries = ",".join(self._recent.get(symbol, ()))
        message = f'{{"channel":"trade","type":"snapshot","data":[{entries}]}}'.encode()
        return self._retimed(message) if entries else None

    def _depth_of(self, symbol: str) -> int:
        tally = self._tally(symbol)
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
        tally = self._tally(symbol)
        assert tally is not None
        return tally.price_precision or 0, tally.qty_precision or 0

    def _retimed(self, payload: bytes) -> bytes:
        return self._retiming.apply(payload) if self._retiming is not None else payload

    # what comes

    def _messages(
        self, result: Result, lines: Sequence[bytes], first_line: int, names: Sequence[str]
    ) -> Iterator[Message]:
        """What the readers of each pair and depth are sent of these lines."""
        messages = result.messages
        numbers, expected, times = (memoryview(messages[name]).cast("q") for name in ("line", "expected", "msg_ns"))
        indices = memoryview(messages["symbol"]).cast("i")
        entries = _entries_of(result) if self._windows else {}
        readings = {index: self._reading(names[index]) if index >= 0 else None for index in set(indices)}
        for place, index in enumerate(indices):
            reading = readings[index]
            if reading is None:
                continue
            symbol, whole, smaller, window = reading
            if whole:
                payload = self._retimed(lines[numbers[place] - first_line])
                for depth in whole:
                    yield Message("level3", symbol, depth, payload)
            if window is None:
                continue
            if messages["kind"][place] == MessageKind.SNAPSHOT:
                window.precisions = self._precisions(symbol)
            texts = window.follow(smaller, entries.get(place, []), expected[place], times[place])
            for depth, text in zip(smaller, texts):
                if text:
                    yield Message("level3", symbol, depth, self._retimed(text))

    def _reading(self, symbol: str) -> Optional[_Reading]:
        watched = self._watched.get(symbol)
        if not watched:
            return None
        recorded = self._depth_of(symbol)
        whole, smaller = ([each for each in watched if (each >= recorded) is is_whole] for is_whole in (True, False))
        return _Reading(symbol, whole, smaller, self._windows.get(symbol))

    def _other(self, message: Message) -> Message:
        """A message of another channel, as it is sent."""
        if message.channel == "trade" and message.symbol in self._listing.records:
            recent = self._recent.setdefault(message.symbol, deque(maxlen=_RECENT_TRADES))
            recent += elements_of(message.payload)
        return message._replace(payload=self._retimed(message.payload))


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
