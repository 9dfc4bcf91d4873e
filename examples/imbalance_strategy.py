"""A strategy on paper: long while the best bid outweighs the best ask, fills at the best prices.

    python examples/imbalance_strategy.py BTC/USD [messages]

The same program runs against yesterday (`kraken-l3 replay`) and live (the relay of a recorder): it reads the addresses
and the key from the environment, as `kraken-l3 replay` prints them.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from typing import Any, Optional

from level3_source import decoded, messages

DEPTH = 10
BUY_ABOVE, SELL_BELOW = Decimal("0.8"), Decimal("0.2")


class Book:
    """Orders by id, of the ten best levels a side."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, tuple[Decimal, Decimal]]] = {"bids": {}, "asks": {}}

    def apply(self, told: dict[str, Any]) -> None:
        """Apply one message."""
        for name, orders in self.sides.items():
            if told["type"] == "snapshot":
                orders.clear()
            for entry in told[name]:
                if entry.get("event") == "delete":
                    orders.pop(entry["order_id"], None)
                else:
                    orders[entry["order_id"]] = Decimal(entry["limit_price"]), Decimal(entry["order_qty"])
            prices = sorted({price for price, _ in orders.values()}, reverse=name == "bids")
            seen = set(prices[:DEPTH])  # what leaves the depth is not told
            self.sides[name] = {order: rest for order, rest in orders.items() if rest[0] in seen}

    def best(self, name: str) -> Optional[tuple[Decimal, Decimal]]:
        """Best price of a side and what rests there; None where the side is empty."""
        orders = self.sides[name].values()
        if not orders:
            return None
        price = (max if name == "bids" else min)(price for price, _ in orders)
        return price, sum((qty for at, qty in orders if at == price), Decimal(0))


async def trade(symbol: str, count: int) -> None:
    """Trade one unit on paper until so many messages came; -1: for ever."""
    book, bought, earned = Book(), None, Decimal(0)
    async for payload in messages("live", [symbol], count):
        told = decoded(payload)
        book.apply(told)
        bid, ask = book.best("bids"), book.best("asks")
        if bid is None or ask is None:
            continue
        imbalance = bid[1] / (bid[1] + ask[1])
        if bought is None and imbalance > BUY_ABOVE:
            bought = ask[0]
            print(f"{told.get('timestamp', '')[:23]}  buy   {ask[0]}  imbalance {imbalance:.2f}", flush=True)
        elif bought is not None and imbalance < SELL_BELOW:
            earned += bid[0] - bought
            bought = None
            print(f"{told.get('timestamp', '')[:23]}  sell  {bid[0]}  earned {earned}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    asyncio.run(trade(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else -1))
