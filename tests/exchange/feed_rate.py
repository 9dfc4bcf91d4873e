"""How many messages a second the exchange can feed to one client: `python tests/exchange/feed_rate.py [seconds]`.

The exchange runs in a process of its own; the client is picows, which costs next to nothing.
"""

import asyncio
import multiprocessing
import ssl
import sys
import time

import picows
import trustme
from strangers import a_token, subscription

from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import Exchange


def serve(pipe, blob, depth):
    async def run():
        tls = None
        if blob:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA.from_pem(*blob).issue_cert("127.0.0.1").configure_cert(tls)
        feed = OrderFlow(("BTC/USD",), rate=float("inf"), now_ns=time.time_ns())
        async with Exchange(feed, tls=tls, sent=SentLog(keep=False), limits=Limits()) as exchange:
            pipe.send((exchange.rest_url, exchange.ws_url, exchange.api_key, exchange.api_secret))
            await asyncio.Event().wait()

    asyncio.run(run())


class Counting(picows.WSListener):
    def __init__(self):
        self.messages = self.size = 0

    def on_ws_connected(self, transport):
        self.transport = transport

    def on_ws_frame(self, transport, frame):
        self.messages += 1
        self.size += frame.payload_size


class Where:
    def __init__(self, rest_url, ws_url, api_key, api_secret):
        self.rest_url, self.ws_url, self.api_key, self.api_secret = rest_url, ws_url, api_key, api_secret


async def count(where, tls, depth, seconds):
    token = await a_token(where, tls=tls)
    transport, listener = await picows.ws_connect(Counting, where.ws_url, ssl_context=tls)
    import json

    transport.send(picows.WSMsgType.TEXT, json.dumps(subscription(token, ["BTC/USD"], depth)).encode())
    await asyncio.sleep(1)
    messages, size, began = listener.messages, listener.size, time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    transport.disconnect()
    return (listener.messages - messages) / took, (listener.size - size) / took


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    for secure in (False, True):
        authority = trustme.CA() if secure else None
        blob = (authority.cert_pem.bytes(), authority.private_key_pem.bytes()) if secure else None
        tls = ssl.create_default_context() if secure else None
        if secure:
            authority.configure_trust(tls)
        for depth in (10, 1000):
            ours, theirs = multiprocessing.Pipe()
            server = multiprocessing.Process(target=serve, args=(theirs, blob, depth), daemon=True)
            server.start()
            rate, size = asyncio.run(count(Where(*ours.recv()), tls, depth, seconds))
            server.terminate()
            server.join()
            print(f"{'TLS' if secure else 'plain':5} depth {depth:4}: {rate:9,.0f} messages/s {size / 1e6:6.1f} MB/s")


if __name__ == "__main__":
    main()
