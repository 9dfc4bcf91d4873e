"""When two messages from different connections are the same one, and how two runs of a symbol's messages lie together.

What one connection delivers of a symbol is a contiguous run of one server-side stream, so runs are aligned by content:
receive times play no part. Equal bytes are the same message. Else its canonical form decides, `Identity`: two
connections may write the keys in another order, and the same numbers in another way. Kraken's level3 has no sequence
numbers (https://docs.kraken.com/api/docs/websocket-v2/level3), and its timestamps alone are not unique.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import exact
from kraken_l3.model.messages import Level3Data, OrderEntry
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.protocol.decoding import decode_level3

__all__ = ["Identity", "anchors", "identity_of", "time_of"]

#: event, order id, exact price, exact quantity, time of the order
_Entry = tuple[str, str, Hashable, Hashable, int]


class Identity(NamedTuple):
    """What makes a message the one that it is.

    Attributes:
        symbol: whose it is.
        type: "snapshot" or "update".
        msg_ns: its own timestamp (0: none that can be read).
        checksum: as exact as it was written.
        bids: its entries, in no order of their own.
        asks: likewise.
    """

    symbol: str
    type: str
    msg_ns: int
    checksum: Hashable
    bids: tuple[_Entry, ...]
    asks: tuple[_Entry, ...]

    def untimed(self) -> Identity:
        """The same without the message's timestamp, for servers that stamp each connection's message anew."""
        return self._replace(msg_ns=0)


def identity_of(line: bytes) -> Hashable:
    """The identity of a line; of one that is no single level3 message, its bytes."""
    data = _only(line)
    if data is None:
        return line
    kind, message = data
    bids, asks = _entries(message.bids), _entries(message.asks)
    return Identity(message.symbol, kind, _time(message.timestamp), _number(message.checksum), bids, asks)


def time_of(line: bytes) -> int:
    """The message's own timestamp in nanoseconds; 0 where it has none that can be read."""
    data = _only(line)
    return _time(data[1].timestamp) if data is not None else 0


def _only(line: bytes) -> Optional[tuple[str, Level3Data]]:
    try:
        message = decode_level3(line)
    except MalformedMessage:
        return None
    return (message.type, message.data[0]) if message is not None and len(message.data) == 1 else None


def _entries(orders: Optional[list[OrderEntry]]) -> tuple[_Entry, ...]:
    entries = [
        (order.event, order.order_id, _number(order.limit_price), _number(order.order_qty), _time(order.timestamp))
        for order in orders or ()
    ]
    return tuple(sorted(entries, key=repr) if len(entries) > 1 else entries)


def _number(text: msgspec.Raw) -> Hashable:
    raw = bytes(text)
    try:
        return exact(raw)
    except ValueError:
        return raw


def _time(text: Optional[str]) -> int:
    try:
        return parse_rfc3339(text) if text is not None else 0
    except ValueError:
        return 0


def anchors(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The messages that two runs share, as pairs of places that rise in both.

    The n-th of several equal ones is taken for the n-th of the other run. Where messages stand in another order, the
    most that can be kept in one order are taken.
    """
    places = {key: place for place, key in enumerate(_numbered(other))}
    shared = [(place, places[key]) for place, key in enumerate(_numbered(one)) if key in places]
    return _longest_rising(shared)


def _numbered(keys: Sequence[Hashable]) -> list[tuple[Hashable, int]]:
    counts: dict[Hashable, int] = {}
    numbered = []
    for key in keys:
        counts[key] = count = counts.get(key, -1) + 1
        numbered.append((key, count))
    return numbered


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of pairs (rising in the first place) that rises in the second too, by patience sorting."""
    tops: list[int] = []  # the smallest second place that ends a rising part of each length
    ends: list[int] = []  # which pair that is
    before: list[int] = []
    for number, (_, second) in enumerate(pairs):
        length = bisect_left(tops, second)
        before.append(ends[length - 1] if length else -1)
        tops[length : length + 1] = [second]
        ends[length : length + 1] = [number]
    found = []
    number = ends[-1] if ends else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
