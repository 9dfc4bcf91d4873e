"""A server that has nothing to do but send: Kraken's handshake, one snapshot, then frames made beforehand, over TLS.

A process of its own, so that its work is not counted as the recorder's. One TLS record a frame. It speaks to its parent
in JSON lines: "ready" with the port, "subscribed", then for each line it reads the next frames, and "done" after them.
The embedded exchange is not used here: it makes its order flow while it sends, and that would be the limit.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time

from kraken_l3.exchange.flow.generate import generate

SYMBOL = "BTC/USD"
TAIL = b'"}]}'
STAMP_LENGTH = 30
FRAMES = 20_000
FLOOD_CHUNK = 64
POLL_S = 0.02
STATUS = b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":15113583034416118705}]}'  # noqa: E501
HEARTBEAT = b'{"channel":"heartbeat"}'
INSTRUMENTS = b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","price_precision":1,"qty_precision":8,"status":"online"}]}}'  # noqa: E501


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


class Stamper:
    """RFC 3339 with nanoseconds, fast enough to be called for each frame."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, ns: int) -> bytes:
        second, rest = divmod(ns, 1_000_000_000)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._text}{rest:09d}Z".encode()


def say(**fact: object) -> None:
    print(json.dumps(fact), flush=True)


class Peer:
    """One connection: TLS in memory, so that each frame becomes a record and many records one system call."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self._in.write(self._receive())
        self.flush()

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError
        return data

    def flush(self) -> None:
        data = self._out.read()
        if data:
            self.sock.sendall(data)

    def write(self, data: bytes) -> None:
        """One record, sent with the next `flush`."""
        self._tls.write(data)

    def send(self, data: bytes) -> None:
        self.write(data)
        self.flush()

    def read(self, timeout_s: float | None = None) -> bytes:
        """What has come, decrypted; b"" when nothing has within the time."""
        while True:
            try:
                return self._tls.read(65536) or self._ended()
            except ssl.SSLWantReadError:  # noqa: PERF203 - this is how a memory BIO says so
                if timeout_s is not None and not select.select([self.sock], [], [], timeout_s)[0]:
                    return b""
                self._in.write(self._receive())

    def _ended(self) -> bytes:
        raise ConnectionError

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(options.cert, options.key)
        made = list(generate(symbols=[SYMBOL], depth=10, messages=FRAMES + 1, seed=1))
        self.snapshot = made[0]
        self.updates = [
            *made[1:],
            made[0],
        ]  # sent round and round: a snapshot begins each round, so every book is right
        self.heads = [update[: -STAMP_LENGTH - len(TAIL)] for update in self.updates]
        self.dropped_ns = 0
        self.stamp = Stamper()

    def run(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        say(event="ready", port=listener.getsockname()[1], frame_bytes=sum(map(len, self.updates)) / len(self.updates))
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            peer = Peer(sock, self.context)
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.read()
            if head.startswith(b"POST"):
                self._token(peer)
            else:
                self._websocket(peer, head)
        except (OSError, ssl.SSLError):
            sock.close()

    def _token(self, peer: Peer) -> None:
        body = b'{"error":[],"result":{"token":"bench","expires":900}}'
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        peer.sock.shutdown(socket.SHUT_WR)
        peer.sock.close()

    def _websocket(self, peer: Peer, head: bytes) -> None:
        lines = [line.partition(b":") for line in head.split(b"\r\n")]
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        key = headers[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest())
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        peer.send(frame(STATUS))
        Session(self, peer).run()


class Session:
    """One WebSocket connection, after its handshake."""

    def __init__(self, server: Server, peer: Peer) -> None:
        self.server = server
        self.peer = peer
        self._unread = b""
        self._level3 = False
        self._active = False

    def run(self) -> None:
        next_beat = time.monotonic() + 1
        while True:
            self._listen(POLL_S)
            if self._active and time.monotonic() >= next_beat:
                self.peer.send(frame(HEARTBEAT))
                next_beat = time.monotonic() + 1
            if self._level3:
                self._level3 = False
                self._stream()

    def _listen(self, timeout_s: float) -> None:
        self._unread += self.peer.read(timeout_s)
        while len(self._unread) >= 6:
            size, at = self._unread[1] & 127, 2
            if size == 126:
                size, at = struct.unpack_from("!H", self._unread, 2)[0], 4
            if len(self._unread) < at + 4 + size:
                return
            opcode, mask = self._unread[0] & 15, self._unread[at : at + 4]
            masked = self._unread[at + 4 : at + 4 + size]
            self._unread = self._unread[at + 4 + size :]
            self._on_frame(opcode, bytes(byte ^ mask[i & 3] for i, byte in enumerate(masked)))

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 8:
            self.peer.send(frame(payload[:2], 8))
            raise ConnectionError
        if opcode == 9:
            self.peer.send(frame(payload, 10))
        if opcode == 1:
            self._answer(json.loads(payload))

    def _answer(self, request: dict) -> None:
        method, params = request["method"], request.get("params", {})
        answer = {"method": "pong" if method == "ping" else method, "success": True, "time_in": "", "time_out": ""}
        if "req_id" in request:
            answer["req_id"] = request["req_id"]
        if method == "ping":
            self.peer.send(frame(json.dumps(answer).encode()))
            return
        self._active = True
        for symbol in params.get("symbol", [None]):
            answer["result"] = {"channel": params["channel"], "snapshot": True}
            if symbol is not None:
                answer["result"]["symbol"] = symbol
            self.peer.send(frame(json.dumps(answer).encode()))
        if params["channel"] == "instrument":
            self.peer.send(frame(INSTRUMENTS))
        else:
            self.peer.send(frame(self.server.snapshot))
            self._level3 = True
            if self.server.dropped_ns:
                say(event="back", back_ms=(time.time_ns() - self.server.dropped_ns) / 1e6)
            else:
                say(event="subscribed")

    def _stream(self) -> None:
        options = self.server.options
        if options.drop_after_s:
            self._steady_until_drop(options.rate, options.drop_after_s)
            return
        for turn, _ in enumerate(iter(sys.stdin.readline, "")):  # a line is a turn
            began = time.monotonic()
            if options.rate:
                self._steady(options.rate, options.frames, first=turn * options.frames)
            else:
                self._flood(options.frames)
            say(event="done", sent=options.frames, seconds=time.monotonic() - began)

    def _flood(self, count: int) -> None:
        frames = [frame(update) for update in self.server.updates]
        for first in range(0, count, FLOOD_CHUNK):
            for n in range(first, min(count, first + FLOOD_CHUNK)):
                self.peer.write(frames[n % len(frames)])
            self.peer.flush()
            if first % (FLOOD_CHUNK * 100) == 0:
                self._listen(0)

    def _steady(self, rate: float, count: int, first: int = 0) -> None:
        began = time.monotonic()
        for n in range(count):
            ahead_s = began + n / rate - time.monotonic()
            if ahead_s > 0:
                time.sleep(ahead_s)
            self._send_stamped(first + n)
            if n % 1000 == 0:
                self._listen(0)

    def _steady_until_drop(self, rate: float, after_s: float) -> None:
        """The first connection is cut after some time; the next one is kept."""
        if self.server.dropped_ns:
            return
        self._steady(rate, int(rate * after_s))
        self.server.dropped_ns = time.time_ns()
        self.peer.reset()
        raise ConnectionError

    def _send_stamped(self, n: int) -> None:
        head = self.server.heads[n % len(self.server.heads)]
        self.peer.send(frame(head + self.server.stamp(time.time_ns()) + TAIL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="frames a second; 0: a flood")
    parser.add_argument("--drop-after-s", type=float, default=0.0)
    Server(parser.parse_args()).run()


if __name__ == "__main__":
    main()
