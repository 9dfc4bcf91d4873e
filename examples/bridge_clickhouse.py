"""Orders and their events as rows of ClickHouse: python examples/bridge_clickhouse.py SOURCE BTC/USD [COUNT]

SOURCE is "live" or an archive (see level3_source.py). Needs nothing beside kraken_l3; CLICKHOUSE_URL is
http://localhost:8123 by default. Prices and quantities stay exact (Decimal), times are nanoseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
from level3_source import decoded, messages

from kraken_l3.model.timestamps import parse_rfc3339

TABLE = """CREATE TABLE IF NOT EXISTS level3 (at_ns Int64, symbol String, side String, event String, order_id String,
    price Decimal(38, 10), qty Decimal(38, 10)) ENGINE = MergeTree PARTITION BY symbol ORDER BY (symbol, at_ns)"""


async def main(source: str, symbol: str, count: int) -> None:
    """Rows go in batches, at the latest after a second's messages: ClickHouse wants few and large ones."""
    url, rows, sent = os.environ.get("CLICKHOUSE_URL", "http://localhost:8123"), [], asyncio.get_running_loop().time()
    async with aiohttp.ClientSession(raise_for_status=True) as http:

        async def run(query: str, body: str = "") -> None:
            async with http.post(url, params={"query": query}, data=body.encode()):
                rows.clear()

        await run(TABLE)
        async for payload in messages(source, symbol.split(","), count):
            data = decoded(payload)
            for side in ("bids", "asks"):
                for o in data[side]:
                    row = (parse_rfc3339(data["timestamp"]), data["symbol"], side, o.get("event", data["type"]))
                    rows.append("\t".join(map(str, (*row, o["order_id"], o["limit_price"], o["order_qty"]))))
            if len(rows) > 50_000 or asyncio.get_running_loop().time() - sent > 1:
                await run("INSERT INTO level3 FORMAT TabSeparated", "\n".join(rows) + "\n")
                sent = asyncio.get_running_loop().time()
        if rows:
            await run("INSERT INTO level3 FORMAT TabSeparated", "\n".join(rows) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1))
