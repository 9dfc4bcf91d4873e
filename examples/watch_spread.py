"""The spread of a pair as it changes: a client of Kraken's public channel `book` that needs only aiohttp.

    python examples/watch_spread.py BTC/USD [changes]

It reads the address from KRAKEN_L3_PUBLIC_WS_URL, as `kraken-l3 replay` and `kraken-l3 simulate` print it; without it,
Kraken itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from decimal import Decimal
from typing import Any

import aiohttp

URL = os.environ.get("KRAKEN_L3_PUBLIC_WS_URL", "wss://ws.kraken.com/v2")
DEPTH = 10


async def watch(symbol: str, changes: int) -> None:
    """Print so many changes of the best prices; -1: all."""
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    last = None
    async with aiohttp.ClientSession() as http, http.ws_connect(URL, max_msg_size=0) as ws:
        params = {"channel": "book", "symbol": [symbol], "depth": DEPTH}
        await ws.send_json({"method": "subscribe", "params": params})
        async for message in ws:
            told: dict[str, Any] = json.loads(message.data, parse_float=Decimal, parse_int=Decimal)
            if told.get("success") is False:
                raise SystemExit(told["error"])
            if told.get("channel") != "book":
                continue
            for name, levels in sides.items():
                if told["type"] == "snapshot":
                    levels.clear()
                levels.update((level["price"], level["qty"]) for level in told["data"][0][name])
                best_first = sorted((price for price, qty in levels.items() if qty), reverse=name == "bids")
                sides[name] = {price: levels[price] for price in best_first[:DEPTH]}
            best = tuple(next(iter(sides[name]), None) for name in ("bids", "asks"))
            if None in best or best == last:
                continue
            last = best
            print(f"{told['data'][0].get('timestamp', '')[:23]}  {best[0]} / {best[1]}  spread {best[1] - best[0]}")
            changes -= 1
            if not changes:
                return


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    asyncio.run(watch(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else -1))
