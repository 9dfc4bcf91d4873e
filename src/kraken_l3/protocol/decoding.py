"""Decodes Kraken's data messages: `level3`, `trade`, `instrument`. Keys may have any order; numbers stay exact text.

Only the shape is checked here: what the numbers mean depends on the pair's precision, which the book knows.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Callable, Optional

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.messages import Level3Message, Trade
from kraken_l3.model.timestamps import parse_rfc3339

__all__ = ["decode_instruments", "decode_level3", "decode_trades", "latest_time_ns"]

_DATA_TYPES = ("snapshot", "update")
#: Decimals that a pair can have; beyond them no checksum can be computed in 64 bits. Kraken's pairs have up to 10.
PRECISIONS = range(19)


class _Head(msgspec.Struct, gc=False):
    """Enough of any message to say what it is; its values are only looked at when they are strings."""

    channel: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()


class _WireTrade(msgspec.Struct, gc=False):
    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    timestamp: str
    ord_type: str = ""


class _TradeMessage(msgspec.Struct, gc=False):
    data: list[_WireTrade]
    type: msgspec.Raw = msgspec.Raw()


class _Timed(msgspec.Struct, gc=False):
    timestamp: Optional[str] = None


class _TimedMessage(msgspec.Struct, gc=False):
    data: list[_Timed] = []


class _WirePair(msgspec.Struct, gc=False):
    symbol: str
    price_precision: int
    qty_precision: int
    price_increment: msgspec.Raw = msgspec.Raw()
    qty_increment: msgspec.Raw = msgspec.Raw()
    status: str = "online"


class _InstrumentData(msgspec.Struct, gc=False):
    pairs: Optional[list[_WirePair]] = None


class _InstrumentMessage(msgspec.Struct, gc=False):
    data: _InstrumentData


_level3 = msgspec.json.Decoder(Level3Message)
_any_json = msgspec.json.Decoder(msgspec.Raw)
_head = msgspec.json.Decoder(_Head)
_trades = msgspec.json.Decoder(_TradeMessage)
_instruments = msgspec.json.Decoder(_InstrumentMessage)

_timed = msgspec.json.Decoder(_TimedMessage)

_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_level3(line: bytes) -> Optional[Level3Message]:
    """The message in a line, or None when the line is valid JSON but no level3 snapshot or update.

    Raises:
        MalformedMessage: not UTF-8, not JSON, or a level3 message whose shape is wrong.
    """
    try:
        if not line.isascii():
            line.decode()
        message: Level3Message = _level3.decode(line)
    except _ERRORS as error:
        _refuse_level3(line, error)
        return None
    return message if message.channel == "level3" and message.type in _DATA_TYPES else None


def _refuse_level3(line: bytes, error: Exception) -> None:
    """Return when the line is some other valid message; raise when it claims to be level3 or is no JSON at all."""
    try:
        line.decode()
        _any_json.decode(line)
    except _ERRORS as worse:
        raise MalformedMessage(_text(worse)) from None
    if _claims_level3(line):
        raise MalformedMessage(_text(error)) from None


def _claims_level3(json: bytes) -> bool:
    try:
        head = _head.decode(json)
    except msgspec.ValidationError:  # no object
        return False
    return _word(head.channel) == "level3" and _word(head.type) in _DATA_TYPES


def _word(raw: msgspec.Raw) -> str:
    text = bytes(raw)
    return str(msgspec.json.decode(text)) if text[:1] == b'"' else ""


def _text(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def decode_trades(payload: bytes) -> list[Trade]:
    """The trades of a `trade` message.

    Raises:
        MalformedMessage: it is none.
    """
    try:
        message = decode_json(_trades, payload)
        is_recent = bytes(message.type) == b'"snapshot"'
        return [
            Trade(
                symbol=t.symbol,
                side=t.side,
                price=_number_text(t.price),
                qty=_number_text(t.qty),
                ord_type=t.ord_type,
                trade_id=t.trade_id,
                timestamp_ns=parse_rfc3339(t.timestamp),
                is_recent=is_recent,
            )
            for t in message.data
        ]
    except (MalformedMessage, ValueError) as error:
        raise MalformedMessage(f"not a trade message: {_text(error)}") from None


def _ignore(pair: Instrument) -> None:
    """Used where refused pairs do not matter."""


def decode_instruments(payload: bytes, on_refused: Callable[[Instrument], None] = _ignore) -> list[Instrument]:
    """The pairs of an `instrument` snapshot or update.

    Args:
        payload: the message.
        on_refused: called with each pair that is left out because its precisions are impossible (outside 0 to 18).

    Raises:
        MalformedMessage: it is none.
    """
    try:
        pairs = [
            Instrument(
                symbol=p.symbol,
                price_precision=p.price_precision,
                qty_precision=p.qty_precision,
                price_increment=_number_text(p.price_increment) or None,
                qty_increment=_number_text(p.qty_increment) or None,
                status=p.status,
            )
            for p in decode_json(_instruments, payload).data.pairs or ()
        ]
    except MalformedMessage as error:
        raise MalformedMessage(f"not an instrument message: {_text(error)}") from None
    plausible = []
    for pair in pairs:
        if pair.price_precision in PRECISIONS and pair.qty_precision in PRECISIONS:
            plausible.append(pair)
        else:
            on_refused(pair)
    return plausible


def _number_text(raw: msgspec.Raw) -> str:
    text = bytes(raw).decode("ascii", "replace").strip('"')
    return "" if text == "null" else text


def latest_time_ns(line: bytes) -> int:
    """The latest time that the entries of a level3 or trade message state; 0 where none does, or it cannot be read."""
    try:
        texts = [each.timestamp for each in _timed.decode(line).data]
    except _ERRORS:
        return 0
    latest = 0
    for text in texts:
        with contextlib.suppress(ValueError):
            latest = max(latest, parse_rfc3339(text) if text is not None else 0)
    return latest if latest < 1 << 63 else 0
