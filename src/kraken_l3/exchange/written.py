"""An archive of made-up trading, written without sockets: the exchange's flow, as a recorder would have received it.

The market runs on a clock of its own, as fast as this machine computes. Each message arrives by one of two connections,
level3 or public, each with a lag of its own: never out of order within a connection, now and then held up. A connection
that is lost journals its gap and comes back with snapshots, while the market and the trades go on.

The same arguments give the same files, checkpoints included.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import msgspec

from kraken_l3._version import __version__
from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    Instruments,
    Record,
    Started,
    Stopped,
)
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import UsageError
from kraken_l3.exchange.flow.feed import DEPTHS, OrderFlow
from kraken_l3.exchange.flow.market import UNSORTED_ADDS
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S
from kraken_l3.protocol.decoding import decode_instruments
from kraken_l3.rebuild.recheckpointing import make_checkpoints

__all__ = ["DEFAULT_START_NS", "MOST_GAPS", "Written", "write_archive"]

#: 2026-01-02T12:00:00Z
DEFAULT_START_NS = 1_767_355_200_000_000_000
MOST_GAPS = 1_000

_BOOTED_NS = DEFAULT_START_NS - NS_PER_DAY
_URL = "simulated"
_NS_PER_MS = 1_000_000
#: Of the way from the exchange: the least, and the mean of what comes on top.
_LEAST_LAG_NS = 12 * _NS_PER_MS
_MEAN_MORE_NS = 3 * _NS_PER_MS
#: Now and then a connection is held up; what waited arrives at once.
_STALLS = 2e-5
_MEAN_STALL_NS = 150 * _NS_PER_MS
#: Two frames that were read together.
_APART_NS = 2_000
#: From one acknowledgement of a connection to the next.
_ACKNOWLEDGED_NS = 27 * _NS_PER_MS
_LEAST_OUTAGE_NS = 2 * NS_PER_S
_MEAN_OUTAGE_NS = 15 * NS_PER_S
_LONGEST_OUTAGE_NS = 60 * NS_PER_S
#: The writer is handed what has arrived when so much is under way, and twice as much as had not arrived then: while a
#: thousand symbols are acknowledged, everything waits for half a minute.
_BATCH = 4_000


class Written(NamedTuple):
    """What an archive holds.

    Attributes:
        level3, trade: messages of each channel.
        gaps: times at which the level3 connection was lost.
        start_ns, end_ns: from when to when the market was recorded.
    """

    level3: int
    trade: int
    gaps: int
    start_ns: int
    end_ns: int


def write_archive(
    directory: Path,
    *,
    duration_ns: int,
    symbols: Union[int, list[str], tuple[str, ...]] = ("BTC/USD", "ETH/USD"),
    depth: int = 10,
    rate: float = 50.0,
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
    gaps: int = 0,
    odd_numbers: float = 0.0,
    unsorted_adds: float = UNSORTED_ADDS,
) -> Written:
    """Write an archive: level3, trades and instruments, with receipts, a journal and checkpoints.

    Args:
        directory: made when missing; must hold nothing.
        duration_ns: how long the market is recorded, on its own clock.
        symbols: names, or how many; see `flow.listing`.
        depth: the subscribed depth.
        rate: level3 messages a second over all symbols.
        seed: decides everything.
        start_ns: when the recording begins.
        gaps: how often the level3 connection is lost, evenly spread.
        odd_numbers, unsorted_adds: see `flow.market.Market`.

    Raises:
        UsageError: the directory holds something, or an argument is out of its range.
        ArchiveError: the directory cannot be written.
    """
    if depth not in DEPTHS:
        raise UsageError(f"depth must be 10, 100 or 1000, got {depth}")
    if not 0 < rate < float("inf"):
        raise UsageError(f"rate must be more than 0 and finite, got {rate}")
    if duration_ns <= 0:
        raise UsageError(f"the duration must be more than 0 s, got {duration_ns / NS_PER_S:g} s")
    if not 0 <= gaps <= min(MOST_GAPS, duration_ns // (2 * _LONGEST_OUTAGE_NS)):
        raise UsageError(f"gaps must be 0 to one in two minutes, at most {MOST_GAPS:,}, got {gaps}")
    if directory.is_dir() and any(directory.iterdir()):
        raise UsageError("the directory is not empty", where=str(directory), hint="Give one that is new or empty")
    flow = OrderFlow(
        symbols, rate=rate, seed=seed, odd_numbers=odd_numbers, unsorted_adds=unsorted_adds, now_ns=start_ns
    )
    clock = _SetClock(start_ns)
    writer = ArchiveWriter.open(directory, clock=clock)
    try:
        recording = _Recording(writer, clock, flow, depth, random.Random(f"{seed}:network"), rate=rate, seed=seed)
        written = recording.run(start_ns + duration_ns, gaps)
    finally:
        writer.close()
    make_checkpoints(directory)
    return written


class _SetClock:
    """The recorder's clocks: where the recording has come to."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return _monotonic(self.now_ns)


class _Connection:
    """The way from the exchange to the recorder by one connection."""

    def __init__(self, number: int, rng: random.Random, now_ns: int) -> None:
        self.number = number
        self.last_ns = now_ns
        self._rng = rng

    def arrival(self, sent_ns: int) -> int:
        """When a message that is sent now is received."""
        rng = self._rng
        lag = _LEAST_LAG_NS + int(rng.expovariate(1 / _MEAN_MORE_NS))
        if rng.random() < _STALLS:
            lag += int(rng.expovariate(1 / _MEAN_STALL_NS))
        self.last_ns = max(sent_ns + lag, self.last_ns + _APART_NS)
        return self.last_ns


class _Recording:
    """One recording; what arrives is kept until nothing can arrive before it, then written in order of time."""

    def __init__(
        self,
        writer: ArchiveWriter,
        clock: _SetClock,
        flow: OrderFlow,
        depth: int,
        rng: random.Random,
        **config: float,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._flow = flow
        self._depth = depth
        self._rng = rng
        self._config = {"symbols": list(flow.instruments()), "depth": depth, "trades": True, **config}
        self._start_ns = self._now_ns = clock.now_ns
        self._public = _Connection(1, rng, self._start_ns)
        self._under_way: list[tuple[int, str, Any]] = []  # a frame with its stream, or a record without one
        self._batch = _BATCH
        self._counts = dict.fromkeys((stream.value for stream in Stream), 0)

    def run(self, end_ns: int, gaps: int) -> Written:
        """Record until a moment."""
        self._start()
        level3 = self._subscribe(self._public.number + 1, self._start_ns)
        for lost_ns, back_ns in self._outages(end_ns, gaps):
            self._let_pass(lost_ns, level3)
            self._lose(level3, lost_ns, "network")
            self._let_pass(back_ns, None)
            level3 = self._subscribe(level3.number + 1, back_ns, lost=level3)
        self._let_pass(end_ns, level3)
        stopped_ns = self._lose(level3, end_ns, "stop")
        stopped_ns = max(stopped_ns, self._public.last_ns)
        self._journal(
            Disconnected(
                at_ns=stopped_ns, connection=self._public.number, cause="stop", last_frame_ns=self._public.last_ns
            ),
            Stopped(at_ns=stopped_ns, reason="duration"),
        )
        self._write(stopped_ns + 1)
        return Written(self._counts["level3"], self._counts["trade"], gaps, self._start_ns, end_ns)

    def _outages(self, end_ns: int, gaps: int) -> Iterator[tuple[int, int]]:
        for number in range(1, gaps + 1):
            lost_ns = self._start_ns + (end_ns - self._start_ns) * number // (gaps + 1)
            lasts_ns = _LEAST_OUTAGE_NS + int(self._rng.expovariate(1 / _MEAN_OUTAGE_NS))
            yield lost_ns, lost_ns + min(lasts_ns, _LONGEST_OUTAGE_NS)

    # the recorder

    def _start(self) -> None:
        now_ns, public, records = self._start_ns, self._public, self._flow.instruments()
        started = Started(
            at_ns=now_ns, version=__version__, host="simulated", boot_id="", pid=0, config=dict(self._config)
        )
        opened = Connected(at_ns=now_ns, connection=public.number, url=_URL, channel="instrument", symbols=[])
        self._journal(started, opened)
        pairs = f'{{"assets":[{self._flow.assets()}],"pairs":[{",".join(records.values())}]}}'
        payload = f'{{"channel":"instrument","type":"snapshot","data":{pairs}}}'.encode()
        self._receive(Stream.INSTRUMENT.value, payload, public, now_ns)
        self._journal(
            Instruments(at_ns=public.last_ns, instruments=decode_instruments(payload)),
            *(
                Acknowledged(at_ns=public.last_ns, connection=public.number, channel="trade", symbol=symbol)
                for symbol in records
            ),
        )

    def _subscribe(self, number: int, now_ns: int, *, lost: Optional[_Connection] = None) -> _Connection:
        """A level3 connection opens; one symbol after the other is acknowledged and gets its snapshot.

        The market stands still meanwhile, so that no update lies between a snapshot and the next message.
        """
        symbols = list(self._flow.instruments())
        connection = _Connection(number, self._rng, now_ns)
        self._journal(Connected(at_ns=now_ns, connection=number, url=_URL, channel="level3", symbols=symbols))
        for symbol in symbols:
            if lost is None:
                self._flow.watch(symbol, self._depth)
            connection.last_ns += _ACKNOWLEDGED_NS
            about: dict[str, Any] = {"connection": number, "channel": "level3", "symbol": symbol}
            self._journal(Acknowledged(at_ns=connection.last_ns, depth=self._depth, **about))
            right_ns = self._receive("level3", self._flow.snapshot(symbol, self._depth), connection, now_ns)
            if lost is not None:
                about.update(left_ns=lost.last_ns, right_ns=right_ns)
                self._journal(GapClosed(at_ns=right_ns, cause="network", **about))
        return connection

    def _lose(self, connection: _Connection, now_ns: int, cause: str) -> int:
        """The level3 connection is over once all that was sent has arrived; when that is."""
        last_ns = connection.last_ns
        at_ns = max(now_ns, last_ns + _APART_NS)
        self._journal(Disconnected(at_ns=at_ns, connection=connection.number, cause=cause, last_frame_ns=last_ns))
        for symbol in self._flow.instruments():
            about: dict[str, Any] = {"connection": connection.number, "channel": "level3", "symbol": symbol}
            self._journal(GapOpened(at_ns=at_ns, cause=cause, left_ns=last_ns, **about))
        return at_ns

    # the market

    def _let_pass(self, until_ns: int, level3: Optional[_Connection]) -> None:
        """The market goes on until a moment; without a connection its level3 messages reach nobody."""
        flow, start_ns = self._flow, self._start_ns
        while self._now_ns < until_ns:
            for message in flow.due(self._now_ns, self._now_ns - start_ns):
                connection = level3 if message.channel == "level3" else self._public
                if connection is not None:
                    self._receive(message.channel, message.payload, connection, self._now_ns)
            due_ns = flow.next_due_ns()
            assert due_ns is not None  # it has a rate
            self._now_ns = start_ns + due_ns + 1  # what falls due within that nanosecond is due after it
            if len(self._under_way) >= self._batch:
                self._write(min(self._now_ns, until_ns))
                self._batch = max(_BATCH, 2 * len(self._under_way))

    def _receive(self, stream: str, payload: bytes, connection: _Connection, sent_ns: int) -> int:
        recv_ns = connection.arrival(sent_ns)
        frame = Frame(payload, recv_ns, _monotonic(recv_ns), connection.number)
        self._under_way.append((recv_ns, stream, frame))
        self._counts[stream] += 1
        return recv_ns

    # the archive

    def _journal(self, *records: Record) -> None:
        for record in records:
            at = msgspec.structs.replace(record, mono_ns=_monotonic(record.at_ns))
            self._under_way.append((record.at_ns, "", at))

    def _write(self, before_ns: int) -> None:
        """Write what arrived before a moment, when nothing that is yet to be sent can arrive before it."""
        self._under_way.sort(key=itemgetter(0))
        count = bisect_left([at_ns for at_ns, _, _ in self._under_way], before_ns)
        arrived, self._under_way = self._under_way[:count], self._under_way[count:]
        for stream, items in groupby(arrived, key=itemgetter(1)):
            found = [item for _, _, item in items]
            self._clock.now_ns = found[-1].at_ns if not stream else found[-1].recv_ns
            if stream:
                self._writer.append(stream, found)
            else:
                for record in found:
                    self._writer.journal(record)


def _monotonic(wall_ns: int) -> int:
    """A monotonic clock that began at another moment, as every machine's does."""
    return wall_ns - _BOOTED_NS
