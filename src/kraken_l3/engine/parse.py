"""The numbers, ids and times of a message, read at a symbol's precision (steps 2 and 3 of the port's page)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.book.book import Change
from kraken_l3.engine.port import (
    LARGEST_PRICE,
    MAX_ID_BYTES,
    MAX_LINE_BYTES,
    MAX_NESTING,
    MAX_PRECISION,
    NUMBER_END,
)
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import MAX_DIGITS, TooManyDecimals, decimals_in, parse_scaled
from kraken_l3.model.messages import Level3Data, OrderEntry
from kraken_l3.model.timestamps import parse_rfc3339

__all__ = [
    "Content",
    "Decimals",
    "Precision",
    "check_line",
    "check_symbol",
    "decimals_of",
    "is_symbol",
    "read_content",
    "too_fine_number",
]

_INT64_END = 1 << 63
_CHECKSUM = re.compile(rb'"?(\d{1,19})"?')
_MAX_CACHED_SECONDS = 4_096
#: For each precision, of prices and of quantities: 3 MB when full.
_MAX_CACHED_NUMBERS = 16_384


class Precision(NamedTuple):
    """Decimals of a symbol's prices and quantities."""

    price: int
    qty: int


class Decimals(NamedTuple):
    """Decimals of the numbers in a message: as they were written, and as few as hold them."""

    written: Precision
    needed: Precision


class Content(msgspec.Struct, frozen=True, gc=False):
    """A message with everything in it read. `checksum` is -1 when it states none."""

    bids: Sequence[Change]
    asks: Sequence[Change]
    checksum: int
    msg_ns: int

    def levels(self) -> int:
        """How many price levels the longer side states."""
        return max(len({change[2] for change in self.bids}), len({change[2] for change in self.asks}))

    def scaled(self, price_factor: int, qty_factor: int) -> Content:
        """The same at a larger precision."""
        if price_factor == qty_factor == 1:
            return self
        bids, asks = (
            [(event, order_id, price * price_factor, qty * qty_factor, ns) for event, order_id, price, qty, ns in side]
            for side in (self.bids, self.asks)
        )
        return Content(bids, asks, self.checksum, self.msg_ns)


def read_content(data: Level3Data, precision: Precision, *, snapshot: bool) -> Content:
    """Read everything in a message.

    Raises:
        TooManyDecimals: a number is finer than the precision (others may be unreadable: ask `too_fine_number`).
        ValueError: something cannot be read.
    """
    msg_ns = read_time(data.timestamp)
    known = (data.timestamp, msg_ns)
    return Content(
        _read_entries(data.bids, precision, snapshot, known) if data.bids else (),
        _read_entries(data.asks, precision, snapshot, known) if data.asks else (),
        _read_checksum(bytes(data.checksum)),
        msg_ns,
    )


def _read_entries(
    entries: Iterable[OrderEntry], precision: Precision, snapshot: bool, known: tuple[Optional[str], int]
) -> list[Change]:
    """Read the entries of one side. `known`: a time and what it says, since most entries repeat their message's."""
    prices, quantities = PRICES[precision.price], QUANTITIES[precision.qty]
    known_text, known_ns = known
    changes = []
    for entry in entries:
        event = "add" if snapshot else entry.event
        if event == "delete":
            price = 0
        elif event == "add" or event == "modify":
            price = prices[bytes(entry.limit_price)]
        else:
            raise ValueError(f"unknown event {event[:20]!r}")
        order_id, time = entry.order_id, entry.timestamp
        if not order_id or len(order_id) > SHORT_ID:
            _check_id(order_id)
        ns = known_ns if time == known_text else read_time(time)
        changes.append((event, order_id, price, quantities[bytes(entry.order_qty)], ns))
    return changes


SHORT_ID = MAX_ID_BYTES // 4  # characters that fit whatever they are


def _check_id(order_id: str) -> None:
    if not 0 < len(order_id.encode()) <= MAX_ID_BYTES:
        raise ValueError(f"order id of {len(order_id.encode())} bytes")


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_line(line: bytes) -> None:
    """Raise `MalformedMessage` for a line past the bounds, before it can cost memory or the stack of a parser."""
    if len(line) > MAX_LINE_BYTES:
        raise MalformedMessage(f"a line of {len(line)} bytes")
    # Cheap for updates, which have a dozen. In a snapshot they have to be followed, without those in its strings.
    if line.count(b"[") + line.count(b"{") > MAX_NESTING:
        brackets = _STRING.sub(b"", line).translate(None, _NOT_BRACKETS)
        if max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0) > MAX_NESTING:
            raise MalformedMessage(f"nested deeper than {MAX_NESTING}")


def is_symbol(name: str) -> bool:
    """Whether a message can have such a symbol."""
    try:
        return 0 < len(name.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def check_symbol(symbol: str) -> None:
    """Raise `MalformedMessage` when this cannot be a symbol's name."""
    if not 0 < len(symbol.encode()) <= MAX_ID_BYTES:
        raise MalformedMessage(f"a symbol of {len(symbol.encode())} bytes")


class _Numbers(dict[bytes, int]):
    """Scaled numbers by their text. What is not there yet is read: three numbers in four were met shortly before.

    Raises:
        TooManyDecimals, ValueError: as `parse_scaled`, for a text that cannot be read.
    """

    __slots__ = ("_largest", "_point", "_precision")

    def __init__(self, precision: int, largest: int) -> None:
        super().__init__()
        self._precision = precision
        self._point = slice(-precision - 1, -precision)  # where the point stands when all decimals are written
        self._largest = largest

    def __missing__(self, text: bytes) -> int:
        digits = text.replace(b".", b"", 1)
        if text[self._point] == b"." and digits.isdigit() and len(digits) <= MAX_DIGITS:
            number = int(digits)
        else:
            number = parse_scaled(text, self._precision)
        if len(self) >= _MAX_CACHED_NUMBERS:
            self.clear()
        number = self[text] = min(number, self._largest)
        return number


PRICES = [_Numbers(precision, LARGEST_PRICE) for precision in range(MAX_PRECISION + 1)]
QUANTITIES = [_Numbers(precision, NUMBER_END) for precision in range(MAX_PRECISION + 1)]


_seconds: dict[str, int] = {}
_SECOND, _FRACTION = slice(20), slice(20, 29)


def read_time(text: Optional[str]) -> int:
    """Nanoseconds, 0 when unknown. Date and second of Kraken's form are looked up, since they hardly change."""
    if not text:
        return 0
    if len(text) == 30 and text[29] == "Z":
        start = _seconds.get(text[_SECOND])
        fraction = text[_FRACTION]
        if start is not None and fraction.isdigit() and fraction.isascii():
            return start + int(fraction)
    return _read_any_time(text)


def _read_any_time(text: str) -> int:
    try:
        ns = parse_rfc3339(text)
    except ValueError:
        return 0
    if not -_INT64_END <= ns < _INT64_END:
        return 0
    if len(text) == 30 and text[19] == "." and text[29] == "Z" and abs(ns) < _INT64_END - 10**9:
        if len(_seconds) >= _MAX_CACHED_SECONDS:
            _seconds.clear()
        _seconds[text[:20]] = ns - int(text[20:29])
    return ns


def _read_checksum(text: bytes) -> int:
    if not text or text == b"null":
        return -1
    match = _CHECKSUM.fullmatch(text)
    if match is None or int(match[1]) >= _INT64_END:
        raise ValueError(f"not a checksum: {text[:48]!r}")
    return int(match[1])


def too_fine_number(data: Level3Data, precision: Precision, *, snapshot: bool) -> str:
    """The text of the first number that is too fine for the precision, after `read_content` met one.

    Raises:
        ValueError: something else in the message cannot be read at all, which weighs more.
    """
    first = ""
    for entry in (*(data.bids or ()), *(data.asks or ())):
        numbers = [(QUANTITIES[precision.qty], entry.order_qty)]
        if snapshot or entry.event != "delete":
            numbers.insert(0, (PRICES[precision.price], entry.limit_price))
        for known, raw in numbers:
            if _is_too_fine(known, bytes(raw)):
                first = first or bytes(raw).decode()
        without_numbers = OrderEntry(entry.order_id, _ZERO, _ZERO, entry.timestamp, entry.event)
        _read_entries([without_numbers], Precision(0, 0), snapshot, (None, 0))
    _read_checksum(bytes(data.checksum))
    return first


def _is_too_fine(numbers: _Numbers, text: bytes) -> bool:
    try:
        numbers[text]
    except TooManyDecimals:
        return True
    return False


_ZERO = msgspec.Raw(b"0")


def decimals_of(data: Level3Data, *, snapshot: bool) -> Decimals:
    """The most decimals among a message's prices and among its quantities.

    Raises:
        ValueError: a number cannot be read.
    """
    entries = [*(data.bids or ()), *(data.asks or ())]
    prices = [decimals_in(bytes(e.limit_price)) for e in entries if snapshot or e.event != "delete"]
    quantities = [decimals_in(bytes(e.order_qty)) for e in entries]
    written, needed = (
        Precision(
            max([pair[which] for pair in prices], default=0), max([pair[which] for pair in quantities], default=0)
        )
        for which in (0, 1)
    )
    return Decimals(written, needed)
