"""Snapshots that come late: after messages of other symbols, as Kraken's protocol allows."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from kraken_l3.exchange.connection import Connection

__all__ = ["LateSnapshots"]


class _Late:
    """What one symbol's client still has to get, and after how many messages of others."""

    def __init__(self, payload: bytes, messages: int) -> None:
        self.payloads = [payload]
        self.messages = messages


class LateSnapshots:
    """What is held back, for each connection and symbol."""

    def __init__(self) -> None:
        self._late: WeakKeyDictionary[Connection, dict[str, _Late]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return len(self._late) > 0

    def hold(self, connection: Connection, symbol: str, snapshot: bytes, messages: int) -> None:
        """Hold a snapshot back until so many messages of other symbols went out."""
        self._late.setdefault(connection, {})[symbol] = _Late(snapshot, messages)

    def keeps(self, connection: Connection, symbol: str, payload: bytes) -> bool:
        """Whether this message has to wait too, behind its symbol's snapshot; then it is kept."""
        late = self._late.get(connection, {}).get(symbol)
        if late is None:
            return False
        late.payloads.append(payload)
        return True

    def due(self, connection: Connection) -> list[bytes]:
        """What is to go out now that one more message of another symbol did."""
        held = self._late.get(connection, {})
        payloads: list[bytes] = []
        for symbol, late in list(held.items()):
            late.messages -= 1
            if late.messages <= 0:
                payloads += held.pop(symbol).payloads
        if not held:
            self._late.pop(connection, None)
        return payloads
