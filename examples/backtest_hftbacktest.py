"""A market maker in hftbacktest over two days, with the level 3 FIFO queue model; its fills against the recorded flow.

It joins the queue at the best bid and the best ask, and leaves when the best price moves away. Afterwards the recorded
order events say exactly when each of its orders had to be filled: at the first fill of an order behind it in its queue
or at a worse price, or when an order arrives that crosses it. The backtest must have filled the same orders at the same
nanosecond.

Without an archive, ten minutes over midnight are simulated. Needs hftbacktest (Python 3.11 or later) and
kraken-l3-recorder[research] in one environment ("make tools" makes .venv-hftbacktest).
Run: python examples/backtest_hftbacktest.py [ARCHIVE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from hftbacktest import CANCELED, EXPIRED, FILLED, GTX, LIMIT, NEW, BacktestAsset, ROIVectorMarketDepthBacktest
from numba import njit

import kraken_l3

LATENCY_NS = 10_000_000
BID, ASK = 0, 1
COLUMNS = ["ts_event", "line", "side", "action", "classification", "order_id", "price", "price_scale", "qty"]


class Own(NamedTuple):
    """An order of the market maker; times are the exchange's, `filled_ns` is 0 where it was not filled."""

    side: str
    price: float
    accepted_ns: int
    ended_ns: int
    filled_ns: int


def days_in_a_row(paths: list[Path]) -> list[np.ndarray]:
    """Events of days that follow one another: one clock shift for all, and one opening book (docs/export.md)."""
    told = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    shift = max(day["local_ts_shift_ns"] for day in told)
    days: list[np.ndarray] = []
    for path, day in zip(paths, told):
        data = np.load(path)["data"]
        data["local_ts"] += shift - day["local_ts_shift_ns"]
        days.append(data[day["opening_rows"] if days else 0 :])
    return days


def backtest_of(paths: list[Path], days: list[np.ndarray]) -> ROIVectorMarketDepthBacktest:
    """The exchange of the days, with a latency of 10 ms each way and Kraken's fees of the lowest volume.

    hftbacktest reads the arrays where they are and does not keep them: they must live as long as the backtest.
    """
    told = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    asset = (
        BacktestAsset()
        .data(days)
        .linear_asset(1.0)
        .constant_order_latency(LATENCY_NS, LATENCY_NS)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0025, 0.004)
        .tick_size(told[0]["tick_size"])
        .lot_size(told[0]["lot_size"])
        .roi_lb(min(day["roi_lb"] for day in told))
        .roi_ub(max(day["roi_ub"] for day in told))
    )
    return ROIVectorMarketDepthBacktest([asset])


@njit
def make_market(hbt: ROIVectorMarketDepthBacktest, qty: float, log: np.ndarray) -> int:
    """Quote until the data ends; a row of `log` an order: side, price, accepted, ended, status. Gives their number."""
    ids, rows = np.zeros(2, np.int64), np.zeros(2, np.int64)
    count = 0
    while True:
        ended = hbt.elapse(100_000_000) != 0
        depth, orders = hbt.depth(0), hbt.orders(0)
        for side in range(2):
            best = depth.best_bid if side == BID else depth.best_ask
            if ids[side]:
                order = orders.get(ids[side])
                log[rows[side], 3], log[rows[side], 4] = order.exch_timestamp, order.status
                if order.status in (FILLED, CANCELED, EXPIRED):
                    ids[side] = 0
                elif order.cancellable and order.price != best:
                    hbt.cancel(0, ids[side], False)
            if not ids[side] and not ended and count < len(log) and depth.best_bid < depth.best_ask:
                ids[side], rows[side] = count + 1, count
                tick = depth.best_bid_tick if side == BID else depth.best_ask_tick
                log[count, 0], log[count, 1], log[count, 2] = side, tick, hbt.current_timestamp + LATENCY_NS
                if side == BID:
                    hbt.submit_buy_order(0, ids[side], best, qty, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, ids[side], best, qty, GTX, LIMIT, False)
                count += 1
        if ended:
            return count
        hbt.clear_inactive_orders(0)


def flow(archive: kraken_l3.Archive, symbol: str) -> Iterator[dict]:
    """The recorded order events; the book that a later day begins with is known from the day before."""
    has_begun = False
    for batch in archive.events(symbol):
        rows = batch.select(COLUMNS).set_column(0, "ts_event", batch["ts_event"].cast("int64")).to_pylist()
        for row in rows:
            if row["line"] >= 0 or not has_begun:
                yield row
        has_begun = True


class Waiting:
    """One of our orders in its queue: the orders that stand before it."""

    def __init__(self, own: Own, ahead: set[str]) -> None:
        self.own, self.ahead = own, ahead


def filled_by_the_flow(archive: kraken_l3.Archive, symbol: str, orders: list[Own]) -> list[int]:
    """When each of our orders had to be filled, by the rules of the queue model; 0: never."""
    filled = [0] * len(orders)
    to_come = sorted(range(len(orders)), key=lambda index: orders[index].accepted_ns)
    waiting: dict[int, Waiting] = {}
    book: dict[str, dict[str, tuple[int, int]]] = {"bid": {}, "ask": {}}  # order id: price, quantity
    for row in flow(archive, symbol):
        if row["action"] == "clear":
            book = {"bid": {}, "ask": {}}
            continue
        at_ns, side, order_id, price = row["ts_event"], row["side"], row["order_id"], row["price"]
        unit = 10 ** row["price_scale"]
        while to_come and orders[to_come[0]].accepted_ns < at_ns:
            own = orders[to_come[0]]
            queue = {i for i, (resting, _) in book[own.side].items() if resting == round(own.price * unit)}
            waiting[to_come.pop(0)] = Waiting(own, queue)
        sign = 1 if side == "bid" else -1
        best = max((sign * resting for resting, _ in book[side].values()), default=None)
        for index, mine in list(waiting.items()):
            is_over = mine.own.ended_ns and mine.own.ended_ns < at_ns
            if is_over or _fills(row, mine, round(mine.own.price * unit), best):
                filled[index] = 0 if is_over else at_ns
                del waiting[index]
            elif row["action"] in ("delete", "evict") or row["qty"] > book[side].get(order_id, (0, row["qty"]))[1]:
                mine.ahead.discard(order_id)
        if row["action"] in ("delete", "evict"):
            del book[side][order_id]
        else:
            book[side][order_id] = (price, row["qty"])
    return filled


def _fills(row: dict, mine: Waiting, price: int, best: Optional[int]) -> bool:
    """Whether an event fills our order; `best` is the best price of the event's side before it, negative for asks."""
    sign = 1 if row["side"] == "bid" else -1
    if row["side"] != mine.own.side:  # an order of the other side comes to rest at our price or beyond it
        is_better = best is None or sign * row["price"] > best
        return row["action"] == "add" and is_better and sign * row["price"] >= sign * price
    if row["classification"] not in ("fill", "partial_fill"):
        return False
    if row["price"] == price:
        return row["order_id"] not in mine.ahead
    return sign * row["price"] < sign * price and best is not None and sign * row["price"] < best


def main() -> None:
    """Backtest, compare, print; exit code 1 where a fill differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--qty", type=float, default=0.01)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = arguments.archive or Path(scratch, "data")
        if arguments.archive is None:
            kraken_l3.simulate(source, "10m", symbols=[arguments.symbol], start="2026-01-02T23:55:00Z")
        export = ["export", "hftbacktest", source, "--out", scratch, "--symbols", arguments.symbol]
        subprocess.run([sys.executable, "-m", "kraken_l3", *map(str, export)], check=True, stdout=subprocess.DEVNULL)
        paths = sorted(Path(scratch, "hftbacktest").glob("*.npz"))
        days = days_in_a_row(paths)
        hbt = backtest_of(paths, days)
        log = np.zeros((100_000, 5), np.int64)
        count = make_market(hbt, arguments.qty, log)
        tick = json.loads(paths[0].with_suffix(".json").read_text())["tick_size"]
        orders = [
            Own(("bid", "ask")[side], price * tick, accepted, at_ns * (status != NEW), at_ns * (status == FILLED))
            for side, price, accepted, at_ns, status in log[:count].tolist()
        ]
        filled = sum(own.filled_ns > 0 for own in orders)
        print(f"{len(orders):,} orders, {filled:,} filled; position {hbt.position(0):.2f}")
        expected = filled_by_the_flow(kraken_l3.open(source), arguments.symbol, orders)
        wrong = [own for own, at_ns in zip(orders, expected) if own.filled_ns != at_ns]
        print(f"{len(orders) - len(wrong):,} of them ended as the recorded flow says, to the nanosecond")
        hbt.close()
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
