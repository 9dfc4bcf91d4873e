"""The usual way: json, a dict of orders, a sort a message, a list of dicts, pandas. Snapshots at every change.

python -m bench.export.naive NDJSON LINES. Needs pandas. Nothing is verified.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict

import pandas as pd


def main() -> None:
    path, count = sys.argv[1], int(sys.argv[2])
    start = time.perf_counter()
    books: dict = defaultdict(lambda: {"bids": {}, "asks": {}})
    rows = []
    with open(path) as file:  # noqa: PTH123 - the usual way
        for _, line in zip(range(count), file):
            message = json.loads(line)
            for data in message["data"]:
                book = books[data["symbol"]]
                for side in ("bids", "asks"):
                    if message["type"] == "snapshot":
                        book[side].clear()
                    for order in data[side]:
                        if order.get("event") == "delete":
                            book[side].pop(order["order_id"], None)
                        else:
                            book[side][order["order_id"]] = (order["limit_price"], order["order_qty"])
                row = {"timestamp": pd.Timestamp(data["timestamp"])}
                for side, name in (("bids", "bid"), ("asks", "ask")):
                    levels: dict = defaultdict(float)
                    for price, qty in book[side].values():
                        levels[price] += qty
                    best = sorted(levels.items(), reverse=side == "bids")[:10]
                    row[f"{name}_prices"], row[f"{name}_qtys"] = [p for p, _ in best], [q for _, q in best]
                rows.append(row)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as target:
        pd.DataFrame(rows).to_parquet(target.name, compression="zstd")
    print(json.dumps({"seconds": time.perf_counter() - start, "rows": len(rows)}))


main()
