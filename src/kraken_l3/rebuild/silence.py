"""Which symbols are silent for too long while their connection lives.

A symbol is silent when it had messages before and then none for 20 times its median spacing, but at least 10 minutes;
or when its trades go on for a minute without one. It is reported once, and again only after it had spoken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from statistics import median

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["SilenceWatch"]

_SPACINGS = 101
_FACTOR = 20
_LEAST_NS = 600 * NS_PER_S
_TRADES = 5
_TRADING_NS = 60 * NS_PER_S


class _Voice:
    __slots__ = ("last_ns", "reported", "spacings", "trades")

    def __init__(self, last_ns: int) -> None:
        self.last_ns = last_ns
        self.spacings: deque[float] = deque(maxlen=_SPACINGS)
        self.trades = 0
        self.reported = False

    def limit_ns(self) -> float:
        return max(_LEAST_NS, _FACTOR * median(self.spacings)) if self.spacings else _LEAST_NS


class SilenceWatch:
    """Told of messages and trades; asked who is silent. All times are on the receive clock."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}

    def messages(self, symbol: str, count: int, recv_ns: int) -> None:
        """A symbol had `count` messages, the last of them now."""
        voice = self._voices.get(symbol)
        if voice is None:
            self._voices[symbol] = _Voice(recv_ns)
            return
        if recv_ns > voice.last_ns:
            voice.spacings.append((recv_ns - voice.last_ns) / count)
        voice.last_ns = max(voice.last_ns, recv_ns)
        voice.trades = 0
        voice.reported = False

    def trade(self, symbol: str, recv_ns: int) -> None:
        """A symbol was traded."""
        voice = self._voices.get(symbol)
        if voice is not None and recv_ns > voice.last_ns:
            voice.trades += 1

    def silent(self, now_ns: int, connected: Container[str]) -> list[tuple[str, int]]:
        """Symbols that are silent too long as of now, with the nanoseconds since their last message."""
        found = []
        for symbol, voice in self._voices.items():
            if symbol not in connected:
                voice.last_ns = max(voice.last_ns, now_ns)  # its silence counts from when it is back
                continue
            silence = now_ns - voice.last_ns
            trading = voice.trades >= _TRADES and silence > _TRADING_NS
            if not voice.reported and (trading or silence > voice.limit_ns()):
                voice.reported = True
                found.append((symbol, silence))
        return found
