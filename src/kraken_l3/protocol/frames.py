"""Classifies frames: control frames are recognised positively and cheaply, everything else is data.

The order of a message's keys is not fixed, so the envelope of a frame is decoded, but not its content. (A connection
skips even this for updates that start and end the way Kraken writes them today.)
"""

from __future__ import annotations

from typing import Any, Optional, Union

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = [
    "DATA_CHANNELS",
    "Data",
    "Heartbeat",
    "Incoming",
    "Pong",
    "Response",
    "Status",
    "Unrecognised",
    "classify",
    "snapshot_symbols",
]

DATA_CHANNELS = frozenset({"level3", "trade", "instrument"})

#: Kraken's errors are short sentences; longer ones are cut.
ERROR_CHARS = 1_000
#: Kraken offers 10, 100 and 1000 levels.
PLAUSIBLE_DEPTHS = range(1, 1001)

_HEARTBEAT = b'{"channel":"heartbeat"}'


class Heartbeat(msgspec.Struct, frozen=True):
    """Sent once a second after the first subscription."""


class Pong(msgspec.Struct, frozen=True):
    """The answer to our ping."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """State of the exchange: the first message on every connection, and sent again at each change.

    Attributes:
        system: "online", "cancel_only", "maintenance" or "post_only".
        maintenance: announced maintenance, as Kraken describes it (empty: none).
    """

    system: str
    maintenance: list[dict[str, Any]] = []


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a request. Everything but `success` may be missing from a rejection.

    `depth_refused`: it named a depth that no book has; `depth` is None then.
    """

    method: str
    success: bool
    error: str = ""
    req_id: Optional[int] = None
    channel: Optional[str] = None
    symbol: Optional[str] = None
    depth: Optional[int] = None
    warnings: list[str] = []
    depth_refused: bool = False


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """A message for the archive; `kind` is "snapshot", "update" or whatever Kraken wrote."""

    channel: str
    kind: str
    malformed: bool = False


class Unrecognised(msgspec.Struct, frozen=True):
    """Neither control nor data: kept in the journal."""


Incoming = Union[Heartbeat, Pong, Status, Response, Data, Unrecognised]


class _Result(msgspec.Struct):
    channel: Optional[str] = None
    symbol: Optional[str] = None
    depth: Optional[int] = None
    warnings: Optional[list[str]] = None


class _Envelope(msgspec.Struct):
    channel: Optional[str] = None
    type: Optional[str] = None
    method: Optional[str] = None
    success: Optional[bool] = None
    error: Any = None
    req_id: Optional[int] = None
    symbol: Any = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")


class _StatusData(msgspec.Struct):
    system: str = "online"
    upcoming_maintenance: Optional[list[dict[str, Any]]] = None


class _SymbolOnly(msgspec.Struct):
    symbol: Optional[str] = None


_envelope = msgspec.json.Decoder(_Envelope)
_result = msgspec.json.Decoder(Optional[_Result])
_status = msgspec.json.Decoder(list[_StatusData])
_symbols = msgspec.json.Decoder(list[_SymbolOnly])


def classify(payload: bytes) -> Incoming:
    """Classify one frame. Never raises: garbage is `Unrecognised`, or data if it claims to be."""
    if payload == _HEARTBEAT:
        return Heartbeat()
    try:
        envelope = decode_json(_envelope, payload)
    except MalformedMessage:
        return _claimed_data(payload)
    if envelope.method is not None:
        return _response(envelope)
    if envelope.channel in DATA_CHANNELS:
        return Data(channel=str(envelope.channel), kind=envelope.type or "")
    if envelope.channel == "heartbeat":
        return Heartbeat()
    if envelope.channel == "status":
        return _decode_status(envelope.data)
    return Unrecognised()


def snapshot_symbols(payload: bytes) -> list[str]:
    """The symbols of a level3 or trade snapshot.

    Raises:
        MalformedMessage: it is none.
    """
    data = decode_json(_symbols, decode_json(_envelope, payload).data)
    return [element.symbol for element in data if element.symbol is not None]


def _claimed_data(payload: bytes) -> Incoming:
    """A frame that is not JSON but names a data channel is kept with the data, for the verifier to locate it."""
    for channel in sorted(DATA_CHANNELS):
        if b'"' + channel.encode() + b'"' in payload and b'"method"' not in payload:
            return Data(channel=channel, kind="", malformed=True)
    return Unrecognised()


def _decode_status(data: msgspec.Raw) -> Incoming:
    try:
        elements = decode_json(_status, data)
    except MalformedMessage:
        return Unrecognised()
    if not elements:
        return Status(system="online")
    return Status(system=elements[0].system, maintenance=elements[0].upcoming_maintenance or [])


def _response(envelope: _Envelope) -> Incoming:
    method = str(envelope.method)
    if method == "pong":
        return Pong()
    try:
        result = decode_json(_result, envelope.result) or _Result()
    except MalformedMessage:
        result = _Result()
    symbol = result.symbol if result.symbol is not None else envelope.symbol
    return Response(
        method=method,
        success=bool(envelope.success) and envelope.error is None,
        error="" if envelope.error is None else str(envelope.error)[:ERROR_CHARS],
        req_id=envelope.req_id,
        channel=result.channel,
        symbol=symbol if isinstance(symbol, str) else None,
        depth=result.depth if result.depth in PLAUSIBLE_DEPTHS else None,
        depth_refused=result.depth is not None and result.depth not in PLAUSIBLE_DEPTHS,
        warnings=result.warnings or [],
    )
