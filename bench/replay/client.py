"""Connections that note when each level3 message came: python -m bench.replay.client MESSAGES [CONNECTIONS]

Prints one line for each connection: the CRC32 of its first update, and the monotonic times of all from there on.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.request
from array import array
from typing import Any
from zlib import crc32

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

PATH = "/0/private/GetWebSocketsToken"
_UPDATE = b'{"channel":"level3","type":"update"'


def token() -> str:
    while True:
        answer = ask_for_token()
        if not answer["error"]:
            return str(answer["result"]["token"])
        time.sleep(0.01)  # another client's nonce was larger


def ask_for_token() -> dict[str, Any]:
    nonce = str(time.time_ns())
    body = f"nonce={nonce}".encode()
    secret = base64.b64decode(os.environ["KRAKEN_API_SECRET"])
    digest = hashlib.sha256(nonce.encode() + body).digest()
    sign = base64.b64encode(hmac.new(secret, PATH.encode() + digest, hashlib.sha512).digest()).decode()
    headers = {"API-Key": os.environ["KRAKEN_API_KEY"], "API-Sign": sign}
    request = urllib.request.Request(os.environ["KRAKEN_L3_REST_URL"] + PATH, body, headers)
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


class Reader(WSListener):
    def __init__(self, messages: int, token: str) -> None:
        self.token = token
        self.times = array("q")
        self.first = 0
        self.left = messages
        self.done = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        params = {"channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": self.token}
        transport.send(WSMsgType.TEXT, json.dumps({"method": "subscribe", "params": params}).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now_ns = time.monotonic_ns()
        if frame.payload_size > 80 and (payload := frame.get_payload_as_bytes()).startswith(_UPDATE):
            if not self.times:
                self.first = crc32(payload)
            self.times.append(now_ns)
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main() -> None:
    messages, connections, good = int(sys.argv[1]), int((*sys.argv, "1")[2]), token()
    url = os.environ["KRAKEN_L3_WS_URL"]
    readers = [(await ws_connect(lambda: Reader(messages, good), url))[1] for _ in range(connections)]
    await asyncio.gather(*(reader.done for reader in readers))
    for reader in readers:
        print(reader.first, *reader.times)


asyncio.run(main())
