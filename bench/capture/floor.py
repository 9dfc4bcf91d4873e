"""The floor: picows receives every frame over TLS, as our recorder has it do, and what it receives is dropped.

What our recorder takes above this is what recording costs.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from kraken_l3.protocol import requests


class Dropping(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        symbol = os.environ["KRAKEN_L3_SYMBOLS"]
        transport.send(WSMsgType.TEXT, requests.subscribe("level3", symbol, req_id=1, depth=10, token="bench"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        pass


async def receive() -> None:
    context = ssl.create_default_context()
    transport, _ = await ws_connect(
        Dropping, os.environ["KRAKEN_L3_WS_URL"], ssl_context=context, enable_auto_pong=False
    )
    await transport.wait_disconnected()


if __name__ == "__main__":
    asyncio.run(receive())
