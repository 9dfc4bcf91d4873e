"""Run in hftbacktest's environment: a backtest over an exported day, with an order of our own in the queue.

Arguments: npz, tick size, lot size, first second (ns), seconds. Prints the top of the book at each whole second, and
what became of an order at the best bid, as JSON.
"""

import json
import sys

import numpy as np
from hftbacktest import GTC, LIMIT, BacktestAsset, ROIVectorMarketDepthBacktest
from hftbacktest.data import validate_event_order


def main() -> None:
    path, tick, lot, start_ns, seconds = sys.argv[1], *map(float, sys.argv[2:4]), *map(int, sys.argv[4:6])
    data = np.load(path)["data"]
    validate_event_order(data)
    prices = data["px"][data["px"] > 0]
    asset = (
        BacktestAsset()
        .add_data(data)
        .linear_asset(1.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(lot)
        .roi_lb(float(prices.min()) * 0.99)
        .roi_ub(float(prices.max()) * 1.01)
    )
    hbt = ROIVectorMarketDepthBacktest([asset])
    tops = []
    hbt.elapse(start_ns - int(data["local_ts"][0]))
    for second in range(seconds):
        depth = hbt.depth(0)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        tops.append([depth.best_bid, depth.bid_qty_at_tick(bid), depth.best_ask, depth.ask_qty_at_tick(ask)])
        if second == 0:
            hbt.submit_buy_order(0, 1, depth.best_bid, lot * 100, GTC, LIMIT, False)
        if hbt.elapse(1_000_000_000) not in (0, 1):
            break
    order = hbt.orders(0).get(1)
    print(json.dumps({"tops": tops, "status": None if order is None else int(order.status)}))
    hbt.close()


main()
