"""A server's WebSocket frames as bytes (RFC 6455, section 5.2); a server does not mask, so a frame is head + payload.

Written here and not by aiohttp, whose writer neither fragments, nor breaks rules on purpose, nor hands out many
frames in one write.
"""

from __future__ import annotations

import struct

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "close_frame", "fragments", "frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN = 0x80
_SHORT, _MIDDLE, _LONG = struct.Struct("!BB"), struct.Struct("!BBH"), struct.Struct("!BBQ")


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> bytes:
    """One frame. `rsv` sets reserved bits (0x40 is RSV1), which no client accepts unless it negotiated them."""
    first = (_FIN if fin else 0) | rsv | opcode
    size = len(payload)
    if size < 126:
        return _SHORT.pack(first, size) + payload
    if size < 65_536:
        return _MIDDLE.pack(first, 126, size) + payload
    return _LONG.pack(first, 127, size) + payload


def fragments(payload: bytes, pieces: int) -> bytes:
    """The message as a text frame and continuation frames, in about equal pieces, with a ping between the first two."""
    size = max(1, -(-len(payload) // max(1, pieces)))
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    out = [frame(parts[0], TEXT, fin=len(parts) == 1)]
    if len(parts) > 1:
        out.append(frame(b"between", PING))
    out += [frame(part, CONTINUATION, fin=i == len(parts) - 1) for i, part in enumerate(parts[1:], 1)]
    return b"".join(out)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what a control frame holds."""
    return frame(struct.pack("!H", code) + reason.encode()[:123], CLOSE)
