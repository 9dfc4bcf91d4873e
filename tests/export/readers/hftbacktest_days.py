"""Run in hftbacktest's environment: two exported days as one backtest.

Arguments: how to chain ("rows": without the opening rows of the second day; "whole": with them; "snapshot": the second
day without them, after the first day's `initial_snapshot`), tick size, lot size, two npz. An order far below the market
is placed in the first day. Prints its status at the end, the last row's time and the top of the book, or the error.
"""

import json
import sys
from pathlib import Path

import numpy as np
from hftbacktest import GTC, LIMIT, BacktestAsset, ROIVectorMarketDepthBacktest


def main() -> None:
    how, tick, lot, paths = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), [Path(path) for path in sys.argv[4:]]
    opening = [json.loads(path.with_suffix(".json").read_text())["opening_rows"] for path in paths]
    days = [np.load(path)["data"] for path in paths]
    prices = np.concatenate([day["px"][day["px"] > 0] for day in days])
    asset = BacktestAsset()
    if how == "snapshot":
        asset = asset.data([days[1][opening[1] :]]).initial_snapshot(days[1][1 : opening[1]])
    else:
        asset = asset.data([days[0], days[1][opening[1] if how == "rows" else 0 :]])
    asset = (
        asset.linear_asset(1.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(lot)
        .roi_lb(float(prices.min()) * 0.9)
        .roi_ub(float(prices.max()) * 1.1)
    )
    hbt = ROIVectorMarketDepthBacktest([asset])
    hbt.elapse(1_000_000_000)
    hbt.submit_buy_order(0, 1, float(prices.min()) * 0.95, lot * 100, GTC, LIMIT, False)
    last_ns = int(days[1]["local_ts"][-1])
    ended = hbt.elapse(last_ns - hbt.current_timestamp)
    depth, order = hbt.depth(0), hbt.orders(0).get(1)
    told = {"ended": int(ended), "status": int(order.status), "last_ns": last_ns}
    print(json.dumps({**told, "top": [depth.best_bid, depth.best_ask]}))


main()
