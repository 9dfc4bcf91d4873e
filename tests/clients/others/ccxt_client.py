"""ccxt.pro: markets over REST, then book, ticker and trades over the WebSocket.

    ccxt_client.py BOOKS SYMBOL            address from the environment, as `kraken-l3 simulate` prints it

Prints one JSON object.
"""

import asyncio
import json
import os
import sys

import ccxt.pro

books, symbol = int(sys.argv[1]), sys.argv[2]


async def main():
    client = ccxt.pro.kraken()  # its checksum option fails on its own floats (format_number), so it stays off
    client.urls["api"]["public"] = client.urls["api"]["private"] = os.environ["KRAKEN_L3_REST_URL"]
    client.urls["api"]["ws"]["publicV2"] = os.environ["KRAKEN_L3_PUBLIC_WS_URL"]
    try:
        markets = await client.load_markets()
        spreads = []
        for _ in range(books):
            book = await client.watch_order_book(symbol, 10)
            spreads.append(book["asks"][0][0] - book["bids"][0][0])
        ticker = await client.watch_ticker(symbol)
        trades = await client.watch_trades(symbol)
        time = await client.fetch_time()
        return {
            "markets": len(markets),
            "precision": markets[symbol]["precision"],
            "books": len(spreads),
            "least_spread": min(spreads),
            "levels": [len(book["bids"]), len(book["asks"])],
            "ticker": [ticker["bid"], ticker["ask"]],
            "trades": len(trades),
            "time": time,
        }
    finally:
        await client.close()


print(json.dumps(asyncio.run(main())))
