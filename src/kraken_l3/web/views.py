"""Books and events as the page draws them: plain values for JSON, with prices and quantities as exact text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple, Optional

import msgspec

from kraken_l3.engine.port import BookImage, Result, SymbolTally
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import Action, Classification, Side, State
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["MOST_EVENTS", "MOST_LEVELS", "MOST_ORDERS", "TapeEvent", "book_view", "newest_events"]

#: What is drawn order by order: so many levels a side, and so many orders of both sides, best levels first.
MOST_LEVELS = 40
MOST_ORDERS = 800
#: Points of a side's depth curve.
_CURVE_POINTS = 100
#: Events of the tape that are kept and sent at a time.
MOST_EVENTS = 60

_ACTIONS = {Action.EVICT: "out of depth", Action.CLEAR: "snapshot"}
_STATES = {State.SYNCED: "verified", State.DIVERGED: "mismatch", State.AWAITING_SNAPSHOT: "no book"}


class _Order(msgspec.Struct, gc=False):
    order_id: str
    limit_price: msgspec.Raw
    order_qty: msgspec.Raw
    timestamp: str = ""


class _Data(msgspec.Struct, gc=False):
    bids: list[_Order]
    asks: list[_Order]


class _Message(msgspec.Struct, gc=False):
    data: list[_Data]


_decoder = msgspec.json.Decoder(_Message)


def book_view(image: Optional[BookImage], tally: Optional[SymbolTally], gap: str = "") -> dict[str, Any]:
    """One book.

    Args:
        image: the book; None where there is none.
        tally: what the engine counts of its symbol.
        gap: the cause of the gap that it lies in.

    Returns:
        `state` in words; for each side `levels` (price, quantity, number of orders, and the orders in queue order as
        quantity, id, own time) and `curve`, the quantity from the best price to a price.
    """
    state = f"in a gap ({gap})" if gap else _STATES[tally.state] if tally is not None else "no book"
    view: dict[str, Any] = {"state": state, "depth": tally.depth if tally is not None else None}
    if image is None:
        return view
    data = _decoder.decode(image.message).data[0]
    levels = [_levels(data.bids), _levels(data.asks)]
    left = MOST_ORDERS
    shown: tuple[list[Any], list[Any]] = ([], [])
    for number in range(MOST_LEVELS):  # best levels of both sides first, until there are enough orders
        for side, into in zip(levels, shown):
            if number < len(side):
                price, orders = side[number]
                into.append([price, _sum(orders), len(orders), [_order(each) for each in orders[:left]]])
                left = max(0, left - len(orders))
    view["bids"], view["asks"] = ({"levels": each, "curve": _curve(side)} for each, side in zip(shown, levels))
    return view


def _levels(orders: list[_Order]) -> list[tuple[str, list[_Order]]]:
    return [
        (price, list(level)) for price, level in groupby(orders, key=lambda order: bytes(order.limit_price).decode())
    ]


def _order(order: _Order) -> list[str]:
    return [bytes(order.order_qty).decode(), order.order_id, order.timestamp]


def _scaled(qty: msgspec.Raw) -> int:
    """An image writes all quantities with the same decimals."""
    return int(bytes(qty).replace(b".", b""))


def _decimals(qty: msgspec.Raw) -> int:
    return len(bytes(qty).partition(b".")[2])


def _sum(orders: list[_Order]) -> str:
    return format_scaled(sum(_scaled(each.order_qty) for each in orders), _decimals(orders[0].order_qty))


def _curve(levels: list[tuple[str, list[_Order]]]) -> list[list[str]]:
    if not levels:
        return []
    decimals = _decimals(levels[0][1][0].order_qty)
    sums = list(accumulate(sum(_scaled(each.order_qty) for each in orders) for _, orders in levels))
    step = -(-len(sums) // _CURVE_POINTS)
    places = sorted({*range(0, len(sums), step), len(sums) - 1})
    return [[levels[place][0], format_scaled(sums[place], decimals)] for place in places]


class TapeEvent(NamedTuple):
    """One event of the tape.

    Attributes:
        recv: receive time of its message, RFC 3339.
        line: number of that message's line; with `entry`, its place among the events of a day.
        entry: among the events of its message.
        side: "bid", "ask" or "".
        what: new, fill, cancel, ... (`Classification`), "out of depth", or "snapshot".
        price: of the order.
        change: what was done to the quantity at the price, with a sign.
        order_id: whose.
        level: 0 is the best.
        position: in the queue of its level, 0 is served first.
    """

    recv: str
    line: int
    entry: int
    side: str
    what: str
    price: str
    change: str
    order_id: str
    level: int
    position: int


def newest_events(
    result: Result, times: Sequence[int], first_line: int, tally: SymbolTally, symbol: int, count: int = MOST_EVENTS
) -> list[TapeEvent]:
    """The last events of a symbol in what an engine gave, oldest first.

    Args:
        result: with messages and events.
        times: receive time of each line that was fed.
        first_line: number of the first of them.
        tally: of the symbol, for its precisions.
        symbol: its index.
        count: so many at most.
    """
    return list(_backwards(result, times, first_line, tally, symbol, count))[::-1]


def _backwards(
    result: Result, times: Sequence[int], first_line: int, tally: SymbolTally, symbol: int, count: int
) -> Iterator[TapeEvent]:
    events, messages = result.events, result.messages
    if not events or tally.price_precision is None or tally.qty_precision is None:
        return
    symbols, lines = memoryview(messages["symbol"]).cast("i"), memoryview(messages["line"]).cast("q")
    of_message = memoryview(events["message"]).cast("I")
    numbers = {name: memoryview(events[name]).cast("q") for name in ("price", "change")}
    places = {name: memoryview(events[name]).cast("i") for name in ("level", "queue_position")}
    actions, ids = events["action"], events["order_id"]
    for index in range(len(of_message) - 1, -1, -1):
        message = of_message[index]
        if symbols[message] != symbol or actions[index] == Action.SNAPSHOT:
            continue
        line, action = lines[message], Action(actions[index])
        classification = Classification(events["classification"][index])
        what = _ACTIONS.get(action) or classification.name.lower().replace("_", " ")
        yield TapeEvent(
            format_rfc3339(times[line - first_line]),
            line,
            index - bisect_left(of_message, message),
            {Side.BID: "bid", Side.ASK: "ask"}.get(Side(events["side"][index]), ""),
            what,
            "" if action is Action.CLEAR else format_scaled(numbers["price"][index], tally.price_precision),
            "" if action is Action.CLEAR else _signed(numbers["change"][index], tally.qty_precision),
            result.overflow_ids.get(index) or ids[20 * index : 20 * index + 20].rstrip(b"\0").decode(errors="replace"),
            places["level"][index],
            places["queue_position"][index],
        )
        count -= 1
        if not count:
            return


def _signed(value: int, precision: int) -> str:
    return ("+" if value > 0 else "") + format_scaled(value, precision)
