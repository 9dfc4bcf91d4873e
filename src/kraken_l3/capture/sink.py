"""From the event loop to the disk: a queue bounded in bytes, and the one thread that writes.

The loop never waits for the disk, and the disk never waits for a parser. Frames and journal records count against the
same limit: when it is reached the connections stop reading, and they resume once half of the queue is written. One
`SinkListener` is told of changes of queue and disk, in the loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Callable, NamedTuple, Optional, Protocol

from kraken_l3.archive.journal import Alive, Control, GapClosed, Record, Unrecognised, decode_record, encode_record
from kraken_l3.errors import DiskFull, KrakenL3Error, LocalFault
from kraken_l3.model.frames import Frame
from kraken_l3.model.histogram import FSYNC_BOUNDS_S, Histogram
from kraken_l3.redaction import SECRETS

__all__ = ["Observer", "RecordObserver", "Sink", "SinkLimits", "SinkListener", "Writer"]

#: Memory of a queued frame besides its payload (objects and references, measured on CPython 3.11).
FRAME_OVERHEAD_BYTES = 300
#: The same for a journal record, besides its JSON.
RECORD_OVERHEAD_BYTES = 1_000
#: The writer takes this many items at a time, so that the copy which joins them stays small.
BATCH_ITEMS = 8192

_RECORD = ""
_RESTART_DAY = "\0"


class SinkLimits(NamedTuple):
    """Limits of the queue, and how often its thread acts.

    Attributes:
        queue_bytes: memory of queued items at which reading stops.
        wake_bytes: this much in the queue wakes the writer before its interval ends.
        flush_interval_s: seconds after which the writer takes what is queued, at the latest.
        fsync_interval_s: seconds between two syncs.
        disk_probe_s: on a full disk, seconds between two checks for free space.
        held_records: journal records kept in memory when even the reserve is used up; enough for one gap a symbol.
    """

    queue_bytes: int = 32 * 1024 * 1024
    wake_bytes: int = 1024 * 1024
    flush_interval_s: float = 0.2
    fsync_interval_s: float = 1.0
    disk_probe_s: float = 5.0
    held_records: int = 10_000


class Writer(Protocol):
    """The archive, as the sink uses it: from one thread only."""

    @property
    def last_written_ns(self) -> int:
        """Receive time of the last data frame that is in the archive (0: none yet)."""

    @property
    def frames_written(self) -> int:
        """How many are, of this run."""

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        """Write frames to a stream's file of the day."""

    def journal(self, record: Record) -> None:
        """Write a journal record."""

    def flush(self) -> None:
        """Hand everything to the operating system."""

    def sync(self) -> None:
        """Have everything on disk, and a sync point in the journal."""

    def resume(self) -> bool:
        """After `DiskFull`: whether there is room again."""

    def restart_day(self, now_ns: int) -> None:
        """After a big step of the clock: go on in the day that it shows now."""

    def close(self) -> None:
        """Sync and let go of the directory."""


class Observer(Protocol):
    """Called with what was written, in the writer's thread; must be quick."""

    def __call__(self, stream: str, frames: Sequence[Frame]) -> None:
        """A batch of one stream was written."""


#: Called with each journal record, in the event loop; must be quick.
RecordObserver = Callable[[Record], None]


class SinkListener(Protocol):
    """Hears of changes of queue and disk, in the event loop."""

    def on_full(self, queued_bytes: int) -> None:
        """The queue is full: stop reading."""

    def on_room(self) -> None:
        """Half of the queue is written: read again."""

    def on_disk_full(self, kept_until_ns: int) -> None:
        """The disk is full. Frames received after `kept_until_ns` are lost (0: all of this run)."""

    def on_close_lost(self, record: GapClosed) -> None:
        """The disk is full, and the snapshot that closed this gap is among what is lost: the gap is open still."""

    def on_disk_ok(self) -> None:
        """The disk has room again."""

    def on_fault(self, error: KrakenL3Error) -> None:
        """Nothing more can be written."""


class Sink:
    """See the module. `put` and `journal` belong to the event loop's thread.

    Args:
        writer: the archive.
        listener: told of queue and disk.
        limits: see `SinkLimits`.
        observer: looks at what was written.
        record_observer: looks at what is journalled.
    """

    def __init__(
        self,
        writer: Writer,
        listener: SinkListener,
        limits: SinkLimits = SinkLimits(),  # noqa: B008 - immutable
        observer: Optional[Observer] = None,
        record_observer: Optional[RecordObserver] = None,
    ) -> None:
        self._writer = writer
        self._listener = listener
        self._limits = limits
        self._observer = observer
        self._record_observer = record_observer
        self._queue: deque[tuple[str, Any, int]] = deque()
        # Two counts with one writer each instead of one with two: no lock on the way of a frame.
        self._put_bytes = 0  # counted by the loop's thread only
        self._taken_bytes = 0  # counted by the writer's thread only
        self._wake = threading.Event()
        self._stopping = False
        self._full = False
        self._disk_is_full = False
        self._probe_at = 0.0
        self._held: deque[Record] = deque(maxlen=limits.held_records)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._fault: Optional[KrakenL3Error] = None
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self.written_bytes = 0
        #: Seconds that each sync took.
        self.syncs = Histogram.of(FSYNC_BOUNDS_S)

    # -- the event loop's side -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the writer's thread; the listener is called in the current event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def put(self, stream: str, frame: Frame) -> None:
        """Queue one frame. Never blocks and never drops: a full queue is for the listener to act on."""
        self._enqueue(stream, frame, len(frame[0]) + FRAME_OVERHEAD_BYTES)

    def journal(self, record: Record) -> None:
        """Queue one journal record, in order with the frames, without secrets that a server put into it."""
        text = encode_record(record).decode("latin-1")  # a character a byte; secrets are ASCII
        redacted = SECRETS.redact(text)
        if redacted != text:
            record = decode_record(redacted.encode("latin-1"))
        self._enqueue(_RECORD, record, len(text) + RECORD_OVERHEAD_BYTES)
        if self._record_observer is not None:
            self._record_observer(record)

    def restart_day(self, now_ns: int) -> None:
        """Queue a new start of the day, in order with the frames."""
        self._enqueue(_RESTART_DAY, now_ns, RECORD_OVERHEAD_BYTES)

    def _enqueue(self, kind: str, item: Any, size: int) -> None:
        self._queue.append((kind, item, size))
        self._put_bytes += size
        queued = self._put_bytes - self._taken_bytes
        # Fewer bytes wait for the flush interval: a wake-up a frame would cost more than writing it.
        if queued >= self._limits.wake_bytes:
            self._wake.set()
            if queued >= self._limits.queue_bytes and not self._full:
                self._full = True
                self._listener.on_full(queued)

    @property
    def queued_bytes(self) -> int:
        """Memory taken by what is not written yet, in bytes."""
        return self._put_bytes - self._taken_bytes

    @property
    def written_frames(self) -> int:
        """Data frames that are in the archive, of this run."""
        return self._writer.frames_written

    @property
    def limit_bytes(self) -> int:
        """Reading stops when so many bytes are queued."""
        return self._limits.queue_bytes

    @property
    def is_full(self) -> bool:
        """Whether the connections must not read."""
        return self._full

    @property
    def disk_is_full(self) -> bool:
        """Whether nothing but the journal is written until the disk has room."""
        return self._disk_is_full

    async def stop(self) -> None:
        """Write what is queued, sync, and close the archive.

        Raises:
            LocalFault: not everything could be written, now or earlier.
        """
        self._stopping = True
        self._wake.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        if self._fault is not None:
            raise self._fault

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed already: nobody is left to be told
            return

    # -- the writer's side ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._guard(self._write_until_stopped)
        self._guard(self._writer.close)

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except KrakenL3Error as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the recorder must hear of it and stop
            self._fail(LocalFault(f"the archive writer failed: {type(error).__name__}: {error}", where="archive"))

    def _fail(self, fault: KrakenL3Error) -> None:
        if self._fault is None:
            self._fault = fault
            self._tell(self._listener.on_fault, fault)

    def _write_until_stopped(self) -> None:
        next_sync = time.monotonic()
        while True:
            if len(self._queue) < BATCH_ITEMS:
                self._wake.wait(self._limits.flush_interval_s)
                self._wake.clear()
            stopping = self._stopping  # read before the queue, so that nothing put before `stop` is left behind
            items = self._take()
            if self._disk_is_full:
                if time.monotonic() >= self._probe_at:
                    self._probe_disk()
                    self._probe_at = time.monotonic() + self._limits.disk_probe_s
                self._write_records([item for stream, item, _ in items if stream == _RECORD])
                self._count_taken(items)
            else:
                next_sync = self._write(items, next_sync)
            if self._full and self._has_room():
                self._tell(self._go_on)
            if stopping and not self._queue:
                return

    def _take(self) -> list[tuple[str, Any, int]]:
        # popleft by count is safe while the other thread appends; swapping the deque would not be
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_ITEMS))]

    def _write(self, items: list[tuple[str, Any, int]], next_sync: float) -> float:
        groups = deque((stream, deque(item for _, item, _ in group)) for stream, group in groupby(items, itemgetter(0)))
        try:
            while groups:
                self._write_group(*groups[0])
                groups.popleft()
            self._writer.flush()
            if (began := time.monotonic()) >= next_sync:
                self._writer.sync()
                next_sync = time.monotonic() + self._limits.fsync_interval_s
                self.syncs.add(time.monotonic() - began)
        except DiskFull:
            self._disk_is_full = True
            self._probe_at = time.monotonic() + self._limits.disk_probe_s  # not before the connections have ended
            self._tell(self._listener.on_disk_full, self._writer.last_written_ns)
            self._write_records([item for stream, group in groups if stream == _RECORD for item in group])
        finally:
            self._count_taken(items)
        return next_sync

    def _count_taken(self, items: list[tuple[str, Any, int]]) -> None:
        self._taken_bytes += sum(size for _, _, size in items)

    def _write_group(self, stream: str, group: deque[Any]) -> None:
        """Write what stands together; records leave the group one by one, so that a full disk repeats none."""
        if stream == _RECORD:
            while group:
                self._writer.journal(group[0])
                group.popleft()
        elif stream == _RESTART_DAY:
            self._writer.restart_day(group[-1])
        else:
            frames = list(group)
            self._writer.append(stream, frames)
            self.written_bytes += sum(len(frame.payload) + 1 for frame in frames)
            if self._observer is not None:
                self._observer(stream, frames)

    def _write_records(self, records: Sequence[Record]) -> None:
        """On a full disk the reserve carries the journal; the frames that were under way are in the gap it tells of.

        A gap that closed with one of those frames is not closed: its snapshot is not in the archive.
        """
        for record in records:
            if isinstance(record, GapClosed) and record.right_ns > max(self._writer.last_written_ns, record.left_ns):
                self._tell(self._listener.on_close_lost, record)
                continue
            try:
                self._writer.journal(record)
            except DiskFull:
                # Even the reserve is used up. A weekend of these would push out the records that matter, the gaps.
                if not isinstance(record, (Alive, Control, Unrecognised)):
                    self._held.append(record)

    def _probe_disk(self) -> None:
        if not self._writer.resume():
            return
        self._disk_is_full = False
        held, self._held = self._held, deque(maxlen=self._limits.held_records)
        self._write_records(list(held))
        self._tell(self._listener.on_disk_ok)

    def _has_room(self) -> bool:
        return self.queued_bytes <= self._limits.queue_bytes // 2

    def _go_on(self) -> None:
        """In the event loop, as `put` is, so that the listener never hears of full and of room in the wrong order."""
        if self._full and self._has_room():
            self._full = False
            self._listener.on_room()
