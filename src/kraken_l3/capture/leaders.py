"""Two connections for each level3 symbol: the leader's frames are archived, the follower's go on where they end.

`protocol.arbitration` decides by content, for each symbol by itself. Here its decisions become frames for the sink,
journal records, gaps where nothing could be spliced, and resubscriptions. See docs/gapless.md, "Two connections".
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple, Optional

import structlog

from kraken_l3.archive.journal import Difference, HandedOver, OutOfStep, Record, Resync
from kraken_l3.archive.receipts import MALFORMED
from kraken_l3.capture.connection import Connection
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.capture.sink import Sink
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol import arbitration
from kraken_l3.protocol.arbitration import Limits, Line, Ring
from kraken_l3.protocol.frames import snapshot_symbols
from kraken_l3.protocol.session import SymbolState

__all__ = ["Leaders"]

TICK_S = 0.5
#: So many symbols are looked at before frames are received again.
LOOKED_AT = 20
#: Of a symbol's differences and lost places so many are journalled and kept within `TOLD_S`; more are counted.
TOLD_MAX = 50
TOLD_S = 3600.0
KEPT_BYTES_MAX = 64 * 1024 * 1024
#: So many messages that tell no symbol are remembered.
UNPLACED_MAX = 1_000

_PREFIX = b'{"channel":"level3","type":"update","data":[{"symbol":"'
_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"\\]*)"')

log = structlog.get_logger("kraken_l3.capture.leaders")


class _Passed(NamedTuple):
    """The last hand-over of a symbol.

    Attributes:
        at_ns: when it was, by the wall clock.
        left_ns: up to when the leader before had delivered everything.
        first_ns: receive time of the first frame that was bridged (0: none was).
    """

    at_ns: int
    left_ns: int
    first_ns: int


class _Begun(NamedTuple):
    """The snapshot that ended the last gap of a symbol: when it was received, and where that gap began."""

    mono_ns: int
    recv_ns: int
    left_ns: int


class Leaders:
    """Implements `Delivery` for level3; see the module.

    Args:
        connections: those that carry the symbols.
        sink: takes frames and records.
        gaps: what is missing.
        clock: for records, and for what takes too long.
        limits: of each symbol's line.
    """

    def __init__(
        self,
        connections: OpenConnections,
        sink: Sink,
        gaps: GapLedger,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._connections = connections
        self._sink = sink
        self._gaps = gaps
        self._clock = clock
        self._limits = limits
        self._ring = Ring()
        self._lines: dict[bytes, Line] = {}
        self._subscribers: dict[str, int] = {}  # whose subscription the journal has
        self._passed: dict[str, _Passed] = {}
        self._begun: dict[str, _Begun] = {}
        self._unplaced: dict[int, tuple[int, int]] = {}  # by bytes: whose it was, and when
        self._told: Counter[str] = Counter()
        self._told_since_ns = clock.mono_ns()
        self._kept_bytes = 0

    # -- what connections tell -----------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """See `Delivery`."""
        payload = frame.payload
        line: Optional[Line]
        if frame.flags & MALFORMED:
            line = None
        elif payload.startswith(_PREFIX):
            line = self._lines.get(payload[len(_PREFIX) : payload.find(b'"', len(_PREFIX))])
        else:
            line = self._find_line(payload)
        if line is None:
            self._put_unplaced(frame)
        else:
            for each in line.put(frame):
                self._sink.put("level3", each)
            if line.leader is None:
                self._look_for_gap(line, frame.connection)

    def put_snapshot(self, frame: Frame, symbols: Sequence[str]) -> None:
        """See `Delivery`."""
        leads = [self._leads_with(symbol, frame) for symbol in symbols]
        if any(leads):
            self._sink.put("level3", frame)
        elif not symbols:
            self._put_unplaced(frame)

    def _put_unplaced(self, frame: Frame) -> None:
        """Of which symbol it is cannot be told, so it has no place: it is archived, unless the other connection has
        just delivered the same bytes."""
        key = hash(frame.payload)
        connection, mono_ns = self._unplaced.pop(key, (frame.connection, 0))
        if connection != frame.connection and frame.mono_ns - mono_ns <= self._limits.lag_ns:
            return
        self._unplaced[key] = frame.connection, frame.mono_ns
        if len(self._unplaced) > UNPLACED_MAX:
            del self._unplaced[next(iter(self._unplaced))]
        self._sink.put("level3", frame)

    def _leads_with(self, symbol: str, frame: Frame) -> bool:
        line = self._line(symbol)
        gap = self._gaps.open_gap("level3", symbol)
        if line.leader != frame.connection and gap is not None:
            self._put(line.undecided())
            line.expect(frame.connection)  # the gap ends with the first snapshot, whoever delivers it
        leads = line.snapshot(frame.connection, frame.mono_ns)
        if leads and gap is not None:
            self._begun[symbol] = _Begun(frame.mono_ns, frame.recv_ns, gap.left_ns)
        return leads

    def subscribed(self, symbol: str, connection: int) -> bool:
        """See `Delivery`."""
        if self._line(symbol).leader not in (None, connection):
            return False
        return self._subscribers.setdefault(symbol, connection) == connection

    def whole(self, symbol: str, right_ns: int, connection: int) -> bool:
        """See `Delivery`."""
        if self._line(symbol).leader != connection:
            return False
        self._subscribers[symbol] = connection
        self._gaps.close("level3", symbol, right_ns, connection)
        return True

    def missing(self, symbol: str, cause: str, left_ns: int, connection: int) -> None:
        """See `Delivery`."""
        line = self._line(symbol)
        if line.leader is not None and line.leader != connection:
            if self._gaps.is_open("level3", symbol):  # which this connection should have ended
                self._resubscribe(symbol, cause, self._connections.numbered(line.leader))
            return
        if cause != "stop" and self._hand_over(symbol, cause, left_ns):
            return
        self._put(line.undecided())
        line.vacate()
        self._gaps.open("level3", symbol, cause, self._known_good(symbol, line, left_ns), connection)
        if cause != "stop":
            self._resubscribe(symbol, cause, self._other(symbol, connection))

    def ended(self, connection: int) -> None:
        """See `Delivery`."""
        for line in self._lines.values():
            line.remove(connection)
        for symbol in [symbol for symbol, number in self._subscribers.items() if number == connection]:
            del self._subscribers[symbol]

    def addresses(self, connection: int) -> set[str]:
        """See `Delivery`."""
        return {each.address for each in self._connections.of_channel("level3") if each.number != connection} - {""}

    # -- what others ask -----------------------------------------------------------------------------------------------

    def leader(self, symbol: str) -> Optional[int]:
        """The connection that leads a symbol."""
        line = self._lines.get(symbol.encode())
        return line.leader if line is not None else None

    def successor(self, symbol: str) -> Optional[int]:
        """The connection that could go on with a symbol at once (None: there is none)."""
        line = self._lines.get(symbol.encode())
        return line.successor() if line is not None else None

    def may_leave(self, connection: Connection) -> bool:
        """Whether nothing is lost if this connection ends now: its symbols are whole on another one, which is in step
        where this one leads."""
        for symbol in connection.channel.recorded_symbols():
            if self._other(symbol, connection.number) is None:
                return False
            if self.leader(symbol) in (None, connection.number) and self.successor(symbol) is None:
                return False
        return True

    def to_resubscribe(self, symbol: str) -> Optional[Connection]:
        """The connection on which a symbol is subscribed anew: the follower, so that the leader's frames go on until
        then; the leader only where there is no other. While one of them is at it, it is that one."""
        leader = self.leader(symbol)
        carriers = self._connections.carrying("level3", symbol)
        others = [each for each in carriers if each.number != leader and each.state(symbol) is not SymbolState.REJECTED]
        is_open = self._gaps.is_open("level3", symbol)
        for other in others:
            state = other.state(symbol)
            if state is SymbolState.LIVE or (is_open and state is not SymbolState.WAITING):
                return other
        return next((each for each in carriers if each.number == leader), carriers[0] if carriers else None)

    async def run(self, on_lost: Callable[[str, str, int], None]) -> None:
        """Let time pass, until cancelled.

        Args:
            on_lost: called with (symbol, cause, left edge) when a symbol must be subscribed anew.
        """
        while True:
            await asyncio.sleep(TICK_S)
            for _ in self._look(on_lost):
                await asyncio.sleep(0)  # frames come first

    def _look(self, on_lost: Callable[[str, str, int], None]) -> Iterator[None]:
        """Look at all symbols, a few at a time."""
        now_ns = self._clock.mono_ns()
        if now_ns - self._told_since_ns > TOLD_S * NS_PER_S:
            self._told.clear()
            self._told_since_ns, self._kept_bytes = now_ns, 0
        alive = {each.number: each.last_mono_ns for each in self._connections}
        for number, (name, line) in enumerate(list(self._lines.items())):
            if number % LOOKED_AT == LOOKED_AT - 1:
                yield
            leads = line.leader
            self._put(line.tick(now_ns, alive.get(leads or 0, 0)))
            if leads is not None and line.leader is None:
                self._look_for_gap(line, leads)
            if line.stalled(now_ns) and not self._sink.is_full:
                leader = self._connections.numbered(line.leader)
                self._hand_over(name.decode(), "stall", leader.last_recv_ns if leader is not None else 0)
            while line.findings:
                self._tell(name.decode(), line.findings.popleft(), on_lost)

    # -- hand-overs ----------------------------------------------------------------------------------------------------

    def _hand_over(self, symbol: str, cause: str, left_ns: int) -> bool:
        """Let the follower lead; False where nothing can be spliced."""
        line = self._line(symbol)
        leader = line.leader
        other = self._other(symbol, leader)
        if leader is None or other is None or self._gaps.is_open("level3", symbol):
            return False
        other.deliver()  # what it has received counts
        old = self._connections.numbered(leader)
        result = line.hand_over(other.number, old.last_mono_ns if old is not None else 0)
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        if result.reason:
            self._journal_told(
                symbol,
                OutOfStep(at_ns=at_ns, mono_ns=mono_ns, symbol=symbol, connection=other.number, reason=result.reason),
            )
            return False
        # Frames first: a record says nothing that the data does not have.
        self._put(result.frames)
        first_ns = min((frame.recv_ns for frame in result.frames), default=0)
        self._passed[symbol] = _Passed(at_ns, left_ns, first_ns)
        self._subscribers[symbol] = other.number
        self._sink.journal(
            HandedOver(
                at_ns=at_ns,
                mono_ns=mono_ns,
                channel="level3",
                symbol=symbol,
                connection=other.number,
                matched=result.matched,
                bridged=len(result.frames),
                previous=leader,
                cause=cause,
                behind=result.behind,
            )
        )
        return True

    def _look_for_gap(self, line: Line, connection: int) -> None:
        """A connection that took over and has other content does not lead any more: from the hand-over on there is a
        gap. Told at once, before the next snapshot comes."""
        symbol = next(name for name, each in self._lines.items() if each is line).decode()
        passed = self._passed.pop(symbol, None)
        if passed is None or self._gaps.is_open("level3", symbol):
            return
        self.missing(symbol, "mismatch", passed.left_ns, connection)
        if self._other(symbol, connection) is None:
            self._resubscribe(symbol, "mismatch", self._connections.numbered(connection))

    def _known_good(self, symbol: str, line: Line, left_ns: int) -> int:
        """Up to when the symbol's data is whole, if its leader delivered it until `left_ns`."""
        passed = self._passed.get(symbol)
        if passed is None:
            return left_ns
        if line.is_behind:  # what it delivered was in the archive already
            return min(left_ns, passed.left_ns)
        if passed.first_ns and left_ns <= passed.at_ns:  # the disk is full, and the bridge may be among what is lost
            return min(left_ns, passed.first_ns)
        return left_ns

    def _other(self, symbol: str, connection: Optional[int]) -> Optional[Connection]:
        """A connection on which the symbol is whole, besides this one."""
        for each in self._connections.carrying("level3", symbol):
            if each.number != connection and not each.is_over and each.state(symbol) is SymbolState.LIVE:
                return each
        return None

    def _resubscribe(self, symbol: str, cause: str, connection: Optional[Connection]) -> None:
        if connection is not None and connection.resync(symbol):
            self._sink.journal(
                Resync(
                    at_ns=self._clock.wall_ns(),
                    mono_ns=self._clock.mono_ns(),
                    symbol=symbol,
                    cause=cause,
                    attempt=1,
                    connection=connection.number,
                )
            )

    # -- what was found out --------------------------------------------------------------------------------------------

    def _tell(self, symbol: str, found: object, on_lost: Callable[[str, str, int], None]) -> None:
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        if isinstance(found, arbitration.OutOfStep):
            record = OutOfStep(
                at_ns=at_ns, mono_ns=mono_ns, symbol=symbol, connection=found.follower, reason=found.reason
            )
            self._journal_told(symbol, record)
            return
        assert isinstance(found, arbitration.Difference)
        log.warning(
            "the leader and the follower differ",
            symbol=symbol,
            outcome=found.outcome,
            messages=found.messages,
            leader=found.leader,
            follower=found.follower,
        )
        self._journal_told(
            symbol,
            Difference(
                at_ns=at_ns,
                mono_ns=mono_ns,
                symbol=symbol,
                outcome=found.outcome,
                leader=found.leader,
                follower=found.follower,
                leader_only=found.leader_only,
                follower_only=found.messages,
                kept=self._keep(symbol, found),
            ),
        )
        if found.outcome == "lost":
            self._tell_lost(symbol, found, at_ns - (mono_ns - found.since_ns), on_lost)

    def _tell_lost(
        self, symbol: str, found: arbitration.Difference, left_ns: int, on_lost: Callable[[str, str, int], None]
    ) -> None:
        begun = self._begun.get(symbol)
        if begun is None or begun.mono_ns <= found.after.mono_ns:
            on_lost(symbol, "lost", left_ns)
        elif left_ns < begun.left_ns - 2 * TICK_S * NS_PER_S and not self._gaps.is_open("level3", symbol):
            # The verifier was first, and the symbol was subscribed anew already. But no checksum showed the loss at
            # once, so that gap began too late, by more than the ticks by which `since_ns` may be too early.
            self._gaps.open("level3", symbol, "lost", left_ns, found.follower)
            self._gaps.close("level3", symbol, begun.recv_ns, found.follower)

    def _keep(self, symbol: str, found: arbitration.Difference) -> int:
        """Archive what only the follower has, beside the data; how many lines."""
        frames = [each for each in (found.before, *found.frames, found.after) if each is not None]
        size = sum(len(frame.payload) for frame in frames)
        is_kept = found.outcome != "filled" and self._kept_bytes + size <= KEPT_BYTES_MAX
        if not is_kept or self._told[symbol] >= TOLD_MAX:
            return 0
        self._kept_bytes += size
        for frame in frames:
            self._sink.put("follower", frame)
        return len(frames)

    def _journal_told(self, symbol: str, record: Record) -> None:
        self._told[symbol] += 1
        if self._told[symbol] <= TOLD_MAX:
            self._sink.journal(record)

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _put(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._sink.put("level3", frame)

    def _line(self, symbol: str) -> Line:
        line = self._lines.get(symbol.encode())
        if line is None:
            line = self._lines[symbol.encode()] = Line(self._limits, self._ring)
        return line

    def _find_line(self, payload: bytes) -> Optional[Line]:
        """For messages that are written in another way than Kraken's today."""
        found = _SYMBOL.search(payload)
        if found is not None and found[1] in self._lines:
            return self._lines[found[1]]
        try:
            return next((self._lines.get(symbol.encode()) for symbol in snapshot_symbols(payload)), None)
        except MalformedMessage:
            return None
