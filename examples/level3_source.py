"""level3 messages for the bridges beside this file: from a live relay, a replay or Kraken, or from an archive.

"live" takes the address and the key from the environment, as `kraken-l3 simulate` and `kraken-l3 replay` print them.
After a lost connection it subscribes again; the messages then begin with a new snapshot.
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
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

import kraken_l3

_PATH = "/0/private/GetWebSocketsToken"
_VARIABLES = ("KRAKEN_L3_REST_URL", "KRAKEN_L3_WS_URL", "KRAKEN_API_KEY", "KRAKEN_API_SECRET")


async def messages(source: str, symbols: list[str], count: int = -1) -> AsyncIterator[bytes]:
    """So many level3 messages, as Kraken sent them; -1: all. `source` is "live" or an archive's path."""
    chosen = _live(symbols) if source == "live" else _recorded(source, symbols)
    async for payload in chosen:
        yield payload
        count -= 1
        if not count:
            return


def decoded(payload: bytes) -> dict[str, Any]:
    """A message's element of `data`, with its `type`; numbers are texts, so that no digit is lost."""
    message = json.loads(payload, parse_float=str, parse_int=str)
    return {**message["data"][0], "type": message["type"]}


async def _recorded(path: str, symbols: list[str]) -> AsyncIterator[bytes]:
    for line in kraken_l3.open(path).messages():
        if decoded(line.payload)["symbol"] in symbols:
            yield line.payload


async def _live(symbols: list[str]) -> AsyncIterator[bytes]:
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be set: paste the lines that kraken-l3 replay prints")
    while True:
        try:
            async with aiohttp.ClientSession() as http:
                params = {"channel": "level3", "symbol": symbols, "depth": 10, "token": await _token(http)}
                async with http.ws_connect(os.environ["KRAKEN_L3_WS_URL"], max_msg_size=0) as ws:
                    await ws.send_json({"method": "subscribe", "params": params})
                    async for frame in ws:
                        message = json.loads(frame.data)
                        if message.get("success") is False:
                            raise SystemExit(message["error"])
                        if message.get("channel") == "level3":
                            yield frame.data.encode()
            print("the connection was closed", file=sys.stderr)
        except aiohttp.ClientError as error:
            print(f"no connection: {error}", file=sys.stderr)
        await asyncio.sleep(5)  # as Kraken asks after a maintenance


async def _token(http: aiohttp.ClientSession) -> str:
    nonce = str(time.time_ns())
    body = f"nonce={nonce}"
    digest = hashlib.sha256((nonce + body).encode()).digest()
    secret = base64.b64decode(os.environ["KRAKEN_API_SECRET"])
    sign = base64.b64encode(hmac.new(secret, _PATH.encode() + digest, hashlib.sha512).digest()).decode()
    form = "application/x-www-form-urlencoded"
    headers = {"API-Key": os.environ["KRAKEN_API_KEY"], "API-Sign": sign, "Content-Type": form}
    async with http.post(os.environ["KRAKEN_L3_REST_URL"] + _PATH, data=body, headers=headers) as response:
        answer = await response.json()
    if answer["error"]:
        raise SystemExit(", ".join(answer["error"]))
    return str(answer["result"]["token"])
