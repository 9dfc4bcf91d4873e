"""Kraken's level3 checksum, computed again only for a side whose top levels changed.

CRC-32 (zlib) of ASCII text: asks low to high, then bids high to low; of each side the 10 best price levels whatever
the depth; in a level every order in queue order; of each order price and quantity at full precision without point and
leading zeros. Both sides empty give 0. Source: https://docs.kraken.com/api/docs/guides/spot-ws-l3-v2
"""

from __future__ import annotations

from zlib import crc32

from kraken_l3.book.side import BookSide

__all__ = ["Checksum"]


class Checksum:
    """The checksum of two sides, with the asks' half and the bids' text kept."""

    __slots__ = ("_asks", "_asks_crc", "_bids", "_bids_text", "_value")

    def __init__(self, bids: BookSide, asks: BookSide) -> None:
        self._bids = bids
        self._asks = asks
        self._bids_text = b""
        self._asks_crc = 0
        self._value = 0

    def value(self) -> int:
        """The checksum of the book as it stands, 0..2**32-1."""
        asks, bids = self._asks, self._bids
        if asks.top_changed:
            self._asks_crc = crc32(asks.top_text())
        elif not bids.top_changed:
            return self._value
        if bids.top_changed:
            self._bids_text = bids.top_text()
        self._value = crc32(self._bids_text, self._asks_crc)
        return self._value
