"""Resyncs: a symbol whose book is wrong is resubscribed, as soon as `protocol.resync` allows it.

The gap opens at once, but the resubscription may have to wait: messages in between are recorded inside the gap.
"""

from __future__ import annotations

import asyncio
from typing import Callable, Optional, Protocol

import structlog

from kraken_l3.archive.journal import Record, Resync
from kraken_l3.capture.connection import Connection
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.clock import Clock
from kraken_l3.protocol.resync import QUARANTINE_AFTER, ResyncPolicy
from kraken_l3.protocol.session import SymbolState

__all__ = ["Resyncs", "Subscriptions"]

LOOK_S = 1.0

log = structlog.get_logger("kraken_l3.capture.resync")


class Subscriptions(Protocol):
    """Knows the connections of the symbols: `OpenConnections`, or `Leaders` where there are two for each."""

    def to_resubscribe(self, symbol: str) -> Optional[Connection]:
        """The connection on which a level3 symbol is subscribed anew (None: there is none now)."""


class Resyncs:
    """The resync requests that are waiting.

    Args:
        subscriptions: those of the symbols.
        gaps: of all symbols.
        journal: called with each record.
        clock: for records and pauses.
        policy: how often a symbol may be resubscribed.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        gaps: GapLedger,
        journal: Callable[[Record], None],
        clock: Clock,
        policy: ResyncPolicy,
    ) -> None:
        self._subscriptions = subscriptions
        self._gaps = gaps
        self._journal = journal
        self._clock = clock
        self._policy = policy
        self._causes: dict[str, str] = {}

    @property
    def waiting(self) -> list[str]:
        """Symbols that are still to be resubscribed."""
        return list(self._causes)

    async def run(self) -> None:
        """Resubscribe what may be resubscribed, once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._grant()

    def request(self, symbol: str, cause: str, left_ns: int) -> None:
        """Resubscribe a symbol, which has a gap from `left_ns` until its next snapshot.

        Does nothing if the symbol is being subscribed anyway, or is not recorded.
        """
        connection = self._subscriptions.to_resubscribe(symbol)
        if connection is None or connection.state(symbol) is not SymbolState.LIVE:
            return
        self._gaps.open("level3", symbol, cause, left_ns, connection.number)
        self._causes[symbol] = cause
        self._grant()

    def _grant(self) -> None:
        now_ns = self._clock.mono_ns()
        for symbol, cause in list(self._causes.items()):
            if not self._gaps.is_open("level3", symbol):  # a reconnect brought its snapshot meanwhile
                del self._causes[symbol]
            elif not self._policy.wait_ns(symbol, now_ns):
                del self._causes[symbol]
                self._resubscribe(symbol, cause)

    def _resubscribe(self, symbol: str, cause: str) -> None:
        connection = self._subscriptions.to_resubscribe(symbol)
        if connection is None or not connection.resync(symbol):
            return
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        attempt = self._policy.done(symbol, mono_ns)
        if attempt == QUARANTINE_AFTER:
            log.warning("the symbol keeps failing, it is resubscribed once an hour at most", symbol=symbol, cause=cause)
        number = connection.number
        record = Resync(at_ns=at_ns, mono_ns=mono_ns, symbol=symbol, cause=cause, attempt=attempt, connection=number)
        self._journal(record)
