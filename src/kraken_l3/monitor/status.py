"""The state of a running recorder at one moment, as plain values: one JSON line a second for whoever shows it.

The recorder collects it once (`app.status`). The live table, the service manager, alerts, `status`, `top`, the metrics
and the health check are functions of it.
"""

from __future__ import annotations

from typing import Optional

import msgspec

from kraken_l3.model.histogram import FSYNC_BOUNDS_S, LAG_BOUNDS_S, Histogram
from kraken_l3.model.json_text import decode_json

__all__ = [
    "ClockStatus",
    "ConnectionStatus",
    "DiskStatus",
    "RecorderStatus",
    "RelayStatus",
    "SymbolStatus",
    "VerifierStatus",
    "decode_status",
    "encode_status",
]


class SymbolStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One symbol.

    Attributes:
        symbol: its name.
        connection: number of the connection that carries it (0: none now).
        state: one word: waiting, subscribed, recording, rejected, ...
        messages: level3 messages written since the start.
        rate: recent messages per second.
        lag_s: receive time minus the exchange's timestamp, of the last message (None: none yet).
        last_message_ns: receive time of its last message, ns since 1970 (None: none yet).
        last_snapshot_ns: receive time of its last snapshot (None: none yet).
        gaps: gaps since the start.
        gap_cause: why it has an open gap ("": it has none).
        gap_since_ns: the left edge of that gap.
    """

    symbol: str
    connection: int
    state: str
    messages: int = 0
    rate: float = 0.0
    lag_s: Optional[float] = None
    last_message_ns: Optional[int] = None
    last_snapshot_ns: Optional[int] = None
    gaps: int = 0
    gap_cause: str = ""
    gap_since_ns: int = 0


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An open connection, or one that is being opened.

    Attributes:
        number: as in receipts and journal.
        channel: level3, trade or instrument.
        symbols: how many it carries.
        last_frame_ns: receive time of its last frame of any kind (0: none yet).
    """

    number: int
    channel: str
    symbols: int
    last_frame_ns: int


class VerifierStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The live verifier.

    Attributes:
        ok: messages whose book agrees with Kraken's checksum, since the verifier started.
        mismatched: messages whose book does not.
        symbols: how many it has seen.
        not_synced: those whose book is not right at the moment.
        lag_s: receive time of the last message written minus that of the last one verified (None: not known yet).
        restarts: how often it was started again.
    """

    ok: int = 0
    mismatched: int = 0
    symbols: int = 0
    not_synced: list[str] = []
    lag_s: Optional[float] = None
    restarts: int = 0


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The relay.

    Attributes:
        url: where programs reach it ("": it does not run, or does not listen yet).
        clients: connections of programs.
        lag_s: receive time of the last message written minus that of the last one passed on (None: not known yet).
        restarts: how often it was started again.
    """

    url: str = ""
    clients: int = 0
    lag_s: Optional[float] = None
    restarts: int = 0


class DiskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The archive's file system; None where nothing tells.

    Attributes:
        free_bytes: free space.
        seconds_to_full: until it is full, if things go on as in the last hour.
        mark: "fine", "low" (a warning), or "scarce": only recording goes on, nothing is verified or sealed.
        is_full: nothing but the journal is written until there is room.
    """

    free_bytes: Optional[int] = None
    seconds_to_full: Optional[float] = None
    mark: str = "fine"
    is_full: bool = False


class ClockStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock, as the kernel knows it without asking anybody; None where it does not tell.

    Attributes:
        synchronised: whether a daemon keeps it right.
        offset_s: what the kernel has still to correct.
        error_s: the largest error that the daemon vouches for.
    """

    synchronised: Optional[bool] = None
    offset_s: Optional[float] = None
    error_s: Optional[float] = None


class RecorderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole recorder. All counts are since its start.

    Attributes:
        now_ns: when this was true, ns since 1970.
        since_ns: when the recorder started.
        directory: of the archive.
        pid: of the recorder (0: not told).
        host: the machine's name.
        version: of the recorder.
        rows: one per symbol, in any order.
        messages: messages of all channels written.
        rate: recent messages per second of all channels.
        frames: messages written, by channel.
        written_bytes: bytes of data written.
        queue_bytes: bytes waiting to be written.
        queue_limit_bytes: reading pauses when so many wait.
        paused: reading is paused, because the disk cannot keep up.
        reconnects: connections that ended or could not be made.
        connections: those that are open or being opened.
        gaps_by_cause: gaps of all symbols and channels; those of an orderly stop are not counted.
        resyncs: symbols subscribed again because of their book, by cause.
        findings: what the verifier found wrong, by kind.
        handovers: how often another connection took a symbol over.
        without_standby: symbols that no other connection could go on with now (None: there is one connection for each).
        rejections: subscriptions that Kraken refused.
        lag: seconds from the exchange's timestamp to the receipt; a sample, weighted to stand for all messages.
        fsync: seconds that each sync of the archive took.
        verifier: None: it does not run.
        relay: None: there is none.
        disk: see `DiskStatus`.
        clock: see `ClockStatus`.
        stopped: the recording was told to stop; this is its state at that time.
    """

    now_ns: int
    since_ns: int
    directory: str
    rows: list[SymbolStatus]
    pid: int = 0
    host: str = ""
    version: str = ""
    messages: int = 0
    rate: float = 0.0
    frames: dict[str, int] = {}
    written_bytes: int = 0
    queue_bytes: int = 0
    queue_limit_bytes: int = 0
    paused: bool = False
    reconnects: int = 0
    connections: list[ConnectionStatus] = []
    gaps_by_cause: dict[str, int] = {}
    resyncs: dict[str, int] = {}
    findings: dict[str, int] = {}
    handovers: int = 0
    without_standby: Optional[int] = None
    rejections: int = 0
    lag: Histogram = msgspec.field(default_factory=lambda: Histogram.of(LAG_BOUNDS_S))
    fsync: Histogram = msgspec.field(default_factory=lambda: Histogram.of(FSYNC_BOUNDS_S))
    verifier: Optional[VerifierStatus] = None
    relay: Optional[RelayStatus] = None
    disk: DiskStatus = DiskStatus()
    clock: ClockStatus = ClockStatus()
    stopped: bool = False

    @property
    def recording(self) -> int:
        """How many symbols are being recorded."""
        return sum(row.state == "recording" for row in self.rows)

    @property
    def gaps(self) -> int:
        """Gaps of all symbols."""
        return sum(row.gaps for row in self.rows)

    def headline(self) -> str:
        """One line for a status display."""
        if not self.rows:
            return "waiting for Kraken's list of pairs"
        gaps = f"{self.gaps:,} gap{'' if self.gaps == 1 else 's'}"
        return f"{self.recording} of {len(self.rows)} symbols recording, {self.rate:,.0f} messages/s, {gaps}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecorderStatus)


def encode_status(status: RecorderStatus) -> bytes:
    """One line, without its newline."""
    return _encoder.encode(status)


def decode_status(line: bytes) -> RecorderStatus:
    """The inverse.

    Raises:
        MalformedMessage: the line is no status of this version.
    """
    status: RecorderStatus = decode_json(_decoder, line)
    return status
