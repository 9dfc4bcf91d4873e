"""Connecting, against servers that make it hard."""

import asyncio
import base64
import contextlib
import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest

from kraken_l3.capture.transport import (
    PENDING_BYTES_MAX,
    WAITING_MAX,
    WAITING_MESSAGE_BYTES,
    ConnectFailed,
    connect,
)
from kraken_l3.clock import SystemClock
from kraken_l3.exchange.server import Exchange
from recording import Recording, flow, run

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Nobody:
    """A receiver that does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def upgrade(reader: Reader, writer: Writer, after_s: float) -> None:
    """The server's half of the handshake, slowly."""
    request = await reader.readuntil(b"\r\n\r\n")
    (key,) = [line[19:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await asyncio.sleep(after_s)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def test_another_address_of_the_server_is_taken_where_it_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, *_: Any, **__: Any) -> list:
        # the second of them does not answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (1, 2, 3)]

    async def main() -> None:
        gone = asyncio.Semaphore(0)

        async def welcome(reader: Reader, writer: Writer) -> None:
            await upgrade(reader, writer, 0)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            gone.release()

        server = await asyncio.start_server(welcome, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        other = await asyncio.start_server(welcome, "127.0.0.3", port)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        for avoid, taken in (((), 1), (("127.0.0.1",), 3), (("127.0.0.1", "127.0.0.3"), 1)):
            opened = await connect(f"ws://kraken.invalid:{port}/v2", Nobody(), SystemClock(), avoid=avoid)
            assert opened.address == f"127.0.0.{taken}"
            opened.abort()
            await gone.acquire()
        for each in (server, other):
            each.close()

    run(main())


def test_a_server_that_takes_the_connection_and_says_nothing() -> None:
    """As a firewall does: what comes before the WebSocket handshake (here TLS) must not be waited for for long."""

    async def main() -> None:
        done = asyncio.Event()

        async def mute(_: Reader, writer: Writer) -> None:
            await done.wait()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed):
            await connect(f"wss://127.0.0.1:{port}/v2", Nobody(), SystemClock(), limit_s=0.2)
        done.set()
        server.close()

    run(main())


def test_a_server_that_hangs_up_before_the_handshake() -> None:
    """As a proxy does whose own server is down: it is no defect of the recorder."""

    async def main() -> None:
        async def hang_up(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="closed the connection without an answer"):
            await connect(f"ws://127.0.0.1:{port}/v2", Nobody(), SystemClock())
        server.close()

    run(main())


def test_pings_whose_pongs_nobody_reads_take_no_memory() -> None:
    """A server that sends pings and never reads would have us hoard the answers."""
    ping = b"\x89\x7d" + b"p" * 125

    async def main() -> None:
        stop = asyncio.Event()
        counted = 0

        class Counter(Nobody):
            def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
                nonlocal counted
                counted += 1

        async def flood(reader: Reader, writer: Writer) -> None:
            await upgrade(reader, writer, 0)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):
                while not stop.is_set():
                    writer.write(ping * 1_000)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        socket: Any = await connect(f"ws://127.0.0.1:{port}/v2", Counter(), SystemClock())
        while counted < 100_000:  # 13 MB of pongs, more than the sockets between us hold
            await asyncio.sleep(0.01)
        assert socket._transport.underlying_transport.get_write_buffer_size() < 2 * PENDING_BYTES_MAX
        stop.set()
        socket.abort()
        server.close()

    run(main())


def test_a_ping_is_answered() -> None:
    async def main() -> None:
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        async def ping(reader: Reader, writer: Writer) -> None:
            await upgrade(reader, writer, 0)
            writer.write(b"\x89\x02hi")
            head = await reader.readexactly(6)
            body = await reader.readexactly(2)
            answers.put_nowait(head[:2] + bytes(a ^ b for a, b in zip(body, head[2:])))
            writer.close()

        server = await asyncio.start_server(ping, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await connect(f"ws://127.0.0.1:{port}/v2", Nobody(), SystemClock())
        assert await asyncio.wait_for(answers.get(), 5) == b"\x8a\x82hi"
        server.close()

    run(main())


def test_a_redirect_is_not_followed() -> None:
    """The token would go to whatever host it names."""

    async def main() -> None:
        asked = 0

        async def redirect(reader: Reader, writer: Writer) -> None:
            nonlocal asked
            asked += 1
            await reader.readuntil(b"\r\n\r\n")
            place = f"ws://127.0.0.1:{port}/elsewhere".encode()
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(redirect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed):
            await connect(f"ws://127.0.0.1:{port}/v2", Nobody(), SystemClock())
        assert asked == 1
        server.close()

    run(main())


def test_a_handshake_slower_than_the_liveness_timeout_is_no_silence(tmp_path: Path) -> None:
    async def main() -> None:
        early: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def slow(reader: Reader, writer: Writer) -> None:
            await upgrade(reader, writer, after_s=2.2)
            reading = asyncio.ensure_future(reader.read(1))
            await asyncio.wait([reading], timeout=0.8)  # neither a request nor a close: it waits for the status
            if not early.done():
                early.set_result(reading.result() if reading.done() else b"")
            reading.cancel()
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        async with Exchange(flow()) as exchange:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
            async with Recording(tmp_path, exchange, ws_url=url, liveness_timeout_s=2) as recording:
                await recording.until(lambda _: early.done())
        server.close()
        assert early.result() == b""

    run(main())


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A frame of the server's."""
    size = len(payload).to_bytes(1, "big") if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([opcode | (0x80 if fin else 0)]) + size + payload


class Listening:
    """Keeps what it is told; its `failing` message makes it fail, once."""

    def __init__(self, failing: bytes = b"") -> None:
        self.told: list[Any] = []
        self.times: list[int] = []
        self.failing = failing
        self.message = asyncio.Event()
        self.closed = asyncio.Event()

    def on_opened(self, extensions: str) -> None:
        self.told.append("opened")

    def on_message(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        self.message.set()
        if payload == self.failing:
            raise ValueError("a defect")
        self.told.append(payload)
        self.times.append(mono_ns)

    def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
        self.told.append("life")
        self.times.append(mono_ns)

    def on_violation(self, payload: bytes, what: str) -> None:
        self.told.append(("violation", payload))

    def on_closed(self, code: Any, reason: str) -> None:
        self.told.append(("closed", code))
        self.closed.set()


async def told_of(sent: bytes, receiver: Listening, until: asyncio.Event, *, then_break: bool = False) -> Any:
    """What a receiver hears of a server that sends this all at once."""

    async def send(reader: Reader, writer: Writer) -> None:
        await upgrade(reader, writer, 0)
        writer.write(sent)
        if then_break:
            writer.close()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
        socket = await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2", receiver, SystemClock())
        await asyncio.wait_for(until.wait(), 10)
        socket.abort()
        await asyncio.wait_for(receiver.closed.wait(), 10)
    return receiver.told


def test_a_message_that_nothing_follows_is_handed_over() -> None:
    async def main() -> None:
        receiver = Listening()
        told = await told_of(frame(b"{}"), receiver, receiver.message)
        assert told[:2] == ["opened", b"{}"]

    run(main())


def test_messages_that_wait_keep_their_order_with_all_else() -> None:
    many = [b"%d" % n for n in range(3 * WAITING_MAX + 5)]
    large = b"l" * (WAITING_MESSAGE_BYTES + 1)
    parts = frame(b"one ", fin=False) + frame(b"text", 0)
    sent = b"".join(map(frame, many)) + frame(b"", 9) + frame(b"a") + frame(large) + frame(b"b") + parts + frame(b"c")

    async def main() -> None:
        receiver = Listening()
        told = await told_of(sent + frame(b"\x03\xe8", 8), receiver, receiver.closed)
        rest = ["life", b"a", large, b"b", "life", b"one text", b"c", ("closed", 1000)]
        assert told == ["opened", *many, *rest]
        assert receiver.times == sorted(receiver.times)

    run(main())


def test_messages_that_wait_when_the_connection_breaks_are_handed_over() -> None:
    async def main() -> None:
        receiver = Listening()
        told = await told_of(frame(b"a") + frame(b"b"), receiver, receiver.closed, then_break=True)
        assert told == ["opened", b"a", b"b", ("closed", None)]

    run(main())


def test_messages_before_a_violation_count_and_those_behind_it_do_not() -> None:
    async def main() -> None:
        for bad in (frame(b"\xff"), frame(b"\xff", 0x41)):  # no UTF-8; a reserved bit
            receiver = Listening()
            told = await told_of(frame(b"a") + bad + frame(b"b"), receiver, receiver.closed)
            assert told[:3] == ["opened", b"a", ("violation", b"\xff")]
            assert b"b" not in told

    run(main())


def test_a_receiver_that_fails_loses_its_connection_and_no_other_message() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        receiver = Listening(failing=b"b")
        told = await told_of(b"".join(map(frame, (b"a", b"b", b"c"))), receiver, receiver.closed)
        assert told[:3] == ["opened", b"a", b"c"]
        assert told[3][0] == "closed"

    run(main())
