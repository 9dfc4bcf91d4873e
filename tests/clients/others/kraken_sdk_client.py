"""python-kraken-sdk: level3 with a token that it asks for itself, book, ticker, trade and instrument; and its order
book, which compares checksums.

    kraken_sdk_client.py SECONDS SYMBOL    address and key from the environment, as `kraken-l3 simulate` prints them

Prints one JSON object: the messages by channel and type, and what was refused.
"""

import asyncio
import json
import os
import sys
from collections import Counter

from kraken.base_api import SpotClient
from kraken.spot import SpotOrderBookClient, SpotWSClient

seconds, symbol = float(sys.argv[1]), sys.argv[2]
# Its order book takes no addresses, so all are set for the class; it appends /v2 itself
SpotClient.URL = os.environ["KRAKEN_L3_REST_URL"]
SpotWSClient.AUTH_WS_URL = os.environ["KRAKEN_L3_WS_URL"].removesuffix("/v2")
SpotWSClient.WS_URL = os.environ["KRAKEN_L3_PUBLIC_WS_URL"].removesuffix("/v2")
seen, refused = Counter(), []


class Client(SpotWSClient):
    async def on_message(self, message):
        if message.get("success") is False:
            refused.append(message)
        elif "channel" in message:
            seen[f"{message['channel']} {message.get('type', '')}".strip()] += 1


class Book(SpotOrderBookClient):
    """Its own order book, which compares checksums and subscribes again where one is wrong."""

    async def on_book_update(self, pair, message):
        seen["valid book" if self.get(pair)["valid"] else "invalid book"] += 1


async def main():
    key, secret = os.environ["KRAKEN_API_KEY"], os.environ["KRAKEN_API_SECRET"]
    level3, public, book = Client(key=key, secret=secret, no_public=True), Client(), Book(depth=10)
    for client in (level3, public, book):
        await client.start()
    await level3.subscribe(params={"channel": "level3", "symbol": [symbol], "depth": 10})
    for channel in ("book", "ticker", "trade"):
        await public.subscribe(params={"channel": channel, "symbol": [symbol]})
    await public.subscribe(params={"channel": "instrument"})
    await book.add_book(pairs=[symbol])
    await asyncio.sleep(seconds)
    for client in (level3, public, book):
        await client.close()


asyncio.run(main())
print(json.dumps({"seen": seen, "refused": refused}))
