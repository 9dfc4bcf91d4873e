"""What a tradable pair is, as far as recording and rebuilding need it."""

from __future__ import annotations

from typing import Optional

import msgspec

__all__ = ["Instrument"]


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of Kraken's `instrument` channel.

    Attributes:
        symbol: WebSocket v2 name, e.g. "BTC/USD".
        price_precision: decimals of a price on the wire and in the checksum.
        qty_precision: decimals of a quantity on the wire and in the checksum.
        price_increment: smallest price step as exact wire text ("0.1", "1E-8"), or None when not stated.
        qty_increment: smallest quantity step as exact wire text, or None when not stated.
        status: "online", "cancel_only", "post_only", "limit_only", "reduce_only", "maintenance", "delisted", ...

    Source: https://docs.kraken.com/api/docs/websocket-v2/instrument
    """

    symbol: str
    price_precision: int
    qty_precision: int
    price_increment: Optional[str] = None
    qty_increment: Optional[str] = None
    status: str = "online"
