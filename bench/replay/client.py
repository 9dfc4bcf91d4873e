"""A client that notes when each level3 message came: python -m bench.replay.client MESSAGES"""

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

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

PATH = "/0/private/GetWebSocketsToken"


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
        self.left = messages
        self.done = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        params = {"channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": self.token}
        transport.send(WSMsgType.TEXT, json.dumps({"method": "subscribe", "params": params}).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.payload_size > 80 and frame.get_payload_as_bytes().startswith(b'{"channel":"level3"'):
            self.times.append(time.monotonic_ns())
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main() -> None:
    messages, good = int(sys.argv[1]), token()
    _, reader = await ws_connect(lambda: Reader(messages, good), os.environ["KRAKEN_L3_WS_URL"])
    await reader.done
    print(*reader.times)


asyncio.run(main())
