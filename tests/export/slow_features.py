"""The table `features` computed slowly: one order book of dictionaries and decimals, one message at a time.

It shares nothing with the package: it reads the archive's files by itself, and has its own book, checksum,
classification and sums. What the columns mean it takes from docs/export.md and the paper.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Optional

DAY_NS = 86_400 * 1_000_000_000
BPS = (1, 5, 10, 25, 50)


def nanoseconds(text: Optional[str]) -> int:
    if not text:
        return 0
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = dt.datetime.fromisoformat(whole).replace(tzinfo=dt.timezone.utc)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


class Line(NamedTuple):
    at_ns: int
    day_ns: int
    recv_ns: Optional[int]
    content: Optional[dict[str, Any]]


def lines_of(directory: Path, stream: str) -> Iterator[tuple[bytes, Optional[int], int]]:
    """Each line, its receive time, and when its day begins."""
    for path in sorted(directory.glob(f"{stream}-*.ndjson")):
        day_ns = nanoseconds(path.stem[len(stream) + 1 :] + "T00:00:00Z")
        receipts = path.with_suffix(".receipts")
        times = [each[0] for each in struct.iter_unpack("<qqQII", receipts.read_bytes())] if receipts.exists() else None
        for number, line in enumerate(path.read_bytes().splitlines()):
            yield line, times[number] if times is not None else None, day_ns


def parsed(line: bytes) -> Optional[dict[str, Any]]:
    try:
        return json.loads(line, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None


def timed_lines(directory: Path) -> list[Line]:
    """All level3 lines; without receipts the clock is the latest of the messages' own times.

    What stands in the file of the next day came after its midnight, whatever it says.
    """
    now_ns, first_day_ns = 0, None
    found: list[Line] = []
    for line, recv_ns, day_ns in lines_of(directory, "l3"):
        content = parsed(line)
        first_day_ns = day_ns if first_day_ns is None else first_day_ns
        if day_ns != first_day_ns:
            now_ns = max(now_ns, day_ns + 1)
        if recv_ns is None:
            for data in content["data"] if content else []:
                now_ns = max(now_ns, nanoseconds(data.get("timestamp")))
        else:
            now_ns = max(now_ns, recv_ns)
        found.append(Line(now_ns, day_ns, recv_ns, content))
    return found


class Order:
    def __init__(self, price: Decimal, qty: Decimal, ns: int, seat: int) -> None:
        self.price, self.qty, self.ns, self.seat = price, qty, ns, seat


class SlowBook:
    def __init__(self, depth: int, decimals: tuple[int, int]) -> None:
        self.depth, self.decimals = depth, decimals
        self.sides: dict[str, dict[str, Order]] = {"bids": {}, "asks": {}}
        self.newest = 0
        self.amending: set[str] = set()
        self.seats = 0

    def levels(self, side: str) -> list[tuple[Decimal, list[Order]]]:
        by_price = defaultdict(list)
        for order in self.sides[side].values():
            by_price[order.price].append(order)
        for orders in by_price.values():
            orders.sort(key=lambda order: (order.ns, order.seat))
        return sorted(by_price.items(), reverse=side == "bids")

    def cut(self) -> None:
        for side in self.sides:
            kept = {price for price, _ in self.levels(side)[: self.depth]}
            self.sides[side] = {key: order for key, order in self.sides[side].items() if order.price in kept}

    def put(self, side: str, order_id: str, price: Decimal, qty: Decimal, ns: int) -> None:
        self.seats += 1
        self.sides[side][order_id] = Order(price, qty, ns, self.seats)

    def fill(self, data: dict[str, Any]) -> None:
        for side in self.sides:
            for entry in data[side]:
                ns = nanoseconds(entry["timestamp"])
                self.put(side, entry["order_id"], entry["limit_price"], entry["order_qty"], ns)
                self.newest = max(self.newest, ns)
        self.cut()

    def update(self, data: dict[str, Any]) -> list[tuple[str, str, Decimal, Decimal]]:
        """What happened: (word, side, quantity, price)."""
        told, newest = [], 0
        for side in ("bids", "asks"):
            entries = data.get(side) or []
            for entry in entries:
                ns, qty, price = nanoseconds(entry["timestamp"]), entry["order_qty"], entry["limit_price"]
                newest = max(newest, ns)
                told += self.change(side, entry, entries, ns, qty, price)
        self.cut()
        self.newest = max(self.newest, newest)
        return told

    def change(self, side, entry, entries, ns, qty, price) -> list[tuple[str, str, Decimal, Decimal]]:
        order_id, event = entry["order_id"], entry["event"]
        other = "asks" if side == "bids" else "bids"
        if event == "add":
            rests = order_id in self.sides[side] or order_id in self.sides[other]
            self.sides[side].pop(order_id, None)
            self.sides[other].pop(order_id, None)
            amends = order_id in self.amending or rests
            self.amending.discard(order_id)
            self.put(side, order_id, price, qty, ns)
            return [] if amends or not ns or ns <= self.newest else [("arrival", side, qty, price)]
        order = self.sides[side].get(order_id)
        if order is None:
            return []
        if event == "delete":
            del self.sides[side][order_id]
            if qty == 0:
                return [("fill", side, order.qty, order.price)]
            if ns == order.ns:
                self.amending.update([order_id] if ns else [])
                return []
            return [("cancel", side, order.qty, order.price)] if ns > order.ns > 0 else []
        if price != order.price or ns not in (0, order.ns):
            del self.sides[side][order_id]
            self.put(side, order_id, price, qty, ns or order.ns)
            return []
        less, order.qty = order.qty - qty, qty
        if less <= 0:
            return []
        others_fill = any(each["event"] == "delete" and each["order_qty"] == 0 for each in entries)
        return [("fill" if others_fill else "reduction", side, less, price)]

    def checksum(self) -> int:
        text = ""
        for side in ("asks", "bids"):
            for price, orders in self.levels(side)[:10]:
                for order in orders:
                    for number, decimals in ((price, self.decimals[0]), (order.qty, self.decimals[1])):
                        text += str(int(number.scaleb(decimals)))
        return zlib.crc32(text.encode())

    def best(self) -> tuple[Optional[tuple[Decimal, Decimal]], ...]:
        tops = (self.levels(side)[:1] for side in ("bids", "asks"))
        return tuple((top[0][0], sum(o.qty for o in top[0][1])) if top else None for top in tops)


def flow_imbalance(before, after) -> Decimal:
    """Equation (2) of arXiv 1011.6402; a side that is empty has a price that nobody reaches."""
    (bid, bid_qty), (ask, ask_qty) = after[0] or (Decimal("-Infinity"), 0), after[1] or (Decimal("Infinity"), 0)
    (bid0, bid_qty0), (ask0, ask_qty0) = before[0] or (Decimal("-Infinity"), 0), before[1] or (Decimal("Infinity"), 0)
    total = Decimal(0)
    if bid >= bid0:
        total += bid_qty
    if bid <= bid0:
        total -= bid_qty0
    if ask <= ask0:
        total -= ask_qty
    if ask >= ask0:
        total += ask_qty0
    return total


class Trades:
    """The recorded trades of each day: which are left to explain fills, and their bars."""

    def __init__(self, directory: Path) -> None:
        self.days: dict[int, dict[str, list[dict[str, Any]]]] = {}
        for line, recv_ns, day_ns in lines_of(directory, "trade"):
            content = parsed(line)
            by_symbol = self.days.setdefault(day_ns, {})
            for data in content["data"]:
                known = by_symbol.setdefault(data["symbol"], [])
                if data["trade_id"] in [each["trade_id"] for each in known]:
                    continue
                at_ns = nanoseconds(data["timestamp"])
                late = content["type"] == "snapshot" or recv_ns is None
                known.append({**data, "at_ns": at_ns, "bar_of": at_ns if late else recv_ns, "late": late, "left": True})

    def explain(self, day_ns: int, symbol: str, side: str, price: Decimal, qty: Decimal, at_ns: int) -> bool:
        taker = "sell" if side == "bids" else "buy"
        fitting = [
            trade
            for trade in self.days.get(day_ns, {}).get(symbol, [])
            if trade["left"] and (trade["side"], trade["price"], trade["qty"]) == (taker, price, qty)
            if abs(trade["at_ns"] - at_ns) <= 100_000_000
        ]
        fitting.sort(key=lambda trade: (abs(trade["at_ns"] - at_ns), trade["at_ns"], trade["trade_id"]))
        for trade in fitting[:1]:
            trade["left"] = False
        return bool(fitting)


class Bar:
    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        self.qtys: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.ofi = Decimal(0)
        self.variance = 0.0
        self.messages = self.ok = 0
        self.lags: list[int] = []


class Pair:
    def __init__(self) -> None:
        self.book: Optional[SlowBook] = None
        self.suspect = False
        self.best: Any = None
        self.mid: Optional[Decimal] = None
        self.bars: dict[int, Bar] = defaultdict(Bar)


def slow_features(
    directory: Path, every_ns: int, depth: int, decimals: dict[str, tuple[int, int]]
) -> dict[str, dict[int, dict[str, Any]]]:
    """The rows of each symbol by the end of their bar."""
    pairs: dict[str, Pair] = defaultdict(Pair)
    trades = Trades(directory)
    rows: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    lines = timed_lines(directory)
    at = -(-lines[0].at_ns // every_ns) * every_ns

    def show(until_ns: int) -> None:
        nonlocal at
        while at < until_ns:
            for symbol, pair in pairs.items():
                if pair.book is not None:
                    rows[symbol][at] = {**_state(pair.book, depth), **_flow(pair.bars[at]), "suspect": pair.suspect}
            at += every_ns

    for line in lines:
        show(line.at_ns)
        end = -(-line.at_ns // every_ns) * every_ns
        for data in line.content["data"] if line.content else []:
            _message(pairs[data["symbol"]], data, line, end, depth, decimals, trades)
    show(lines[-1].at_ns + 1)
    _add_trades(rows, trades, every_ns)
    _add_gaps(rows, directory, every_ns)
    return rows


def _message(pair: Pair, data, line: Line, end: int, depth: int, decimals, trades: Trades) -> None:
    bar = pair.bars[end]
    bar.messages += 1
    is_snapshot = line.content["type"] == "snapshot"
    if pair.book is None and not is_snapshot:
        return
    entries = [entry for side in ("bids", "asks") for entry in data.get(side) or []]
    if not all(isinstance(entry[name], Decimal) for entry in entries for name in ("limit_price", "order_qty")):
        pair.suspect = True
        if is_snapshot:
            pair.book = None
        return
    told_ns = nanoseconds(data.get("timestamp"))
    if is_snapshot:
        pair.book, pair.suspect, pair.best, pair.mid = SlowBook(depth, decimals[data["symbol"]]), False, None, None
        pair.book.fill(data)
    else:
        if line.recv_ns is not None:
            bar.lags.append(line.recv_ns - told_ns)
        for word, side, qty, price in pair.book.update(data):
            if word in ("fill", "reduction"):
                explained = trades.explain(line.day_ns, data["symbol"], side, price, qty, told_ns)
                word = "fill" if explained else word
            bar.counts[word, side] += 1
            bar.qtys[word, side] += qty
    if pair.book.checksum() == data["checksum"]:
        bar.ok += 1
    else:
        pair.suspect = True
    best = pair.book.best()
    if pair.best is not None:
        bar.ofi += flow_imbalance(pair.best, best)
    pair.best = best
    if all(best):
        mid = (best[0][0] + best[1][0]) / 2
        if pair.mid is not None:
            bar.variance += math.log(mid / pair.mid) ** 2
        pair.mid = mid


def _state(book: SlowBook, depth: int) -> dict[str, Any]:
    sides = {"bid": book.levels("bids"), "ask": book.levels("asks")}
    sums = {
        name: [sum((order.qty for order in orders), Decimal(0)) for _, orders in levels]
        for name, levels in sides.items()
    }
    row: dict[str, Any] = {"mid": None, "spread": None, "microprice": None}
    mid = None
    if all(sides.values()):
        bid, ask = sides["bid"][0][0], sides["ask"][0][0]
        bid_qty, ask_qty = sums["bid"][0], sums["ask"][0]
        mid = (bid + ask) / 2
        microprice = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)
        row.update(mid=float(mid), spread=float(ask - bid), microprice=float(microprice))
    for count in (1, 5, 10):
        bid_qty, ask_qty = (sum(sums[name][:count]) for name in ("bid", "ask"))
        row[f"imbalance_{count}"] = float((bid_qty - ask_qty) / (bid_qty + ask_qty)) if mid is not None else None
    tick = Decimal(1).scaleb(-book.decimals[0])
    for name, sign in (("bid", -1), ("ask", 1)):
        levels = sides[name]
        is_cut = len(levels) >= depth
        row[f"{name}_orders"] = sum(len(orders) for _, orders in levels)
        row[f"{name}_window_qty"] = float(sum(sums[name]))
        reach = abs(levels[-1][0] - mid) / mid * 10_000 if mid is not None and is_cut else None
        row[f"{name}_window_bps"] = float(reach) if reach is not None else None
        for bps in BPS:
            limit = Fraction(mid) * (10_000 + sign * bps) / 10_000 if mid is not None else None
            depth_there = None
            # the next level behind the last one is a tick farther at the least
            if limit is not None and not (is_cut and sign * levels[-1][0] + tick <= sign * limit):
                depth_there = float(sum(q for (p, _), q in zip(levels, sums[name]) if sign * p <= sign * limit))
            row[f"{name}_depth_{bps}bps"] = depth_there
    return row


def _flow(bar: Bar) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for word in ("arrival", "cancel", "fill"):
        for name, side in (("bid", "bids"), ("ask", "asks")):
            row[f"{name}_{word}s"] = bar.counts[word, side]
            row[f"{name}_{word}_qty"] = float(bar.qtys[word, side])
    row["ofi"], row["realised_variance"] = float(bar.ofi), bar.variance
    row["messages"] = bar.messages
    row["verified"] = bar.ok / bar.messages if bar.messages else None
    row["mean_lag_ns"] = sum(bar.lags) / len(bar.lags) if bar.lags else None
    return row


def _add_trades(rows, trades: Trades, every_ns: int) -> None:
    for symbol, bars in rows.items():
        for at, row in bars.items():
            day_ns = (at - 1) // DAY_NS * DAY_NS
            recorded = trades.days.get(day_ns)
            found = []
            for trade in (recorded or {}).get(symbol, []):
                end = -(-trade["bar_of"] // every_ns) * every_ns
                if (end if trade["late"] else max(end, day_ns + every_ns)) == at:
                    found.append(trade)
            volume = sum((trade["qty"] for trade in found), Decimal(0))
            value = sum((trade["qty"] * trade["price"] for trade in found), Decimal(0))
            signed = sum((trade["qty"] * (1 if trade["side"] == "buy" else -1) for trade in found), Decimal(0))
            there = recorded is not None
            row["trades"] = len(found) if there else None
            row["volume"] = float(volume) if there else None
            row["signed_volume"] = float(signed) if there else None
            row["vwap"] = float(Fraction(value) / Fraction(volume)) if found else None


def _add_gaps(rows, directory: Path, every_ns: int) -> None:
    closed, opened = [], {}
    for path in sorted(directory.glob("journal-*.ndjson")):
        for record in map(json.loads, path.read_text().splitlines()):
            if record["kind"] == "gap_opened" and record["channel"] == "level3":
                opened.setdefault(record["symbol"], record["left_ns"])
            elif record["kind"] == "gap_closed" and record["channel"] == "level3":
                opened.pop(record["symbol"], None)
                closed.append((record["symbol"], record["left_ns"], record["right_ns"]))
    closed += [(symbol, left_ns, 1 << 62) for symbol, left_ns in opened.items()]
    for symbol, bars in rows.items():
        for at, row in bars.items():
            row["over_gap"] = any(
                name == symbol and at > left_ns and at - every_ns < right_ns for name, left_ns, right_ns in closed
            )
