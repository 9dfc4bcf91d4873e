"""A recorder written the way the original was: the yardstick.

One connection by `websockets`, every message through json.loads and json.dumps, a line written, a flush each 100; a
reconnect after 1, 2, 4 ... 60 s, reset when the subscription is sent. No receive time, no check, no journal.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

import websockets

PATH = "/0/private/GetWebSocketsToken"
FLUSH_EACH = 100


def get_token() -> str:
    nonce = str(int(time.time() * 1000))
    body = f"nonce={nonce}"
    message = PATH.encode() + hashlib.sha256((nonce + body).encode()).digest()
    signature = hmac.new(base64.b64decode(os.environ["KRAKEN_API_SECRET"]), message, hashlib.sha512)
    headers = {"API-Key": os.environ["KRAKEN_API_KEY"], "API-Sign": base64.b64encode(signature.digest()).decode()}
    request = urllib.request.Request(os.environ["KRAKEN_L3_REST_URL"] + PATH, data=body.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["result"]["token"])


class Writer:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._day = ""
        self._count = 0

    def write(self, message: dict) -> None:
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        if day != self._day:
            self._day = day
            self._file = (self._directory / f"l3-{day}.ndjson").open("a", encoding="utf-8")
        self._file.write(json.dumps(message) + "\n")
        self._count += 1
        if self._count % FLUSH_EACH == 0:
            self._file.flush()


async def record() -> None:
    writer = Writer(Path(os.environ["KRAKEN_L3_OUTPUT_DIR"]))
    delay = 1
    while True:
        try:
            token = get_token()
            async with websockets.connect(os.environ["KRAKEN_L3_WS_URL"], ping_interval=20) as ws:
                symbols = os.environ["KRAKEN_L3_SYMBOLS"].split(",")
                params = {"channel": "level3", "symbol": symbols, "depth": 10, "snapshot": True, "token": token}
                await ws.send(json.dumps({"method": "subscribe", "params": params}))
                delay = 1
                async for text in ws:
                    message = json.loads(text)
                    if message.get("channel") == "level3":
                        writer.write(message)
        except (OSError, websockets.WebSocketException):  # noqa: PERF203 - a connection a round
            await asyncio.sleep(delay)
            delay = min(delay * 2, 60)


if __name__ == "__main__":
    asyncio.run(record())
