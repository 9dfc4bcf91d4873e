"""The state of a running recorder at one moment, as plain values for the live table and the status line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

__all__ = ["RecorderView", "SymbolRow"]


@dataclass(frozen=True)
class SymbolRow:
    """One symbol.

    Attributes:
        symbol: its name.
        connection: number of the connection that carries it (0: none now).
        state: one word: waiting, subscribed, recording, rejected, ...
        messages: level3 messages written since the start.
        rate: recent messages per second.
        lag_s: receive time minus the exchange's timestamp, of the last message (None: none yet).
        last_snapshot_ns: receive time of its last snapshot, ns since 1970 (None: none yet).
        gaps: gaps since the start.
    """

    symbol: str
    connection: int
    state: str
    messages: int
    rate: float
    lag_s: Optional[float]
    last_snapshot_ns: Optional[int]
    gaps: int


@dataclass(frozen=True)
class RecorderView:
    """The whole recorder.

    Attributes:
        now_ns: when this was true, ns since 1970.
        since_ns: when the recorder started.
        directory: of the archive.
        rows: one per symbol, in any order.
        messages: messages of all channels written since the start.
        rate: recent messages per second of all channels.
        written_bytes: bytes of data written since the start.
        queue_bytes: bytes waiting to be written.
        disk_free_bytes: free space on the archive's file system (None: unknown).
        reconnects: connections that ended or could not be made since the start.
        verified: messages whose book agrees with Kraken's checksum (None: no verifier runs).
        mismatched: those whose book does not.
        stopped: the recording was told to stop; this is its state at that time.
    """

    now_ns: int
    since_ns: int
    directory: str
    rows: Sequence[SymbolRow]
    messages: int
    rate: float
    written_bytes: int
    queue_bytes: int
    disk_free_bytes: Optional[int]
    reconnects: int = 0
    verified: Optional[int] = None
    mismatched: int = 0
    stopped: bool = False

    @property
    def recording(self) -> int:
        """How many symbols are being recorded."""
        return sum(row.state == "recording" for row in self.rows)

    @property
    def gaps(self) -> int:
        """Gaps of all symbols since the start."""
        return sum(row.gaps for row in self.rows)

    def headline(self) -> str:
        """One line for a status display."""
        if not self.rows:
            return "waiting for Kraken's list of pairs"
        return (
            f"{self.recording} of {len(self.rows)} symbols recording, {self.rate:,.0f} messages/s, {_gaps(self.gaps)}"
        )


def _gaps(count: int) -> str:
    return f"{count:,} gap{'' if count == 1 else 's'}"
