"""The recorder against servers that share nothing with our exchange: `websockets` and the standard HTTP server.

Kraken fixes neither key order nor white space, and says less in an answer than one would like. Whatever is allowed must
be recorded, byte for byte.
"""

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from websockets.asyncio.server import ServerConnection, serve

from kraken_l3.telemetry import configure_logging
from recording import Recording, run

SNAPSHOT = (
    '{"data": [{"asks": [], "bids": [], "checksum": 0, "symbol": "%s"}], "type": "snapshot", "channel": "level3"}'
)
UPDATE = '{ "data":[{"asks":[],"checksum":%d,"bids":[],"symbol":"%s"}],"channel":"level3","type":"update" }'
UPDATES = 50


class _Tokens(http.server.BaseHTTPRequestHandler):
    """Answers every POST with a token; lists what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        token = self.server.token % len(self.server.asked)  # type: ignore[attr-defined]
        answer = b'{"error":[],"result":{"token":"%s","expires":900}}' % token.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@contextmanager
def token_server(token: str = "SESSION-T%d") -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    server.token = token  # type: ignore[attr-defined]
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Kraken:
    """A server as bare as the protocol allows.

    Args:
        status: send the status message first.
        echo: what a subscription's answer holds beside `method` and `success`: "all", "req_id", "symbol" or "nothing".
        fragments: send messages in pieces.
    """

    def __init__(self, *, status: bool = True, echo: str = "all", fragments: bool = False) -> None:
        self.status, self.echo, self.fragments = status, echo, fragments
        self.sent: list[bytes] = []
        self.requests: list[dict] = []

    async def __call__(self, connection: ServerConnection) -> None:
        if self.status:
            await connection.send('{"channel":"status","data":[{"system":"online"}],"type":"update"}')
        async for text in connection:
            request = json.loads(text)
            self.requests.append(request)
            if request["method"] == "subscribe" and request["params"]["channel"] == "level3":
                await self.subscribe(connection, request)

    async def subscribe(self, connection: ServerConnection, request: dict) -> None:
        (symbol,) = request["params"]["symbol"]
        answer: dict[str, Any] = {"success": True, "method": "subscribe"}
        if self.echo in ("all", "req_id"):
            answer["req_id"] = request["req_id"]
        if self.echo in ("all", "symbol"):
            answer["result"] = {"symbol": symbol, "channel": "level3", "snapshot": True}
        await connection.send(json.dumps(answer))
        await self.data(connection, SNAPSHOT % symbol)
        for i in range(UPDATES):
            await self.data(connection, UPDATE % (i, symbol))

    async def data(self, connection: ServerConnection, text: str) -> None:
        self.sent.append(text.encode())
        await connection.send([text[:20], text[20:21], text[21:]] if self.fragments else text)


class Places:
    """What `Recording` wants to know of an exchange."""

    def __init__(self, rest_port: int, ws_port: int) -> None:
        self.rest_url = f"http://127.0.0.1:{rest_port}"
        self.ws_url = f"ws://127.0.0.1:{ws_port}"
        self.public_ws_url = "ws://127.0.0.1:9/nowhere"
        self.api_key, self.api_secret = "key", "c2VjcmV0"


async def record(kraken: Kraken, directory: Path) -> tuple[Recording, list]:
    with token_server() as rest:
        async with serve(kraken, "127.0.0.1", 0, compression="deflate") as server:
            places = Places(rest.server_address[1], server.sockets[0].getsockname()[1])
            async with Recording(directory, places) as recording:  # type: ignore[arg-type]
                await recording.until(lambda r: len(r.lines()) == 2 * (UPDATES + 1))
                await recording.until_records("Acknowledged", 2)
        return recording, rest.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kraken",
    [
        Kraken(),
        Kraken(echo="req_id"),
        Kraken(echo="symbol"),
        Kraken(echo="nothing"),
        Kraken(fragments=True),
        Kraken(status=False),
    ],
    ids=["usual", "req_id", "symbol", "nothing", "fragments", "no-status"],
)
def test_every_byte_whatever_the_server_leaves_open(kraken: Kraken, tmp_path: Path) -> None:
    recording, asked = run(record(kraken, tmp_path))
    assert recording.lines() == kraken.sent
    acks = recording.records("Acknowledged")
    assert {ack.symbol: ack.depth for ack in acks} == {"BTC/USD": 10, "ETH/USD": 10}
    ((path, headers, body),) = asked
    assert path == "/0/private/GetWebSocketsToken"
    assert headers["API-Key"] == "key"
    assert headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert body.startswith(b"nonce=")
    assert [request["params"]["token"] for request in kraken.requests] == ["SESSION-T1", "SESSION-T1"]


#: As long as Kraken's, and with characters that JSON escapes.
LONG_TOKEN = "WW91ckF1dGhlbnRpY2F0aW9u/VG9rZW5Hb2Vz+SGVyZVdpdGhNYW55/Q2hhcmFjdGVycw%d"


@pytest.fixture
def json_log() -> Iterator[None]:
    """The log as the program writes it."""
    configure_logging(json=True)
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each).__module__ == "kraken_l3.telemetry"]:
        root.removeHandler(handler)
        handler.close()


@pytest.mark.usefixtures("json_log")
def test_a_server_that_repeats_the_token_does_not_have_it_written_down(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """In an error, in a frame that is not recognised, with JSON's escapes, in halves, in a close frame's reason."""

    class Parrot(Kraken):
        async def subscribe(self, connection: ServerConnection, request: dict) -> None:
            token = request["params"]["token"]
            error = f"Malformed request: {json.dumps(request)}"
            await connection.send(
                json.dumps({"method": "subscribe", "success": False, "req_id": request["req_id"], "error": error})
            )
            await connection.send(json.dumps({"params": {"token": token}}))
            await connection.send('{"params":"' + "".join(f"\\u{ord(letter):04x}" for letter in token) + '"}')
            await connection.send('{"params":"' + token.replace("/", "\\/") + '"}')
            await connection.send(json.dumps({"first": token[:35], "rest": token[35:]}))
            await connection.close(4000, f"no: {token}")

    async def main() -> None:
        with token_server(LONG_TOKEN) as rest:
            async with serve(Parrot(), "127.0.0.1", 0) as server:
                places = Places(rest.server_address[1], server.sockets[0].getsockname()[1])
                async with Recording(tmp_path, places) as recording:  # type: ignore[arg-type]
                    await recording.until_records("Rejected", 2)
                    await recording.until_records("Unrecognised", 8)
                    await recording.until_records("Disconnected", 2)
            assert "[token]" in recording.records("Disconnected")[0].detail

    run(main())
    for handler in logging.getLogger().handlers:
        handler.flush()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file()).decode()
    shown = "".join(capfd.readouterr())
    assert written.count("[token]") > 10
    assert "[token]" in shown
    for part in (LONG_TOKEN[:15], LONG_TOKEN[20:35], LONG_TOKEN[40:55]):
        for text in (written, shown):
            assert part not in text.replace("\\", "")
            assert "".join(f"u{ord(letter):04x}" for letter in part) not in text.replace("\\", "")


def test_a_server_that_never_answers_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        connections = 0

        async def mute(connection: ServerConnection) -> None:
            nonlocal connections
            connections += 1
            await connection.wait_closed()

        with token_server() as rest:
            async with serve(mute, "127.0.0.1", 0) as server:
                places = Places(rest.server_address[1], server.sockets[0].getsockname()[1])
                async with Recording(tmp_path, places, liveness_timeout_s=2) as recording:  # type: ignore[arg-type]
                    await recording.until(lambda _: connections == 2)
        assert recording.records("Disconnected")[0].cause == "silence"

    run(main())


def test_what_is_no_websocket_server_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        attempts = asyncio.Event()

        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            attempts.set()

        with token_server() as rest:
            server = await asyncio.start_server(refuse, "127.0.0.1", 0)
            places = Places(rest.server_address[1], server.sockets[0].getsockname()[1])
            async with Recording(tmp_path, places):  # type: ignore[arg-type]
                for _ in range(2):
                    await asyncio.wait_for(attempts.wait(), 10)
                    attempts.clear()
            server.close()

    run(main())
