"""What `orders` has to say, computed slowly from the files by a book of its own: nothing here comes from `kraken_l3`.

The book follows Kraken (https://docs.kraken.com/api/docs/websocket-v2/level3, and its guide to L3 checksums);
how events are classified and what a life is stands in docs/verification.md and docs/export.md.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Optional

HORIZONS = {"": 0, "_100ms": 10**8, "_1s": 10**9, "_10s": 10**10}


@dataclass
class Order:
    order_id: str
    is_bid: bool
    price: int
    qty: int
    ns: int
    came: int = 0

    def rank(self) -> tuple[int, int, int]:
        """In the order in which it is served."""
        return (-self.price if self.is_bid else self.price, self.ns, self.came)


@dataclass
class Book:
    depth: int
    orders: dict[str, Order] = field(default_factory=dict)
    came: int = 0

    def put(self, order: Order) -> None:
        self.came += 1
        order.came = self.came
        self.orders[order.order_id] = order

    def side(self, is_bid: bool) -> list[Order]:
        return sorted((o for o in self.orders.values() if o.is_bid is is_bid), key=Order.rank)

    def prices(self, is_bid: bool) -> list[int]:
        return sorted({o.price for o in self.orders.values() if o.is_bid is is_bid}, reverse=is_bid)

    def best(self, is_bid: bool) -> Optional[int]:
        return next(iter(self.prices(is_bid)), None)

    def beyond(self) -> list[Order]:
        """What the window has no room for: bids then asks, worst level first, each in its queue's order."""
        cut = []
        for is_bid in (True, False):
            for price in reversed(self.prices(is_bid)[self.depth :]):
                cut += [order for order in self.side(is_bid) if order.price == price]
        return cut

    def checksum(self, decimals: tuple[int, int]) -> int:
        text = ""
        for is_bid in (False, True):
            best = self.prices(is_bid)[:10]
            text += "".join(f"{order.price}{order.qty}" for order in self.side(is_bid) if order.price in best)
        return zlib.crc32(text.encode())


@dataclass
class Life:
    order: Order
    first_seen: int
    row: dict[str, Any]
    visible_since: int
    in_window: int = 0
    first_fill: Optional[int] = None
    hidden_at: int = 0
    hidden_suspect: bool = False
    amends: int = 0


def scaled(number: Any, decimals: int) -> int:
    value = Decimal(str(number)).scaleb(decimals)
    if value != int(value):
        raise ValueError(number)
    return int(value)


def nanoseconds(text: Optional[str]) -> int:
    if not text:
        return 0
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = dt.datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=dt.timezone.utc)
    return int(whole.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


class KnownLives:
    """Follows one symbol's messages; `rows` are the lives that ended, in that order.

    Args:
        symbol: the pair.
        decimals: of its prices and quantities.
        depth: of the window.
        gaps: left edges.
        trades: (maker is bid, price, quantity, time) of each, where they were recorded.
        most_hidden: how many orders outside the window are remembered.
    """

    def __init__(
        self,
        symbol: str,
        decimals: tuple[int, int],
        depth: int,
        gaps: Sequence[int] = (),
        trades: Optional[list[tuple[bool, int, int, int]]] = None,
        most_hidden: int = 65_536,
    ) -> None:
        self.symbol, self.decimals, self.depth = symbol, decimals, depth
        self.gaps, self.trades, self.most_hidden = list(gaps), trades, most_hidden
        self.book: Optional[Book] = None
        self.now = self.last = self.newest = 0
        self.suspect = self.suspect_before = False
        self.message_ns = 0
        self.open: dict[str, Life] = {}
        self.hidden: dict[str, Life] = {}
        self.amended: dict[str, int] = {}
        self.tops: list[tuple[int, Optional[int]]] = []
        self.before: dict[bool, Optional[int]] = {}
        self.ended: list[Life] = []

    # Lines

    def feed(self, line: bytes, recv_ns: int) -> None:
        self.now = max(self.now, recv_ns)
        try:
            message = json.loads(line, parse_float=str, parse_int=str)
        except ValueError:
            return
        for data in message["data"]:
            if data["symbol"] == self.symbol:
                self.message(message["type"], data)

    def message(self, kind: str, data: dict[str, Any]) -> None:
        if self.book is None and kind == "update":
            return
        try:
            sides = [(is_bid, [self.read(e, is_bid) for e in data.get(k) or ()]) for is_bid, k in _SIDES]
        except ValueError:
            self.suspect = True
            return
        self.message_ns = nanoseconds(data.get("timestamp"))
        if kind == "snapshot":
            self.suspect = False
        else:
            self.before = {is_bid: self.book.best(is_bid) for is_bid in (True, False)}
        book = Book(self.depth) if kind == "snapshot" else self.book
        right = self.would_be_right(book, sides, data)
        self.suspect = self.suspect or not right
        if kind == "snapshot":
            self.snapshot([order for _, entries in sides for _, order in entries])
        else:
            self.update(sides)

    def would_be_right(self, book: Book, sides: Any, data: dict[str, Any]) -> bool:
        """Whether the message's checksum comes out; nothing changes."""
        if "checksum" not in data:
            return True
        after = Book(self.depth, {o: Order(**vars(order)) for o, order in book.orders.items()}, book.came)
        for is_bid, entries in sides:
            for event, order in entries:
                _apply(after, event, Order(**vars(order)), is_bid)
        for order in after.beyond():
            del after.orders[order.order_id]
        return after.checksum(self.decimals) == int(data["checksum"])

    def read(self, entry: dict[str, Any], is_bid: bool) -> tuple[str, Order]:
        price, qty = scaled(entry["limit_price"], self.decimals[0]), scaled(entry["order_qty"], self.decimals[1])
        event = entry.get("event", "snapshot")
        return event, Order(entry["order_id"], is_bid, price, qty, nanoseconds(entry.get("timestamp")))

    # What messages do to lives

    def snapshot(self, orders: Sequence[Order], at_ns: Optional[int] = None) -> None:
        at_ns = self.now if at_ns is None else at_ns
        left = [gap for gap in self.gaps if self.last <= gap < at_ns]
        self.gaps = [gap for gap in self.gaps if gap >= at_ns]
        known_until = min(left, default=self.last)
        suspect, self.suspect = self.suspect_before, self.suspect
        self.end_all("gap", known_until, suspect)
        self.tops.append((min(known_until + 1, at_ns), None))
        self.now = self.last = at_ns
        self.book = Book(self.depth)
        for order in orders:
            self.book.put(order)
        for order in self.book.beyond():
            del self.book.orders[order.order_id]
        self.newest = max((order.ns for order in orders), default=0)
        self.before = {is_bid: self.book.best(is_bid) for is_bid in (True, False)}
        for is_bid in (True, False):
            for order in self.book.side(is_bid):
                self.begin(order, "snapshot")
        self.after_message()

    def update(self, sides: Any) -> None:
        book = self.book
        assert book is not None
        touched, newest = False, self.newest
        for is_bid, entries in sides:
            fills = any(event == "delete" and order.qty == 0 for event, order in entries)
            for event, order in entries:
                newest = max(newest, order.ns)
                touched |= self.entry(event, order, is_bid, fills)
        self.newest = newest
        for order in book.beyond():
            self.hide(order)
            del book.orders[order.order_id]
            touched = True
        if touched:
            self.after_message()

    def after_message(self) -> None:
        self.last = self.now
        self.suspect_before = self.suspect
        bid, ask = self.book.best(True), self.book.best(False)
        self.tops.append((self.now, None if bid is None or ask is None else (bid + ask) * 5))

    def entry(self, event: str, order: Order, is_bid: bool, fills: bool) -> bool:
        book, old = self.book, self.book.orders.get(order.order_id)
        if event == "add":
            replaced = None
            if old is not None:
                replaced = self.open.pop(order.order_id)
                self.leave(replaced)
                del book.orders[order.order_id]
            elif order.order_id in self.hidden and self.comes_back(order):
                return True
            book.put(order)
            if order.order_id in self.amended or replaced is not None:
                if replaced is not None:
                    self.end(replaced, "amend", "likely")
                    self.amended[order.order_id] = replaced.amends + 1
                self.begin(order, "amend", self.amended.pop(order.order_id))
            else:
                birth = "unknown" if not order.ns else "reentry" if order.ns <= self.newest else "new"
                self.begin(order, birth)
            return True
        if old is None or old.is_bid is not is_bid:
            return False
        life = self.open[order.order_id]
        if event == "delete":
            self.delete(life, old, order)
        elif order.price == old.price and order.ns in (0, old.ns):
            self.change_in_place(life, old, order, fills)
        else:
            moved = Order(old.order_id, is_bid, order.price, order.qty, order.ns or old.ns)
            self.requeue(life, moved)
        return True

    def comes_back(self, order: Order) -> bool:
        life = self.hidden.pop(order.order_id)
        was = life.order
        same = (was.is_bid, was.price, was.ns) == (order.is_bid, order.price, order.ns) and order.qty <= was.qty
        if not same or order.order_id in self.amended:
            self.finish_hidden(life)
            return False
        life.row["reduced_qty"] += was.qty - order.qty
        life.row["reentries"] += 1
        life.order, life.visible_since = order, self.now
        self.book.put(order)
        self.open[order.order_id] = life
        return True

    def delete(self, life: Life, old: Order, order: Order) -> None:
        del self.book.orders[old.order_id]
        del self.open[old.order_id]
        self.leave(life)
        if order.qty == 0:
            explained = self.trade_of(old, old.qty)
            self.fill(life, old.qty)
            self.end(life, "fill", "certain" if explained is not False else "unsure")
        elif order.ns and order.ns == old.ns:
            self.amended[old.order_id] = life.amends + 1
            self.end(life, "amend", "likely")
        elif order.ns > old.ns > 0:
            self.end(life, "cancel", "likely")
        else:
            self.end(life, "unknown", "unsure")

    def change_in_place(self, life: Life, old: Order, order: Order, fills: bool) -> None:
        less = old.qty - order.qty
        if less < 0:
            self.requeue(life, old, order.qty)
            return
        old.qty = order.qty
        if less and (fills or self.trade_of(old, less)):
            if fills:
                self.trade_of(old, less)
            self.fill(life, less)
        else:
            life.row["reduced_qty"] += less

    def requeue(self, life: Life, order: Order, qty: Optional[int] = None) -> None:
        """An amend by a modify: one life ends, another begins."""
        self.leave(life)
        self.end(life, "amend", "likely")
        if qty is None:
            self.book.put(order)
        else:  # larger, but in place
            order.qty = qty
        self.begin(order, "amend", life.amends + 1)

    def trade_of(self, order: Order, qty: int) -> Optional[bool]:
        """Whether a trade that is left explains a fill; None where no trades were recorded."""
        if self.trades is None:
            return None
        fitting = [
            (abs(trade[3] - self.message_ns), index)
            for index, trade in enumerate(self.trades)
            if trade[:3] == (order.is_bid, order.price, qty) and abs(trade[3] - self.message_ns) <= 10**8
        ]
        if not fitting:
            return False
        del self.trades[min(fitting)[1]]
        return True

    # Lives

    def begin(self, order: Order, birth: str, amends: int = 0) -> None:
        side = self.book.side(order.is_bid)
        level = self.book.prices(order.is_bid).index(order.price)
        ahead = [other for other in side if other.price == order.price and other.rank() < order.rank()]
        better = [other for other in side if (other.price > order.price) == order.is_bid and other.price != order.price]
        best = self.before[order.is_bid]
        distance = None if best is None else (best - order.price if order.is_bid else order.price - best)
        row = {
            "ts_first_seen": self.now,
            "ts_order": order.ns or None,
            "order_id": order.order_id,
            "side": "bid" if order.is_bid else "ask",
            "birth": birth,
            "left_censored": birth in ("snapshot", "reentry", "unknown"),
            "price": order.price,
            "price_scale": self.decimals[0],
            "qty": order.qty,
            "qty_scale": self.decimals[1],
            "distance_ticks": distance,
            "distance_bps": None if not best else distance * 1e4 / best,
            "level": level,
            "queue_position": len(ahead),
            "qty_ahead": sum(other.qty for other in ahead),
            "orders_ahead": len(better) + len(ahead),
            "amends": amends,
            "reentries": 0,
            "fills": 0,
            "ts_first_fill": None,
            "first_fill_qty": None,
            "ts_last_fill": None,
            "last_fill_qty": None,
            "filled_qty": 0,
            "reduced_qty": 0,
            "mid_scale": self.decimals[0] + 1,
        }
        self.open.pop(order.order_id, None)  # those that came last end last
        self.open[order.order_id] = Life(order, self.now, row, self.now, amends=amends)

    def fill(self, life: Life, qty: int) -> None:
        row = life.row
        if not row["fills"]:
            row["ts_first_fill"], row["first_fill_qty"] = self.now, qty
        row["ts_last_fill"], row["last_fill_qty"] = self.now, qty
        row["fills"] += 1
        row["filled_qty"] += qty

    def leave(self, life: Life) -> None:
        life.in_window += self.now - life.visible_since

    def hide(self, order: Order) -> None:
        life = self.open.pop(order.order_id)
        self.leave(life)
        life.order = order
        life.hidden_at, life.hidden_suspect = self.now, self.suspect
        self.hidden[order.order_id] = life
        if len(self.hidden) > self.most_hidden:
            self.finish_hidden(self.hidden.pop(next(iter(self.hidden))))

    def finish_hidden(self, life: Life) -> None:
        self.end(life, "evict", "certain", life.hidden_at, life.hidden_suspect)

    def end(
        self, life: Life, cause: str, certainty: str, at_ns: Optional[int] = None, suspect: Optional[bool] = None
    ) -> None:
        at_ns = self.now if at_ns is None else at_ns
        suspect = self.suspect if suspect is None else suspect
        if suspect and cause in ("fill", "cancel", "amend"):
            certainty = "unsure"
        life.row.update(
            ts_end=at_ns,
            end_cause=cause,
            right_censored=cause in ("evict", "gap", "end_of_data"),
            certainty=certainty,
            time_in_book_ns=at_ns - life.first_seen,
            time_in_window_ns=life.in_window,
            suspect=suspect,
        )
        self.ended.append(life)

    def end_all(self, cause: str, at_ns: int, suspect: bool) -> None:
        for life in self.hidden.values():
            self.finish_hidden(life)
        for life in self.open.values():
            life.in_window += at_ns - life.visible_since
            self.end(life, cause, "certain", at_ns, suspect)
        self.hidden, self.open, self.amended = {}, {}, {}

    def finish(self, end_ns: int) -> list[dict[str, Any]]:
        left = [gap for gap in self.gaps if self.last <= gap < end_ns]
        until = min(left, default=end_ns)
        self.end_all("gap" if left else "end_of_data", until, self.suspect_before)
        for life in self.ended:
            for event in ("birth", "fill"):
                at_ns = life.first_seen if event == "birth" else life.row["ts_first_fill"]
                for name, horizon in HORIZONS.items():
                    life.row[f"mid_{event}{name}"] = None if at_ns is None else self.mid(at_ns + horizon, until)
        return [life.row for life in self.ended]

    def mid(self, at_ns: int, until: int) -> Optional[int]:
        found = None
        for top_ns, top in self.tops:
            if top_ns <= at_ns <= until:
                found = top
        return found


_SIDES = ((True, "bids"), (False, "asks"))


def _apply(book: Book, event: str, order: Order, is_bid: bool) -> None:
    old = book.orders.get(order.order_id)
    if event in ("add", "snapshot"):
        book.orders.pop(order.order_id, None)
        book.put(order)
    elif old is None or old.is_bid is not is_bid:
        return
    elif event == "delete":
        del book.orders[order.order_id]
    elif order.price == old.price and order.ns in (0, old.ns):
        old.qty = order.qty
    else:
        order.ns = order.ns or old.ns
        book.put(order)


# Files


def lines_of(paths: Sequence[Path]) -> Iterator[tuple[bytes, int]]:
    """Lines with their receive times."""
    for path in paths:
        receipts = struct.iter_unpack("<qqQII", path.with_suffix(".receipts").read_bytes())
        for line, receipt in zip(path.read_bytes().splitlines(), receipts):
            yield line, receipt[0]


def gaps_of(directory: Path, symbol: str) -> list[int]:
    """Left edges, each gap once: it is opened, stated again at midnight, and closed."""
    lefts: dict[int, None] = {}
    for path in sorted(directory.glob("journal-*.ndjson")):
        for text in path.read_text().splitlines():
            record = json.loads(text)
            if record.get("symbol") == symbol and record.get("channel") == "level3" and "left_ns" in record:
                lefts[record["left_ns"]] = None
    return sorted(lefts)


def trades_of(directory: Path, symbol: str, decimals: tuple[int, int]) -> Optional[list[tuple[bool, int, int, int]]]:
    paths = sorted(directory.glob("trade-*.ndjson"))
    trades = defaultdict(list)
    for path in paths:
        for line in path.read_bytes().splitlines():
            for trade in json.loads(line, parse_float=str, parse_int=str)["data"]:
                price, qty = scaled(trade["price"], decimals[0]), scaled(trade["qty"], decimals[1])
                found = trade["side"] == "sell", price, qty, nanoseconds(trade["timestamp"])
                trades[trade["symbol"]].append(found)
    return trades[symbol] if paths else None
