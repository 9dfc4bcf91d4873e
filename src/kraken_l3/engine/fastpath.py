"""The fast path: updates in the form that Kraken writes, decoded and read in one go.

It takes messages with Kraken's keys only, each of them there, and numbers without sign or exponent. At the first
surprise it gives up, and the fallback (`protocol.decoding` and `parse`) reads the line from its start. What it does
accept, the fallback would read to the same content (a property test holds the two together).
"""

from __future__ import annotations

from typing import Literal, Optional, Union

import msgspec

from kraken_l3.book.book import Change
from kraken_l3.engine.parse import PRICES, QUANTITIES, SHORT_ID, Content, Precision, read_time
from kraken_l3.engine.port import MAX_LINE_BYTES, MAX_NESTING

__all__ = ["UpdateData", "decode_update", "read_update"]


_LARGEST_CHECKSUM = (1 << 32) - 1


class _Entry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event: Literal["add", "modify", "delete"]
    order_id: str
    limit_price: msgspec.Raw
    order_qty: msgspec.Raw
    timestamp: str


class UpdateData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One update of one symbol, its numbers and times not read yet."""

    symbol: str
    checksum: Union[int, float]  # a float is what is no plain integer
    bids: list[_Entry]
    asks: list[_Entry]
    timestamp: str


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    channel: Literal["level3"]
    type: Literal["update"]
    data: tuple[UpdateData]


_decode = msgspec.json.Decoder(_Message).decode


def decode_update(line: bytes) -> Optional[UpdateData]:
    """The update in a line, None when the fallback has to look at it."""
    if not line.isascii() or len(line) > MAX_LINE_BYTES:
        return None
    try:
        return _decode(line).data[0]
    except (msgspec.DecodeError, RecursionError):
        return None


def read_update(data: UpdateData, precision: Precision) -> Optional[Content]:
    """Everything in an update, None when the fallback has to look at it."""
    checksum, msg_time = data.checksum, data.timestamp
    if not (isinstance(checksum, int) and 0 < checksum <= _LARGEST_CHECKSUM):
        return None  # "-0" is an integer in JSON, but no checksum
    msg_ns = read_time(msg_time)
    try:
        bids = _read_entries(data.bids, precision, msg_time, msg_ns) if data.bids else ()
        asks = _read_entries(data.asks, precision, msg_time, msg_ns) if data.asks else ()
    except ValueError:
        return None
    return Content(bids, asks, checksum, msg_ns)


def _read_entries(entries: list[_Entry], precision: Precision, msg_time: str, msg_ns: int) -> list[Change]:
    prices, quantities = PRICES[precision.price], QUANTITIES[precision.qty]
    changes: list[Change] = []
    for entry in entries:
        order_id = entry.order_id
        if not 0 < len(order_id) <= SHORT_ID:
            raise ValueError
        event, time = entry.event, entry.timestamp
        price = 0
        if event != "delete":
            price = prices[bytes(entry.limit_price)]
        elif len(bytes(entry.limit_price)) > MAX_NESTING:  # any JSON may stand there, but for what nests too deep
            raise ValueError
        ns = msg_ns if time == msg_time else read_time(time)  # most entries have the time of their message
        changes.append((event, order_id, price, quantities[bytes(entry.order_qty)], ns))
    return changes
