"""What faults send: corrupted copies, frames that are no messages, floods, and texts that repeat the client's token."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from typing import Any

from kraken_l3.exchange.announcements import status_update
from kraken_l3.exchange.exact_json import read_exact, write_exact
from kraken_l3.exchange.wire import BINARY, PING, TEXT, frame
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

__all__ = ["batched", "corrupted", "filled", "flood", "garbage", "giant", "reordered", "respelled", "restamped"]

_FIELDS = {"checksum": rb'"checksum":', "price": rb'"limit_price":', "qty": rb'"order_qty":'}
_GARBAGE: dict[str, tuple[bytes, int, int]] = {
    "text": (b"this is no JSON", TEXT, 0),
    "json": (b'{"channel":"level3","type":"update","data":[{"symbol":"BT', TEXT, 0),
    "empty": (b"", TEXT, 0),
    "utf8": (b'{"channel":"level3","symbol":"\xff\xfe"}', TEXT, 0),
    "binary": (b"\x00\x01\x02", BINARY, 0),
    "rsv1": (b'{"channel":"heartbeat"}', TEXT, 0x40),
}
_ORDER_ID = re.compile(rb'"order_id":"([^"]+)"')
_NUMBER = re.compile(rb'("(?:limit_price|order_qty)":)"?([0-9.eE+-]+)"?')
_MAX_PING_BYTES = 125  # RFC 6455, section 5.5


def corrupted(payload: bytes, what: str, rng: random.Random) -> bytes:
    """A level3 message with one digit of the checksum, a price or a quantity changed, or another end of an order's id.

    It stays JSON, except when it is cut in the middle.
    """
    if what == "cut":
        return payload[: len(payload) * 2 // 3]
    if what == "order_id" and (ends := [m.end(1) - 1 for m in _ORDER_ID.finditer(payload)]):
        at = rng.choice(ends)
        return payload[:at] + (b"X" if payload[at : at + 1] != b"X" else b"Y") + payload[at + 1 :]
    spots = [m.span(1) for m in re.finditer(_FIELDS.get(what, b"$") + rb'"?([0-9.]+)', payload)]
    if not spots:  # a message without orders: then the checksum
        spots = [m.span(1) for m in re.finditer(_FIELDS["checksum"] + rb'"?([0-9.]+)', payload)]
    start, end = rng.choice(spots)
    at = rng.choice([i for i in range(start, end) if payload[i : i + 1] != b"."])
    digit = (payload[at] - 48 + rng.randrange(1, 10)) % 10
    if digit == 0 and at == start and end - start > 1 and payload[at + 1 : at + 2] != b".":
        digit = 1 if payload[at] != 49 else 2  # JSON has no leading zeros
    return payload[:at] + b"%d" % digit + payload[at + 1 :]


def reordered(payload: bytes) -> bytes:
    """The same message with the keys of all its objects in reverse order."""
    return write_exact(read_exact(payload.decode(), lambda pairs: dict(reversed(pairs)))).encode()


def respelled(payload: bytes, how: str) -> bytes:
    """The same message with its prices and quantities written `short`, with an `exponent`, or in `quotes`."""

    def spell(found: re.Match[bytes]) -> bytes:
        name, text = found.groups()
        if how == "quotes":
            return name + b'"' + text + b'"'
        value = Decimal(text.decode()).normalize()
        return name + format(value, "e" if how == "exponent" else "f").encode()

    return _NUMBER.sub(spell, payload)


def restamped(payload: bytes, by_ns: int) -> bytes:
    """The same message with its own timestamp moved; those of its orders stay."""
    message = read_exact(payload.decode())
    for data in message["data"]:
        data["timestamp"] = format_rfc3339(parse_rfc3339(data["timestamp"]) + by_ns)
    return write_exact(message).encode()


def batched(first: bytes, second: bytes) -> bytes:
    """Two updates of a symbol as one: the entries of both in their order, checksum and timestamp of the second."""
    before: dict[str, Any] = read_exact(first.decode())["data"][0]
    message = read_exact(second.decode())
    data = message["data"][0]
    for side in ("bids", "asks"):
        data[side] = before[side] + data[side]
    return write_exact(message).encode()


def garbage(what: str) -> tuple[bytes, bytes]:
    """A frame that is no message: its payload, and the frame."""
    payload, opcode, rsv = _GARBAGE[what]
    return payload, frame(payload, opcode, rsv=rsv)


def giant(size: int) -> bytes:
    """A level3 message of this size, for a pair that does not exist."""
    head = b'{"channel":"level3","type":"update","data":[{"symbol":"GIANT/USD","checksum":0,"bids":[],"asks":[],'
    return head + b'"pad":"' + b"x" * max(0, size - len(head) - 11) + b'"}]}'


def flood(what: str, size: int, connection_id: int) -> tuple[bytes, bytes]:
    """One message of a flood, of about this size: its payload, and the frame."""
    pad = "x" * size
    if what == "ping":
        payload = pad[:_MAX_PING_BYTES].encode()
        return payload, frame(payload, PING)
    if what == "status":
        payload = status_update(connection_id, "online", {"pad": pad})
    elif what == "reject":
        payload = json.dumps({"error": pad, "method": "subscribe", "success": False}).encode()
    else:
        payload = json.dumps({"channel": "unknown", "pad": pad}).encode()
    return payload, frame(payload)


def filled(text: str, token: str) -> str:
    """The text with the client's token for `{token}`, and the token in JSON escapes for `{token:escaped}`."""
    escaped = "".join(f"\\u{ord(c):04x}" for c in token)
    return text.replace("{token}", token).replace("{token:escaped}", escaped)
