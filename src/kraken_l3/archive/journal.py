"""The journal: what happened around the data, one JSON object a line, as typed records.

Every record carries `at_ns` (wall clock) and `mono_ns`; `kind` says which record it is. `restated` marks a record that
is repeated at the head of a new day's file, so that each day reads alone; it keeps the `at_ns` of the fact it repeats.
`JournalState` folds records into what holds now: this is what a new day restates, what `info` lists, what recovery
closes.
"""

# No postponed annotations here: msgspec would have to evaluate each, which takes half of this module's start.

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any, Optional, Union, get_args

import msgspec
from msgspec import Meta

from kraken_l3.archive.receipts import MAX_CONNECTION
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.json_text import decode_json

__all__ = [
    "Acknowledged",
    "AlignedByContent",
    "Alive",
    "ClockStep",
    "Conflict",
    "Connected",
    "Control",
    "Difference",
    "Disconnected",
    "Disk",
    "Finding",
    "GapClosed",
    "GapOpened",
    "HandedOver",
    "Instruments",
    "JournalState",
    "MergedSource",
    "NotSpliced",
    "OutOfStep",
    "Record",
    "Recovered",
    "Rejected",
    "Repaired",
    "Resync",
    "Rotated",
    "Started",
    "Stopped",
    "SyncPoint",
    "TradeGap",
    "Unrecognised",
    "decode_record",
    "decode_records",
    "encode_record",
    "is_damaged",
]


# A journal may come from anyone. What lies outside of these ranges is no record: every reader may count on them.
_Time = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Connection = Annotated[int, Meta(ge=0, le=MAX_CONNECTION)]


class _Base(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    at_ns: _Time
    mono_ns: _Time = 0
    restated: bool = False


class Started(_Base, frozen=True, kw_only=True, tag="start"):
    """The recorder started. `config` is the effective configuration without secrets."""

    version: str
    host: str
    boot_id: str
    pid: _Count
    config: dict[str, Any]


class Connected(_Base, frozen=True, kw_only=True, tag="connect"):
    """A WebSocket connection is open. `connection` is the number that receipts carry."""

    connection: _Connection
    url: str
    channel: str
    symbols: list[str]
    extensions: str = ""


class Disconnected(_Base, frozen=True, kw_only=True, tag="disconnect"):
    """A connection is over. `last_frame_ns` is the receive time of its last frame of any kind (0: there was none)."""

    connection: _Connection
    cause: str
    detail: str = ""
    close_code: Optional[int] = None
    last_frame_ns: _Time = 0


class Control(_Base, frozen=True, kw_only=True, tag="control"):
    """A control frame other than heartbeat and pong, as text (status, acknowledgement, rejection).

    `left_out` counts the control frames before this one that came too fast to be kept.
    """

    connection: _Connection
    frame: str
    left_out: int = 0


class Unrecognised(_Base, frozen=True, kw_only=True, tag="unrecognised"):
    """A frame that is neither control nor data: its size, its running number, its first 64 KiB (latin-1 for its
    bytes)."""

    connection: _Connection
    size: _Count
    count: _Count
    frame: str


class Acknowledged(_Base, frozen=True, kw_only=True, tag="ack"):
    """Kraken accepted a subscription. `depth` is the one subscribed (None for channels that have none)."""

    connection: _Connection
    channel: str
    symbol: str
    depth: Optional[_Count] = None


class Rejected(_Base, frozen=True, kw_only=True, tag="rejected"):
    """Kraken refused a subscription; `retry_s` says when it is asked for again."""

    connection: _Connection
    channel: str
    symbol: str
    error: str
    retry_s: float = 0.0


class GapOpened(_Base, frozen=True, kw_only=True, tag="gap_opened"):
    """From `left_ns` (the last moment known good) on, the symbol's data is missing.

    Causes: network, closed, protocol, silence, writer, disk, clock, rejected, mismatch, silent_symbol, lost, crash,
    fault, redial, stop.
    """

    channel: str
    symbol: str
    cause: str
    left_ns: _Time
    connection: _Connection = 0


class GapClosed(_Base, frozen=True, kw_only=True, tag="gap_closed"):
    """The symbol's data is whole again from the snapshot received at `right_ns`."""

    channel: str
    symbol: str
    cause: str
    left_ns: _Time
    right_ns: _Time
    connection: _Connection = 0


class HandedOver(_Base, frozen=True, kw_only=True, tag="handover"):
    """From here on the symbol's data comes from another connection, and nothing is missing between: `bridged` messages
    of it follow the last one archived before. A gap of the symbol that is open here never was one.

    `matched` says how its place was found: by "bytes", "content", "untimed" content, "snapshot" (the last message
    archived and the connection's snapshot have one checksum, and nothing came between), "silence" (nothing came on
    either side), "trade_id". `previous` is the connection that had delivered before (0: that of an earlier recorder).
    `cause`: that of the gap which there would have been, or "stall" (the other connection delivered nothing of the
    symbol any more). `behind` messages of the data were still to come from this connection, and are left out when they
    come.
    """

    channel: str
    symbol: str
    connection: _Connection
    matched: str
    bridged: _Count = 0
    previous: _Connection = 0
    cause: str = ""
    behind: _Count = 0


class Difference(_Base, frozen=True, kw_only=True, tag="difference"):
    """A follower received messages of a symbol that its leader did not. `leader_only`: how many the leader alone had at
    the same place.

    `outcome`: "filled" (archived in their place, nothing is missing), "lost" (it was too late for that) or "conflict"
    (both had something else). `kept` lines of the day's `follower-D.ndjson` have the last message before them that both
    received, those messages, and the first behind them.
    """

    symbol: str
    outcome: str
    leader: _Connection
    follower: _Connection
    leader_only: _Count
    follower_only: _Count
    kept: _Count = 0


class OutOfStep(_Base, frozen=True, kw_only=True, tag="out_of_step"):
    """It is not known any more where a follower stands beside the data of a symbol: it cannot take over until it is."""

    symbol: str
    connection: _Connection
    reason: str


class TradeGap(_Base, frozen=True, kw_only=True, tag="trade_gap"):
    """The trade_id sequence of a symbol jumped: ids after `last_id` and before `next_id` were not received."""

    symbol: str
    last_id: _Count
    next_id: _Count
    connection: _Connection


class Finding(_Base, frozen=True, kw_only=True, tag="finding"):
    """The verifier saw something wrong at a line of the day's level3 file (line counts from 0)."""

    symbol: str
    what: str
    line: _Count
    offset: _Count
    detail: str = ""
    expected: Optional[int] = None
    computed: Optional[int] = None


class Resync(_Base, frozen=True, kw_only=True, tag="resync"):
    """A symbol is unsubscribed and subscribed again. `attempt` counts from 1 since it was last good."""

    symbol: str
    cause: str
    attempt: _Count
    connection: _Connection


class Instruments(_Base, frozen=True, kw_only=True, tag="instruments"):
    """The precisions and states of the recorded symbols, as last known."""

    instruments: list[Instrument]


class ClockStep(_Base, frozen=True, kw_only=True, tag="clock_step"):
    """The wall clock moved against the monotonic clock by `step_ns` (negative: back) since the last `alive`."""

    step_ns: _Time


class SyncPoint(_Base, frozen=True, kw_only=True, tag="sync"):
    """All bytes of each named file up to the given offset are on disk (fsync returned).

    `lines` counts whole lines of each data file at that offset.
    """

    offsets: dict[str, _Count]
    lines: dict[str, _Count]


class Alive(_Base, frozen=True, kw_only=True, tag="alive"):
    """Written every 10 s: the last frame of any kind on each open connection, and the data lines so far today."""

    last_frame_ns: dict[_Connection, _Time]
    lines: _Count = 0


class Disk(_Base, frozen=True, kw_only=True, tag="disk"):
    """The disk became full (`state` "full") or has room again ("ok")."""

    state: str
    free_bytes: _Count


class Recovered(_Base, frozen=True, kw_only=True, tag="recovery"):
    """What start-up found after an unclean end, and did. `torn` lists ranges moved aside: (offset, length, reason).

    Offsets are those of the file before the repair; the bytes stand, in this order, in `torn_file`.
    """

    file: str
    torn: list[tuple[_Count, _Count, str]]
    torn_file: str = ""
    receipts_cut: _Count = 0
    receipts_padded: _Count = 0
    last_known_ns: _Time = 0


class Rotated(_Base, frozen=True, kw_only=True, tag="rotated"):
    """The last record of a day: its files are complete and never written again; the writer went on in `next_day`."""

    next_day: dt.date


class Stopped(_Base, frozen=True, kw_only=True, tag="stop"):
    """The recorder ended in order; `reason` is the signal or "duration"."""

    reason: str


class MergedSource(_Base, frozen=True, kw_only=True, tag="source"):
    """An archive that a merge took this one from; `l3-D.sources` counts them from 0, in this order.

    `lines` came from it, of the `read` that it has; `left_out` were damaged and no other source had them. Its clock is
    ahead of source 0's by `clock_ahead_ns`, by the median of the messages that both received (None: there are none).
    Nothing was aligned by that.
    """

    source: _Count
    name: str
    version: str = ""
    first_ns: _Time = 0
    last_ns: _Time = 0
    read: _Count = 0
    lines: _Count = 0
    left_out: _Count = 0
    clock_ahead_ns: Optional[_Time] = None


class Repaired(_Base, frozen=True, kw_only=True, tag="repaired"):
    """Messages that a source had lost were taken from another one.

    The edges are receive times of the source that lost them, `cause` is its own journal's, or "lost" where it did not
    know. `proof`: "book" (order by order at its next snapshot), "checksums" (they agree with the messages and not
    without them), "unseen" (they agree either way: the messages change nothing that the checksum covers), "none".
    """

    symbol: str
    cause: str
    left_ns: _Time
    right_ns: _Time
    source: _Count
    taken_from: _Count
    lines: _Count
    proof: str


class Conflict(_Base, frozen=True, kw_only=True, tag="conflict"):
    """Two sources have different content at the same place. That of `source` is in the data, that of `other` is a line
    of the day's `l3-D.conflicts`: the n-th of these records tells of its n-th line."""

    channel: str
    symbol: str
    source: _Count
    other: _Count
    msg_ns: _Time


class AlignedByContent(_Base, frozen=True, kw_only=True, tag="aligned_by_content"):
    """A source has the messages of `beside` with timestamps of its own: until its next snapshot, checksum and entries
    alone tell which they are."""

    symbol: str
    source: _Count
    beside: _Count


class NotSpliced(_Base, frozen=True, kw_only=True, tag="not_spliced"):
    """Messages of a source could not be put beside those of `beside`, and are left out until its next snapshot."""

    symbol: str
    source: _Count
    beside: _Count
    reason: str


Record = Union[
    Started,
    Connected,
    Disconnected,
    Control,
    Unrecognised,
    Acknowledged,
    Rejected,
    GapOpened,
    GapClosed,
    HandedOver,
    TradeGap,
    Finding,
    Resync,
    Instruments,
    ClockStep,
    SyncPoint,
    Alive,
    Disk,
    Recovered,
    Rotated,
    Stopped,
    MergedSource,
    Repaired,
    Conflict,
    NotSpliced,
    AlignedByContent,
    Difference,
    OutOfStep,
]

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """One journal line, without its newline."""
    return _encoder.encode(record)


def decode_record(line: bytes) -> Record:
    """The inverse of `encode_record`.

    Raises:
        MalformedMessage: the line is no record of this version.
    """
    return decode_json(_decoder, line)


def decode_records(lines: bytes) -> Optional[list[Record]]:
    """Many whole lines in one step, a quarter of the time; None where any of them is not one record as we write it."""
    count = lines.count(b"\n")
    # newlines stand between records alone: the decoder would also take several records on a line, or one on several
    if not lines.startswith(b"{") or not lines.endswith(b"}\n") or lines.count(b"}\n{") != count - 1:
        return None
    try:
        records = _decoder.decode_lines(lines)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        return None
    return records if len(records) == count else None


class _Kind(msgspec.Struct):
    kind: str = ""


_kinds = msgspec.json.Decoder(_Kind)
_KNOWN = frozenset(kind.__struct_config__.tag for kind in get_args(Record))


def is_damaged(line: bytes) -> bool:
    """Whether a line belongs in no journal: neither a record nor of a kind that a later version may write."""
    try:
        decode_record(line)
    except MalformedMessage:
        try:
            return decode_json(_kinds, line).kind in _KNOWN
        except MalformedMessage:
            return True
    return False


class JournalState:
    """What holds now, folded from records: open connections, subscriptions, open gaps, instruments, the last start."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.started: Optional[Started] = None
        self.connections: dict[int, Connected] = {}
        self.subscriptions: dict[tuple[str, str], Acknowledged] = {}
        self.gaps: dict[tuple[str, str], GapOpened] = {}
        self.instruments: dict[str, Instrument] = {}
        self.last_frame_ns: dict[int, int] = {}
        for record in records:
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Fold one more record in."""
        if isinstance(record, (GapOpened, GapClosed, HandedOver)):
            self._apply_gap(record)
        elif isinstance(record, Alive):
            self.last_frame_ns.update(record.last_frame_ns)
        elif isinstance(record, Acknowledged):
            self.subscriptions[record.channel, record.symbol] = record
        elif isinstance(record, Connected):
            self.connections[record.connection] = record
        elif isinstance(record, Disconnected):
            self._drop_connection(record.connection)
        elif isinstance(record, Instruments):
            self.instruments.update((i.symbol, i) for i in record.instruments)
        elif isinstance(record, Started):
            self.started = record
            if not record.restated:
                self.connections.clear()
                self.subscriptions.clear()
                self.last_frame_ns.clear()

    def _apply_gap(self, record: Union[GapOpened, GapClosed, HandedOver]) -> None:
        key = (record.channel, record.symbol)
        if isinstance(record, GapOpened):
            self.gaps.setdefault(key, record)
        else:
            self.gaps.pop(key, None)
        if isinstance(record, HandedOver) and key in self.subscriptions:
            ack = self.subscriptions[key]
            self.subscriptions[key] = msgspec.structs.replace(ack, at_ns=record.at_ns, connection=record.connection)

    def _drop_connection(self, connection: int) -> None:
        self.connections.pop(connection, None)
        self.last_frame_ns.pop(connection, None)
        for key in [k for k, ack in self.subscriptions.items() if ack.connection == connection]:
            del self.subscriptions[key]

    def restate(self) -> list[Record]:
        """The records that make a new day's journal readable alone, marked `restated`."""
        records: list[Record] = [] if self.started is None else [self.started]
        records += self.connections.values()
        records += self.subscriptions.values()
        records += self.gaps.values()
        if self.last_frame_ns:
            records.append(Alive(at_ns=max(self.last_frame_ns.values()), last_frame_ns=dict(self.last_frame_ns)))
        if self.instruments:
            at_ns = self.started.at_ns if self.started else 0
            records.append(Instruments(at_ns=at_ns, instruments=list(self.instruments.values())))
        return [msgspec.structs.replace(record, restated=True) for record in records]
