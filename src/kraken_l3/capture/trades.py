"""Public trades: `trade_id` increases by one in each book, so a missing trade leaves a hole.

Source: https://docs.kraken.com/api/docs/websocket-v2/trade
"""

from __future__ import annotations

from typing import Callable

import structlog

from kraken_l3.archive.journal import Record, TradeGap
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import decode_trades

__all__ = ["TradeWatch"]

log = structlog.get_logger("kraken_l3.capture.trades")


class TradeWatch:
    """Checks that no trade is missing, also across reconnects and restarts. Snapshots repeat trades, which is fine.

    Args:
        journal: called with each journal record.
        clock: timestamps the records.
    """

    def __init__(self, journal: Callable[[Record], None], clock: Clock) -> None:
        self._last_id: dict[str, int] = {}
        self._journal = journal
        self._clock = clock

    def observe(self, payload: bytes, connection: int) -> None:
        """A message of the channel arrived (it is already queued for the archive)."""
        try:
            trades = decode_trades(payload)
        except MalformedMessage as error:
            log.warning("unreadable trade message", connection=connection, error=str(error))
            return
        for trade in sorted(trades, key=lambda trade: trade.trade_id):
            self._check(trade, connection)

    def remember(self, payload: bytes) -> None:
        """A message that an earlier recorder archived: what is missing behind it is a hole too.

        Raises:
            MalformedMessage: it cannot be read.
        """
        for trade in decode_trades(payload):
            self._last_id[trade.symbol] = max(trade.trade_id, self._last_id.get(trade.symbol, 0))

    def _check(self, trade: Trade, connection: int) -> None:
        last_id = self._last_id.get(trade.symbol)
        if last_id is not None and trade.trade_id > last_id + 1:
            self._journal(
                TradeGap(
                    at_ns=self._clock.wall_ns(),
                    mono_ns=self._clock.mono_ns(),
                    symbol=trade.symbol,
                    last_id=last_id,
                    next_id=trade.trade_id,
                    connection=connection,
                )
            )
        self._last_id[trade.symbol] = max(trade.trade_id, last_id or 0)
