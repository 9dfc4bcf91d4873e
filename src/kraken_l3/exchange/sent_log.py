"""What was handed to the sockets, exactly and in order: what a recording is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

__all__ = ["Sent", "SentLog"]

_MEMORY_BYTES = 256 * 1024 * 1024


class Sent(NamedTuple):
    """One message as handed to a socket.

    Attributes:
        connection: the connection's number, from 1.
        channel: "level3", "trade", "instrument", "status", "heartbeat", "answer" or "fault" (sent by a
            fault, no part of the protocol).
        payload: its bytes.
    """

    connection: int
    channel: str
    payload: bytes


class SentLog:
    """Keeps messages in memory up to a bound, and level3 messages in a file when asked to.

    Args:
        keep: whether to keep messages in memory.
        path: a file for the level3 payloads, one a line in order; beside it `<path>.connections`, one number a line.
        memory_bytes: bound of the memory; beyond it nothing more is kept and `whole` turns False.
    """

    def __init__(self, *, keep: bool = True, path: Optional[Path] = None, memory_bytes: int = _MEMORY_BYTES) -> None:
        self.messages: list[Sent] = []
        self.whole = keep
        self.count = 0
        self.level3_count = 0
        self._room = memory_bytes
        self._keep = keep
        self._lines = path.open("wb") if path is not None else None
        self._numbers = Path(f"{path}.connections").open("wb") if path is not None else None  # noqa: SIM115 - see close

    def add(self, connection: int, channel: str, payload: bytes) -> None:
        """Notes a message that was handed to a socket."""
        self.count += 1
        if channel == "level3":
            self.level3_count += 1
            if self._lines is not None and self._numbers is not None:
                self._lines.write(payload + b"\n")
                self._numbers.write(b"%d\n" % connection)
        if self._keep and channel != "heartbeat":
            self._room -= len(payload)
            self._keep = self.whole = self._room >= 0
            if self._keep:
                self.messages.append(Sent(connection, channel, payload))

    def add_all(self, connection: int, messages: Sequence[tuple[str, bytes, bytes, float]]) -> None:
        """Notes messages that were handed to a socket; of each, channel and payload come first."""
        if self._keep or self._lines is not None:
            for channel, payload, _, _ in messages:
                self.add(connection, channel, payload)
        else:
            self.count += len(messages)
            self.level3_count += sum([channel == "level3" for channel, _, _, _ in messages])

    def payloads(self, connection: Optional[int] = None, channel: str = "level3") -> list[bytes]:
        """The payloads of one channel, of one connection or of all, in order."""
        return [m.payload for m in self.messages if m.channel == channel and connection in (None, m.connection)]

    def flush(self) -> None:
        """Hands the files' content to the operating system."""
        for file in (self._lines, self._numbers):
            if file is not None:
                file.flush()

    def close(self) -> None:
        """Closes the files."""
        for file in (self._lines, self._numbers):
            if file is not None:
                file.close()
        self._lines = self._numbers = None
