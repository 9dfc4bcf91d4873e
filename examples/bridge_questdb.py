"""Orders and their events as rows of QuestDB: python examples/bridge_questdb.py SOURCE BTC/USD [COUNT]

SOURCE is "live" or an archive (see level3_source.py). Needs the packages questdb (6 or later) and numpy;
QUESTDB is "tcp::addr=localhost:9009;" by default. QuestDB makes the table. Prices and quantities are doubles there.
"""

from __future__ import annotations

import asyncio
import os
import sys

from level3_source import decoded, messages
from questdb import Sender, TimestampNanos

from kraken_l3.model.timestamps import parse_rfc3339


async def main(source: str, symbol: str, count: int) -> None:
    """Orders of a snapshot have the event "snapshot"; what was known of the pair before is void then."""
    with Sender.from_conf(os.environ.get("QUESTDB", "tcp::addr=localhost:9009;")) as sender:
        async for payload in messages(source, symbol.split(","), count):
            data = decoded(payload)
            at = TimestampNanos(parse_rfc3339(data["timestamp"]))
            for side in ("bids", "asks"):
                for order in data[side]:
                    names = {"symbol": data["symbol"], "side": side, "event": order.get("event", data["type"])}
                    numbers = {"price": float(order["limit_price"]), "qty": float(order["order_qty"])}
                    sender.row("level3", symbols=names, columns={"order_id": order["order_id"], **numbers}, at=at)
            if source == "live":
                sender.flush()  # else it sends when its buffer is full


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1))
