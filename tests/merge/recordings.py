"""One stream of level3 messages, and recordings of it by several recorders that each lose something."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    HandedOver,
    Instruments,
    Started,
    Stopped,
    decode_record,
)
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import MALFORMED
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange.flow import listing
from kraken_l3.exchange.flow.generate import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.protocol.alignment import identity_of, time_of

NIGHT_NS = parse_rfc3339("2026-11-22T23:59:50Z")
SYMBOLS = ("BTC/USD", "ETH/USD")


class SetClock:
    """Stands where it was set."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


class Streamed(NamedTuple):
    """What the exchange has to say: its messages, and the books before each place where they are asked for."""

    lines: tuple[bytes, ...]
    symbols: tuple[str, ...]
    depth: int
    seed: int
    trades: tuple[tuple[int, bytes], ...] = ()  # each with the number of the message that it comes before

    def symbol_of(self, number: int) -> str:
        return str(json.loads(self.lines[number])["data"][0]["symbol"])

    def updates(self) -> dict[str, list[bytes]]:
        return by_symbol(self.lines)


@cache
def streamed(
    messages: int = 400,
    symbols: tuple[str, ...] = SYMBOLS,
    depth: int = 10,
    seed: int = 1,
    rate: float = 20.0,
    start_ns: int = NIGHT_NS,
) -> Streamed:
    tape: list[bytes] = []
    trades: list[tuple[int, bytes]] = []
    lines = []
    flow = generate(
        symbols=list(symbols),
        messages=messages,
        depth=depth,
        seed=seed,
        rate=rate,
        start_ns=start_ns,
        trades=tape.append,
    )
    for line in flow:
        trades += ((len(lines), trade) for trade in tape)
        tape.clear()
        lines.append(line)
    return Streamed(tuple(lines), symbols, depth, seed, tuple(trades))


@cache
def snapshots(stream: Streamed, number: int) -> tuple[bytes, ...]:
    """What a new connection is sent before message `number`."""
    engine = PythonEngine(EngineOptions())
    for pair in listing(list(stream.symbols)):
        engine.set_symbol(
            pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision, depth=stream.depth
        )
    engine.feed(b"\n".join(stream.lines[:number]) + b"\n", 0, 0)
    images = [engine.export_book(symbol) for symbol in stream.symbols]
    return tuple(image.message for image in images if image is not None)


class Outage(NamedTuple):
    """Messages `begin` to `end` are not received; then the connection is there again, with snapshots."""

    begin: int
    end: int
    cause: str = "network"
    clock_step_ns: int = 0
    left: Optional[int] = None  # the last message known to be good, where it is not the last one received


class Recorder(NamedTuple):
    """How one recording of a stream comes about.

    Attributes:
        begin, end: the messages that it is there for.
        outages: in order.
        lost: messages that it does not get, and does not know of.
        offset_ns: of its clock.
        latency_ns: how long messages take.
        rewrite: what its connection makes of a line.
        shuffle_seed: in which order the symbols' messages come (each symbol's own stays); None: as they were sent.
        damaged: before these messages a line comes that is none.
        hand_overs: before these messages another connection goes on, and nothing is missing.
        kept: groups of messages that a follower received: the lost ones, and one of the symbol on either side.
        trades: record them.
    """

    begin: int = 0
    end: Optional[int] = None
    outages: tuple[Outage, ...] = ()
    lost: frozenset[int] = frozenset()
    offset_ns: int = 0
    latency_ns: int = 5_000_000
    rewrite: Callable[[bytes], bytes] = bytes
    shuffle_seed: Optional[int] = None
    damaged: frozenset[int] = frozenset()
    kept: tuple[tuple[int, ...], ...] = ()
    hand_overs: frozenset[int] = frozenset()
    trades: bool = False

    def has(self, number: int) -> bool:
        end = self.end if self.end is not None else 1 << 60
        is_out = any(each.begin <= number < each.end for each in self.outages)
        return self.begin <= number < end and not is_out and number not in self.lost


WHOLE = Recorder()
#: The connection of the follower.
FOLLOWING = 7


def record(directory: Path, stream: Streamed, how: Recorder = WHOLE) -> Path:
    """Write what such a recorder would have written."""
    return _Recording(directory, stream, how).write()


class _Recording:
    def __init__(self, directory: Path, stream: Streamed, how: Recorder) -> None:
        self.directory, self.stream, self.how = directory, stream, how
        self.offset_ns = how.offset_ns
        self.clock = SetClock(self.at(how.begin))
        self.connection = 0
        self.left_ns = 0
        self.writer = ArchiveWriter.open(directory, clock=self.clock)

    def at(self, number: int) -> int:
        number = min(number, len(self.stream.lines) - 1)
        return time_of(self.stream.lines[number]) + self.how.latency_ns + self.offset_ns

    def write(self) -> Path:
        now = {"at_ns": self.clock.now_ns, "mono_ns": self.clock.now_ns}
        self.writer.journal(Started(**now, version="0", host="h", boot_id="b", pid=1, config={}))
        pairs = [
            Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
            for p in listing(list(self.stream.symbols))
        ]
        self.writer.journal(Instruments(**now, instruments=pairs))
        end = self.how.end if self.how.end is not None else len(self.stream.lines)
        begin = self.how.begin
        for outage in [*self.how.outages, Outage(end, end, "stop")]:
            if begin < outage.begin:
                self._connected(begin, outage.begin)
            if outage.end < end:
                self._disconnect(outage)
            begin = outage.end
        for symbol in self.stream.symbols:
            told = {"at_ns": self.clock.now_ns, "left_ns": self.clock.now_ns}
            self.writer.journal(GapOpened(channel="level3", symbol=symbol, cause="stop", **told))
        for number in chain.from_iterable(self.how.kept):
            frame = Frame(self.stream.lines[number], self.at(number), self.at(number), FOLLOWING)
            self.writer.append("follower", [frame])
        self.writer.journal(Stopped(at_ns=self.clock.now_ns, reason="SIGTERM"))
        self.writer.close()
        return self.directory

    def _connected(self, begin: int, end: int) -> None:
        self.connection += 1
        at_ns = self.at(begin)
        self.clock.now_ns = at_ns
        told = {"at_ns": at_ns, "mono_ns": at_ns, "connection": self.connection, "channel": "level3"}
        self.writer.journal(Connected(url="wss://x", symbols=list(self.stream.symbols), **told))
        for symbol in self.stream.symbols:
            self.writer.journal(Acknowledged(symbol=symbol, depth=self.stream.depth, **told))
        # the stream itself begins with the snapshots
        own = begin == 0
        for symbol, line in zip(self.stream.symbols, self.stream.lines if own else snapshots(self.stream, begin)):
            self._frame(line, at_ns)
            if self.left_ns:
                gap = {"channel": "level3", "symbol": symbol, "cause": self.cause, "left_ns": self.left_ns}
                self.writer.journal(GapClosed(at_ns=at_ns, right_ns=at_ns, **gap))
        first = len(self.stream.symbols) if own else begin
        for number in self._order(first, end):
            at_ns = max(self.at(number), self.clock.now_ns)
            if number in self.how.hand_overs:
                self._hand_over(at_ns)
            if number in self.how.damaged:
                self._frame(b'{"channel":"level3","type":"upd', at_ns)
            if self.how.trades:
                for _, trade in [each for each in self.stream.trades if each[0] == number]:
                    self.clock.now_ns = at_ns
                    self.writer.append("trade", [Frame(trade, at_ns, at_ns, 99)])
            if number not in self.how.lost:
                self._frame(self.stream.lines[number], at_ns)

    def _hand_over(self, at_ns: int) -> None:
        self.clock.now_ns = at_ns
        told = {"at_ns": at_ns, "channel": "level3"}
        follower = self.connection + 1
        self.writer.journal(Connected(url="wss://x", symbols=list(self.stream.symbols), connection=follower, **told))
        for symbol in self.stream.symbols:
            self.writer.journal(GapOpened(symbol=symbol, cause="network", left_ns=at_ns - 1_000_000, **told))
            matched = {"previous": self.connection, "matched": "bytes", "bridged": 1, "cause": "network"}
            self.writer.journal(HandedOver(symbol=symbol, connection=follower, **matched, **told))
        self.connection = follower

    def _order(self, begin: int, end: int) -> list[int]:
        """Neighbours of different symbols change places."""
        order = list(range(begin, end))
        if self.how.shuffle_seed is not None:
            rng = random.Random(self.how.shuffle_seed)
            for _ in range(2):
                for at in range(len(order) - 1):
                    one, other = order[at : at + 2]
                    if self.stream.symbol_of(one) != self.stream.symbol_of(other) and rng.random() < 0.5:
                        order[at : at + 2] = [other, one]
        return order

    def _frame(self, line: bytes, at_ns: int) -> None:
        at_ns = self.clock.now_ns = max(at_ns, self.clock.now_ns)
        flags = 0 if line.endswith(b"}") else MALFORMED
        self.writer.append("level3", [Frame(self.how.rewrite(line), at_ns, at_ns, self.connection, flags)])

    def _disconnect(self, outage: Outage) -> None:
        self.left_ns, self.cause = self.clock.now_ns, outage.cause
        if outage.left is not None:
            self.left_ns = self.at(outage.left)
        for symbol in self.stream.symbols:
            gap = {"channel": "level3", "symbol": symbol, "cause": outage.cause, "left_ns": self.left_ns}
            self.writer.journal(GapOpened(at_ns=self.clock.now_ns, **gap))
        told = {"connection": self.connection, "cause": outage.cause, "last_frame_ns": self.left_ns}
        self.writer.journal(Disconnected(at_ns=self.clock.now_ns, **told))
        if outage.clock_step_ns:
            self.offset_ns += outage.clock_step_ns
            self.clock.now_ns += outage.clock_step_ns
            self.writer.restart_day(self.clock.now_ns)


def rewritten(line: bytes) -> bytes:
    """The same message with its keys and entries in another order, and times and numbers in another text."""
    try:
        message = json.loads(line, parse_float=lambda text: f"<{text}0>")
    except ValueError:
        return line
    if message["type"] == "snapshot":
        return line
    data = message["data"][0]
    for side in ("bids", "asks"):
        data[side] = [dict(reversed(list(order.items()))) for order in data[side]]
    data = dict(reversed(list(data.items())))
    text = json.dumps({"data": [data], "type": message["type"], "channel": "level3"}, separators=(",", ":"))
    return text.replace('"<', "").replace('>"', "").encode()


def by_symbol(lines: Iterable[bytes]) -> dict[str, list[bytes]]:
    """The updates of each symbol, in order."""
    found: dict[str, list[bytes]] = {}
    for line in lines:
        if not line.endswith(b"}"):
            continue
        message = json.loads(line)
        if message["type"] == "update":
            found.setdefault(message["data"][0]["symbol"], []).append(line)
    return found


def lines_of(path: Path, stream: str = "level3") -> list[bytes]:
    return [line.payload for line in open_archive(path).lines(stream, check=False)]


def identities(lines: Iterable[bytes]) -> dict[str, list[object]]:
    return {symbol: [identity_of(line) for line in found] for symbol, found in by_symbol(lines).items()}


def count_snapshots(lines: Sequence[bytes]) -> int:
    return sum(b'"type":"snapshot"' in line for line in lines)


def records_of(path: Path, kind: type) -> list:
    lines = [line for file in sorted(path.glob("journal-*.ndjson")) for line in file.read_bytes().splitlines()]
    return [record for record in map(decode_record, lines) if isinstance(record, kind) and not record.restated]


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.name != "writer.lock"}
