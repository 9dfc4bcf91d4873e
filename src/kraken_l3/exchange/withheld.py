"""Messages that the exchange keeps back for a time: late snapshots, silences, updates that are sent with the next."""

from __future__ import annotations

from typing import NamedTuple, Optional
from weakref import WeakKeyDictionary

from kraken_l3.exchange.connection import Connection

__all__ = ["LateSnapshots", "Silences", "SilentMessage", "UnfinishedBatches"]

#: What a silent connection may hold back; with more it is cut, as with anything else that waits.
_SILENT_BYTES = 64 * 1024 * 1024


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


class SilentMessage(NamedTuple):
    """A message that was due during a silence."""

    symbol: str
    payload: bytes


class _Silence:
    def __init__(self, symbol: Optional[str], *, lose: bool) -> None:
        self.symbol = symbol
        self.lose = lose
        self.messages: list[SilentMessage] = []
        self.size = 0


class Silences:
    """Connections that get no level3 messages, or none of a symbol, though everything else goes on."""

    def __init__(self) -> None:
        self._silences: WeakKeyDictionary[Connection, list[_Silence]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return len(self._silences) > 0

    def begin(self, connection: Connection, symbol: Optional[str], *, lose: bool) -> None:
        """From here on messages (None: of all symbols) are kept back, or lost; where it is silent already, nothing."""
        silences = self._silences.setdefault(connection, [])
        if all(silence.symbol != symbol for silence in silences):
            silences.append(_Silence(symbol, lose=lose))

    def keeps(self, connection: Connection, symbol: str, payload: bytes) -> bool:
        """Whether this message falls into a silence."""
        for silence in self._silences.get(connection, ()):
            if silence.symbol in (None, symbol):
                if not silence.lose:
                    silence.messages.append(SilentMessage(symbol, payload))
                    silence.size += len(payload)
                    if silence.size > _SILENT_BYTES:
                        connection.abort()
                        silence.lose = True
                return True
        return False

    def end(self, connection: Connection, symbol: Optional[str]) -> list[SilentMessage]:
        """The silence is over; what is to be sent now."""
        silences = self._silences.get(connection, [])
        ended = [silence for silence in silences if silence.symbol == symbol]
        for silence in ended:
            silences.remove(silence)
        if not silences:
            self._silences.pop(connection, None)
        return [message for silence in ended for message in silence.messages]


class UnfinishedBatches:
    """Updates that wait for the next of their symbol, to be sent with it as one message."""

    def __init__(self) -> None:
        self._first: WeakKeyDictionary[Connection, dict[str, bytes]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return len(self._first) > 0

    def begin(self, connection: Connection, symbol: str, payload: bytes) -> None:
        """This update waits."""
        self._first.setdefault(connection, {})[symbol] = payload

    def take(self, connection: Connection, symbol: str) -> Optional[bytes]:
        """The update that waits for this symbol's next message; it waits no longer."""
        waiting = self._first.get(connection, {})
        first = waiting.pop(symbol, None)
        if not waiting:
            self._first.pop(connection, None)
        return first
