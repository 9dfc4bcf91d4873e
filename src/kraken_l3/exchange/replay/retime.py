"""Recorded timestamps moved to now: all by the same span, so that what was equal or apart stays so."""

from __future__ import annotations

import re

from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

__all__ = ["Retiming"]

_TIMESTAMP = re.compile(rb'("timestamp"\s*:\s*")([^"\\]+)(")')
_MICROS = len("2026-11-22T00:00:00.000000Z")


class Retiming:
    """Moves the timestamps of messages; checksums do not cover them.

    Attributes:
        span_ns: by how much.
    """

    def __init__(self) -> None:
        self.span_ns = 0

    def apply(self, payload: bytes) -> bytes:
        """The message with its timestamps moved; what is no time is left alone."""
        return _TIMESTAMP.sub(self._moved, payload) if self.span_ns else payload

    def _moved(self, match: re.Match[bytes]) -> bytes:
        try:
            moved = format_rfc3339(parse_rfc3339(match[2].decode("ascii")) + self.span_ns)
        except (ValueError, OverflowError):
            return match[0]
        # trades have microseconds (https://docs.kraken.com/api/docs/websocket-v2/trade)
        text = moved[: _MICROS - 1] + "Z" if len(match[2]) == _MICROS else moved
        return match[1] + text.encode() + match[3]
