"""Clients that are not ours: they know Kraken's pages, not this project."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import hmac
import json
import os
import ssl
import struct
import time
from typing import ClassVar
from urllib.parse import urlsplit

import aiohttp

#: Long enough for a machine that does much else meanwhile; nothing waits longer than it has to.
WAIT_S = 60.0
TOKEN_PATH = "/0/private/GetWebSocketsToken"


def running(test):
    """Runs an async test."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        return asyncio.run(asyncio.wait_for(_then_close(test(*args, **kwargs)), 100))

    return run


async def _then_close(test):
    try:
        await test
    finally:
        while Wire.alive:
            writer = Wire.alive.pop().writer
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def sign(secret, nonce, body, path=TOKEN_PATH):
    digest = hashlib.sha256(str(nonce).encode() + body).digest()
    return base64.b64encode(
        hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
    ).decode()


async def ask_token(exchange, *, nonce=None, key=None, secret=None, as_json=False, tls=None, sign_body=None):
    """(HTTP status, answer) of one token request."""
    nonce = time.time_ns() if nonce is None else nonce
    body = json.dumps({"nonce": nonce}).encode() if as_json else f"nonce={nonce}".encode()
    headers = {
        "API-Key": exchange.api_key if key is None else key,
        "API-Sign": sign(secret or exchange.api_secret, nonce, body if sign_body is None else sign_body),
        "Content-Type": "application/json" if as_json else "application/x-www-form-urlencoded",
    }
    url = exchange.rest_url + TOKEN_PATH
    async with aiohttp.ClientSession() as http:
        answer = await http.post(url, data=body, headers=headers, ssl=tls or True)
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


async def a_token(exchange, **how):
    status, answer = await ask_token(exchange, **how)
    assert (status, answer["error"]) == (200, []), answer
    return answer["result"]["token"]


class Wire:
    """A WebSocket client of sockets and RFC 6455, that shows every frame."""

    alive: ClassVar[list] = []

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.binary = []
        Wire.alive.append(self)

    @classmethod
    async def connect(cls, url, *, tls=None, read_buffer=None):
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        context = (tls or ssl.create_default_context()) if secure else None
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=context, limit=read_buffer or 2**26
        )
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise ConnectionRefusedError(head.split(b"\r\n")[0].decode())
        return cls(reader, writer)

    async def frame(self):
        """(fin, rsv, opcode, payload) of the next frame; IncompleteReadError at the end."""
        first, second = await self.reader.readexactly(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return bool(first & 0x80), first & 0x70, first & 0x0F, await self.reader.readexactly(size)

    def write(self, payload, opcode=1):
        """One masked frame."""
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
        self.writer.write(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def say(self, message):
        text = message if isinstance(message, str) else json.dumps(message)
        self.write(text.encode())

    async def text(self, timeout=WAIT_S):
        """The next whole text message; what is not text goes to `binary` as (opcode, payload)."""
        parts = []
        while True:
            fin, _, opcode, payload = await asyncio.wait_for(self.frame(), timeout)
            if opcode in (0, 1):
                parts.append(payload)
                if fin:
                    return b"".join(parts)
            else:
                self.binary.append((opcode, payload))
                if opcode == 8:
                    self.write(payload, opcode=8)
                    return None

    async def message(self, timeout=WAIT_S):
        text = await self.text(timeout)
        return None if text is None else json.loads(text)

    async def answer(self, timeout=WAIT_S):
        """The next message that has a method."""
        while True:
            message = await self.message(timeout)
            if message is None or "method" in message:
                return message

    async def ask(self, request, timeout=WAIT_S):
        self.say(request)
        return await self.answer(timeout)

    async def next_of(self, part, timeout=WAIT_S):
        """The next text message that contains these bytes."""
        return (await self.until(part, timeout))[-1]

    async def level3(self, count, timeout=WAIT_S):
        """So many level3 texts from here on."""
        return [await self.next_of(b'"channel":"level3","type"', timeout) for _ in range(count)]

    async def until(self, part, timeout=WAIT_S):
        """All texts up to and with the next that contains these bytes."""
        got = []
        while not got or part not in got[-1]:
            got.append(await self.text(timeout))
            assert got[-1] is not None, "the connection ended"
        return got

    async def during(self, seconds):
        """All text messages within a time; to see that something does not come."""
        got = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                text = await self.text(left)
            except asyncio.TimeoutError:
                break
            if text is None:
                break
            got.append(text)
        return got

    async def rest(self):
        """All text messages until the connection ends, and how it ended."""
        got, end = [], None
        while True:
            try:
                if (text := await self.text(10)) is None:
                    break
                got.append(text)
            except ConnectionError as error:
                end = type(error).__name__
                self.reader._exception = None  # asyncio's reader would keep what came before the reset to itself
                self.reader.feed_eof()
            except asyncio.IncompleteReadError as error:
                return got, end or type(error).__name__
        return got, struct.unpack("!H", self.binary[-1][1][:2])[0]

    def close(self):
        self.writer.close()


def subscription(token, symbols, depth=None, req_id=None, method="subscribe", **params):
    params = {"channel": "level3", "symbol": symbols, "token": token, **params}
    if depth is not None:
        params["depth"] = depth
    request = {"method": method, "params": params}
    if req_id is not None:
        request["req_id"] = req_id
    return request


async def subscribed(exchange, symbols, depth=10, *, tls=None, **params):
    """A raw client with everything acknowledged; the level3 messages that came meanwhile are in `early`."""
    token = await a_token(exchange, tls=tls)
    wire = await Wire.connect(exchange.ws_url, tls=tls)
    wire.say(subscription(token, symbols, depth, **params))
    wire.early, acks = [], 0
    while acks < len(symbols):
        text = await wire.text()
        message = json.loads(text)
        acks += "method" in message
        if message.get("channel") == "level3":
            wire.early.append(text)
    wire.token = token
    return wire
