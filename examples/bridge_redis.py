"""level3 messages as entries of Redis streams, one a pair: python examples/bridge_redis.py SOURCE BTC/USD [COUNT]

SOURCE is "live" or an archive (see level3_source.py). Needs the package redis; REDIS_URL is redis://localhost by
default.
"""

from __future__ import annotations

import asyncio
import os
import sys

import redis.asyncio
from level3_source import decoded, messages


async def main(source: str, symbol: str, count: int) -> None:
    """Each entry has one field, the message; a stream keeps about its last million."""
    async with redis.asyncio.from_url(os.environ.get("REDIS_URL", "redis://localhost")) as client:
        async for payload in messages(source, symbol.split(","), count):
            name = f"level3:{decoded(payload)['symbol']}"
            await client.xadd(name, {"message": payload}, maxlen=1_000_000, approximate=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1))
