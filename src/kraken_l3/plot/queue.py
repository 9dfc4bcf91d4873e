"""The queue of one price level over time: every order a block, the next to be served at the bottom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, Optional, Union

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from kraken_l3.api import Archive, Moment
from kraken_l3.api.arguments import Days, moment_ns, one_of
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.model.timestamps import NS_PER_DAY
from kraken_l3.plot.picture import (
    BLUE,
    GREY,
    ORANGE,
    Picture,
    Span,
    currencies,
    legend_above,
    shade_gaps,
    span_of,
    time_axis,
)

__all__ = ["queue"]

_FATES = {"filled": ORANGE, "cancelled or amended": BLUE, "out of sight, or still there": GREY}
_OUT_OF_SIGHT = "out of sight, or still there"


class _Block(NamedTuple):
    """An order while its place and quantity stay as they are."""

    order_id: str
    start_ns: int
    end_ns: int
    ahead: float
    qty: float


def queue(
    archive: Archive,
    symbol: str,
    price: Union[Decimal, str, float, None] = None,
    side: Optional[str] = None,
    start: Optional[Moment] = None,
    end: Optional[Moment] = None,
    day: Optional[Days] = None,
) -> Picture:
    """The orders of a price level over time, stacked in the order in which they are served.

    An order's block stands on the quantity ahead of it: it comes down as those before it are filled or cancelled.

    Args:
        archive: the archive to draw.
        symbol: such as BTC/USD.
        price: of the level; default: the level with the longest queue, while it was longest.
        side: "bid" or "ask"; needed only if the price was on both.
        start: first moment (default: the beginning).
        end: moment before which to stop.
        day: only these UTC days.

    Raises:
        DataMissing: nothing rested at the price.
        UsageError: an argument is out of its range, or an extra is not installed.
    """
    span = span_of(archive, symbol, start, end, day)
    sides = ["bid", "ask"] if side is None else [one_of(side, "side", ["bid", "ask"])]
    if price is None:
        wanted, sides = _busiest(archive, symbol, span, sides)
    else:
        wanted = _decimal(price)
    level = _Level()
    for name in sides:
        _begin(level, archive, symbol, span, wanted, name)
    for event in _events(archive, symbol, span, wanted, sides):
        level.apply(event)
    level.finish(span.end_ns)
    if price is None:
        level.keep_longest()
    if not level.blocks:
        raise DataMissing(f"nothing rested at {wanted}", where=symbol, hint="Without a price, a busy level is chosen")
    return _draw(archive, symbol, wanted, level, span)


def _decimal(price: Union[Decimal, str, float]) -> Decimal:
    try:
        return Decimal(str(price))
    except InvalidOperation:
        raise UsageError(f"price must be a number, got {price!r}") from None


def _busiest(archive: Archive, symbol: str, span: Span, sides: list[str]) -> tuple[Decimal, list[str]]:
    """The price and side at which orders joined behind most others."""
    counts: Counter[tuple[str, int, int]] = Counter()
    for batch in archive.events(symbol, start=span.start_ns, end=span.end_ns + 1):
        joined = pc.and_(
            pc.greater(batch["queue_position"], 0), pc.equal(batch["classification"].cast("string"), "new")
        )
        rows = batch.filter(joined).select(["side", "price", "price_scale", "queue_position"])
        for side, price, scale, position in zip(*(column.to_pylist() for column in rows.columns)):
            counts[side, price, scale] += position
    for (side, price, scale), _ in counts.most_common():
        if side in sides:
            return Decimal(price).scaleb(-scale), [side]
    raise DataMissing(f"no order of {symbol} joined a queue", where=str(archive.path), hint="Give a price")


def _begin(level: _Level, archive: Archive, symbol: str, span: Span, price: Decimal, side: str) -> None:
    """The orders that rest there when the span begins."""
    try:
        book = archive.book(symbol, at=span.start_ns - 1)
    except DataMissing:
        return
    for found in book.bids if side == "bid" else book.asks:
        if found.price == price:
            for order in found.orders:
                level.insert(span.start_ns, len(level.orders), order.order_id, float(order.qty))


class _Event(NamedTuple):
    """A row of `events` at the level, or a clear."""

    at_ns: int
    action: str
    classification: str
    order_id: str
    position: int
    qty: float


def _events(archive: Archive, symbol: str, span: Span, price: Decimal, sides: list[str]) -> Iterator[_Event]:
    for batch in archive.events(symbol, start=span.start_ns, end=span.end_ns + 1):
        scales = batch["price_scale"].drop_null()
        scaled = price.scaleb(scales[0].as_py()) if len(scales) else Decimal(0)
        if scaled != int(scaled):
            continue  # more decimals than the pair has
        here = pc.and_(pc.equal(batch["price"], int(scaled)), pc.is_in(batch["side"].cast("string"), pa.array(sides)))
        clear = pc.equal(batch["action"].cast("string"), "clear")
        for row in batch.filter(pc.or_kleene(here, clear)).to_pylist():
            at_ns = moment_ns(row["ts_recv"] or row["ts_event"])
            qty = (row["qty"] or 0) / 10.0 ** (row["qty_scale"] or 0)
            what = row["action"], row["classification"], row["order_id"] or "", row["queue_position"] or 0
            yield _Event(at_ns, *what, qty)


class _Level:
    """The queue, and the blocks that its orders leave behind."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, float]] = []
        self.blocks: list[_Block] = []
        self.fates: dict[str, str] = {}
        self._standing: dict[str, tuple[int, float, float]] = {}

    def apply(self, event: _Event) -> None:
        """One more event."""
        index = next((n for n, (order_id, _) in enumerate(self.orders) if order_id == event.order_id), None)
        if "fill" in event.classification:
            self.fates[event.order_id] = "filled"
        if event.action == "clear":
            self.orders.clear()
        elif event.action in ("delete", "evict"):
            if index is not None:
                del self.orders[index]
            if event.action == "delete":
                self.fates.setdefault(event.order_id, "cancelled or amended")
        elif index is not None:
            self.orders[index] = event.order_id, event.qty
        else:
            self.orders.insert(event.position, (event.order_id, event.qty))
        self._restack(event.at_ns)

    def insert(self, at_ns: int, position: int, order_id: str, qty: float) -> None:
        """An order that was there before."""
        self.orders.insert(position, (order_id, qty))
        self._restack(at_ns)

    def finish(self, at_ns: int) -> None:
        """Nothing more comes."""
        self.orders.clear()
        self._restack(at_ns)

    def keep_longest(self) -> None:
        """Only the while without an empty queue in which most orders stood in it."""
        whiles: list[list[_Block]] = []
        until_ns = -1
        for block in sorted(self.blocks, key=lambda block: block.start_ns):
            if block.start_ns > until_ns:
                whiles.append([])
            whiles[-1].append(block)
            until_ns = max(until_ns, block.end_ns)
        self.blocks = max(whiles, key=lambda blocks: len({block.order_id for block in blocks}), default=[])

    def _restack(self, at_ns: int) -> None:
        ahead, standing = 0.0, {}
        for order_id, qty in self.orders:
            start_ns, *place = self._standing.get(order_id, (at_ns, -1.0, -1.0))
            standing[order_id] = (start_ns if place == [ahead, qty] else at_ns), ahead, qty
            ahead += qty
        for order_id, (start_ns, before, qty) in self._standing.items():
            if standing.get(order_id) != (start_ns, before, qty) and at_ns > start_ns:
                self.blocks.append(_Block(order_id, start_ns, at_ns, before, qty))
        self._standing = standing


def _draw(archive: Archive, symbol: str, price: Decimal, level: _Level, span: Span) -> Picture:
    first, last = min(block.start_ns for block in level.blocks), max(block.end_ns for block in level.blocks)
    margin = (last - first) // 50
    shown = Span(max(span.start_ns, first - margin), min(span.end_ns, last + margin))
    base, _ = currencies(symbol)
    picture = Picture(f"{symbol}: queue at {price} {symbol.partition('/')[2]}, {shown.title()}")
    (axes,) = picture.axes
    turns: dict[str, int] = {}
    for block in level.blocks:
        turns.setdefault(block.order_id, len(turns))
    for fate, colour in _FATES.items():
        mine = [block for block in level.blocks if level.fates.get(block.order_id, _OUT_OF_SIGHT) == fate]
        corners = [_corners(block) for block in mine]
        # neighbours differ in strength, so that each can be followed
        faces = [(*_rgb(colour), 0.9 if turns[block.order_id] % 2 else 0.6) for block in mine]
        axes.add_collection(PolyCollection(corners, facecolors=faces, edgecolors="white", linewidths=0.3))
    axes.set_ylim(0, 1.05 * max(block.ahead + block.qty for block in level.blocks))
    axes.set_ylabel(f"quantity in the queue ({base}), served from below", fontsize=9)
    has_gaps = shade_gaps(axes, archive, symbol, shown)
    time_axis(axes, shown)
    handles = [Patch(color=colour, label=f"{fate} ({_count(level, turns, fate)})") for fate, colour in _FATES.items()]
    handles += [Patch(facecolor="#DDDDDD", edgecolor=GREY, hatch="////", label="gap")] if has_gaps else []
    legend_above(axes, handles)
    return picture


def _count(level: _Level, orders: dict[str, int], fate: str) -> int:
    return sum(level.fates.get(order_id, _OUT_OF_SIGHT) == fate for order_id in orders)


def _corners(block: _Block) -> list[tuple[float, float]]:
    left, right = block.start_ns / NS_PER_DAY, block.end_ns / NS_PER_DAY  # matplotlib counts days since 1970
    return [
        (left, block.ahead),
        (right, block.ahead),
        (right, block.ahead + block.qty),
        (left, block.ahead + block.qty),
    ]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
