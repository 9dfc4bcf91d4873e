"""Kraken's messages as read from the wire: typed, in shape, with every number still as the exact bytes that were sent.

Source: https://docs.kraken.com/api/docs/websocket-v2/level3, .../trade
"""

from __future__ import annotations

from typing import Optional

import msgspec

__all__ = ["Level3Data", "Level3Message", "OrderEntry", "Trade"]


class OrderEntry(msgspec.Struct, gc=False):
    """One order of a snapshot or update; `event` is empty in a snapshot. Absent numbers are empty `Raw`."""

    order_id: str = ""
    limit_price: msgspec.Raw = msgspec.Raw()
    order_qty: msgspec.Raw = msgspec.Raw()
    timestamp: Optional[str] = None
    event: str = ""


class Level3Data(msgspec.Struct, gc=False):
    """One element of `data`: a symbol's snapshot or one transaction of its engine."""

    symbol: str
    bids: Optional[list[OrderEntry]] = None
    asks: Optional[list[OrderEntry]] = None
    checksum: msgspec.Raw = msgspec.Raw()
    timestamp: Optional[str] = None


class Level3Message(msgspec.Struct, gc=False):
    """A message of the `level3` channel; `type` is "snapshot" or "update"."""

    channel: str
    type: str
    data: list[Level3Data]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One public trade; `side` and `ord_type` are the taker's, price and quantity exact wire text.

    `is_recent`: it came with the recent trades that Kraken sends when the channel is subscribed.
    """

    symbol: str
    side: str
    price: str
    qty: str
    ord_type: str
    trade_id: int
    timestamp_ns: int
    is_recent: bool = False
