"""A level3 client of nothing but aiohttp and the standard library: it asks for a token, subscribes, keeps the books of
its symbols, and compares every checksum. Rules: https://docs.kraken.com/api/docs/guides/spot-ws-l3-v2
"""

import base64
import hashlib
import hmac
import json
import os
import time
import zlib

import aiohttp

PATH = "/0/private/GetWebSocketsToken"


async def verified(environment, symbols, depth, messages):
    """How many of so many level3 messages bore the checksum of the book after them."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        token = await token_of(http, environment)
        async with http.ws_connect(environment["KRAKEN_L3_WS_URL"], max_msg_size=0) as ws:
            params = {"channel": "level3", "symbol": symbols, "depth": depth, "token": token}
            await ws.send_json({"method": "subscribe", "params": params})
            books, right = {}, 0
            while messages:
                message = json.loads((await ws.receive()).data, parse_float=str, parse_int=str)
                assert message.get("success") is not False, message
                if message.get("channel") == "level3":
                    (data,) = message["data"]
                    book = books.setdefault(data["symbol"], {"asks": {}, "bids": {}})
                    right += apply(book, data, depth) == int(data["checksum"])
                    messages -= 1
    return right


async def token_of(http, environment):
    nonce = str(time.time_ns())
    body = f"nonce={nonce}"
    digest = hashlib.sha256((nonce + body).encode()).digest()
    secret = base64.b64decode(environment["KRAKEN_API_SECRET"])
    sign = base64.b64encode(hmac.new(secret, PATH.encode() + digest, hashlib.sha512).digest()).decode()
    kind = "application/x-www-form-urlencoded"
    headers = {"API-Key": environment["KRAKEN_API_KEY"], "API-Sign": sign, "Content-Type": kind}
    async with http.post(environment["KRAKEN_L3_REST_URL"] + PATH, data=body, headers=headers) as response:
        answer = await response.json()
    assert not answer["error"], answer
    return answer["result"]["token"]


def apply(book, data, depth):
    """The checksum of a book after a message: orders by id, cut to the depth, queues by time."""
    text = []
    for side, best_first in (("asks", 1), ("bids", -1)):
        orders = book[side]
        for order in data[side]:
            if order.get("event") == "delete":
                del orders[order["order_id"]]
            else:
                orders[order["order_id"]] = order
        prices = sorted({float(each["limit_price"]) for each in orders.values()}, reverse=best_first < 0)
        for order_id in [key for key, each in orders.items() if float(each["limit_price"]) not in prices[:depth]]:
            del orders[order_id]
        top = [each for each in orders.values() if float(each["limit_price"]) in prices[:10]]
        top.sort(key=lambda each: (best_first * float(each["limit_price"]), each["timestamp"]))
        text += [(each[key]).replace(".", "").lstrip("0") for each in top for key in ("limit_price", "order_qty")]
    return zlib.crc32("".join(text).encode())


if __name__ == "__main__":
    import asyncio
    import sys

    print(asyncio.run(verified(os.environ, sys.argv[2:], 10, int(sys.argv[1]))))
