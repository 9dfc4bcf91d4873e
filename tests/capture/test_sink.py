"""The queue to the disk, alone: with writers played."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from kraken_l3.archive.journal import Alive, Control, GapClosed, GapOpened
from kraken_l3.capture.sink import Sink, SinkLimits
from kraken_l3.errors import DiskFull, LocalFault, SyncFailed
from kraken_l3.model.frames import Frame
from recording import run

WAIT_S = 10.0


class PlayedWriter:
    """Keeps what it is given; its disk does as told."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.going.set()
        self.is_full = self.journal_is_full = False
        self.close_error: Any = None
        self.last_written_ns = self.frames_written = 0
        self.frames: list[Frame] = []
        self.records: list[Any] = []

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        self.going.wait(WAIT_S)
        if self.is_full:
            raise DiskFull("no space left on device", where=stream)
        self.frames += frames
        self.last_written_ns = frames[-1].recv_ns

    def journal(self, record: Any) -> None:
        if self.journal_is_full:
            raise DiskFull("no space left on device", where="journal")
        self.records.append(record)

    def flush(self) -> None:
        """All is kept already."""

    sync = flush

    def resume(self) -> bool:
        return not self.is_full

    def close(self) -> None:
        if self.close_error is not None:
            raise self.close_error


def frame(recv_ns: int, size: int = 10) -> Frame:
    return Frame(b"x" * size, recv_ns, recv_ns, 1)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.sink: Any = None

    def on_full(self, queued_bytes: int) -> None:
        self.told.append("full")

    def on_room(self) -> None:
        self.told.append(("room", self.sink.queued_bytes))

    def on_disk_full(self, kept_until_ns: int) -> None:
        self.told.append(("disk full", kept_until_ns))

    def on_close_lost(self, record: Any) -> None:
        self.told.append(record)

    def on_disk_ok(self) -> None:
        self.told.append("disk ok")

    def on_fault(self, error: Exception) -> None:
        self.told.append(error)


def sink_over(writer: PlayedWriter, **limits: Any) -> tuple[Sink, list[Any]]:
    """A running sink, and what its listener is told."""
    listener = Listener()
    sink = listener.sink = Sink(writer, listener, SinkLimits(flush_interval_s=0.01, fsync_interval_s=1, **limits))
    sink.start()
    return sink, listener.told


async def until(condition: Any) -> None:
    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), WAIT_S)


def test_a_full_disk_says_what_is_kept() -> None:
    """The edge is taken when the disk fills up: by the time the loop hears of it there may be room again."""

    async def main() -> None:
        writer = PlayedWriter()
        sink, told = sink_over(writer, disk_probe_s=0.01)
        sink.put("level3", frame(1))
        await until(lambda: writer.frames)
        writer.is_full = True
        sink.put("level3", frame(2))
        while not sink._disk_is_full:  # the loop does not run meanwhile
            pass
        writer.is_full = False
        sink._wake.set()
        while sink._disk_is_full:
            pass
        sink.put("level3", frame(3))
        while len(writer.frames) < 2:
            pass
        await until(lambda: told)
        assert told[0] == ("disk full", 1)
        await sink.stop()

    run(main())


def test_what_was_lost_is_only_heard_of_before_there_is_room_again() -> None:
    async def main() -> None:
        writer = PlayedWriter()
        sink, told = sink_over(writer)
        writer.is_full = True
        sink.put("level3", frame(1))
        await until(lambda: told)
        writer.is_full = False
        sink.put("level3", frame(2))
        await until(lambda: not sink.queued_bytes)
        assert told == [("disk full", 0)]  # room is looked for after disk_probe_s, not at once
        assert writer.frames == []
        await sink.stop()

    run(main())


def test_room_is_not_told_when_the_queue_has_filled_up_again() -> None:
    async def main() -> None:
        writer = PlayedWriter()
        sink, told = sink_over(writer, queue_bytes=10_000, wake_bytes=1_000)
        sink.put("level3", frame(1, 20_000))
        sink._wake.set()
        while sink.queued_bytes:  # the loop does not run meanwhile
            pass
        writer.going.clear()
        sink.put("level3", frame(2, 20_000))
        await asyncio.sleep(0.05)
        assert told == ["full"]
        assert sink.is_full
        writer.going.set()
        await until(lambda: not sink.is_full)
        assert told == ["full", ("room", 0)]
        await sink.stop()

    run(main())


def test_a_journal_without_any_room_keeps_the_gaps_and_forgets_that_it_was_alive() -> None:
    async def main() -> None:
        writer = PlayedWriter()
        sink, _ = sink_over(writer, held_records=10, disk_probe_s=0.01)
        writer.is_full = writer.journal_is_full = True
        gap = GapOpened(at_ns=1, channel="level3", symbol="A/B", cause="disk", left_ns=1)
        sink.put("level3", frame(1))
        sink.journal(gap)
        for at_ns in range(20):
            sink.journal(Alive(at_ns=at_ns, last_frame_ns={}))
        last = GapOpened(at_ns=2, channel="level3", symbol="C/D", cause="disk", left_ns=1)
        sink.journal(last)
        await until(lambda: last in sink._held)
        writer.is_full = writer.journal_is_full = False
        await until(lambda: len(writer.records) >= 2)
        assert writer.records == [gap, last]
        await sink.stop()

    run(main())


def test_journal_records_fill_the_queue_as_frames_do() -> None:
    """A flood of control frames must not grow without bound while the disk is busy."""

    async def main() -> None:
        writer = PlayedWriter()
        sink, told = sink_over(writer, queue_bytes=100_000, wake_bytes=1_000)
        writer.going.clear()
        sink.put("level3", frame(1))
        while not told:
            sink.journal(Control(at_ns=1, connection=1, frame="x" * 10_000))
            assert sink.queued_bytes < 120_000
        assert told == ["full"]
        writer.going.set()
        await until(lambda: len(told) == 2)
        assert told[1][0] == "room"
        await sink.stop()

    run(main())


def test_a_gap_whose_snapshot_found_no_room_is_not_closed() -> None:
    """Else the next gap, which begins at the last written message, overlaps it."""

    async def main() -> None:
        writer = PlayedWriter()
        sink, told = sink_over(writer)
        opened = GapOpened(at_ns=1, channel="level3", symbol="A/B", cause="network", left_ns=5)
        closed = GapClosed(at_ns=1, channel="level3", symbol="A/B", cause="network", left_ns=5, right_ns=20)
        reached_back = GapClosed(at_ns=1, channel="level3", symbol="C/D", cause="network", left_ns=20, right_ns=20)
        sink.put("level3", frame(10))
        await until(lambda: writer.frames)
        writer.is_full = True
        sink.journal(opened)
        sink.put("level3", frame(20))
        sink.journal(closed)
        sink.journal(reached_back)
        await until(lambda: len(told) == 2 and not sink.queued_bytes)
        assert told == [("disk full", 10), closed]
        assert writer.records == [opened, reached_back]
        await sink.stop()

    run(main())


@pytest.mark.parametrize("error", [SyncFailed("fsync failed"), ZeroDivisionError("what")])
def test_a_fault_at_the_very_end_is_told_too(error: Exception) -> None:
    async def main() -> None:
        writer = PlayedWriter()
        writer.close_error = error
        sink, _ = sink_over(writer)
        with pytest.raises(LocalFault):
            await sink.stop()

    run(main())


def test_an_unforeseen_error_of_the_writer_is_not_swallowed() -> None:
    async def main() -> None:
        writer = PlayedWriter()
        writer.append = lambda *_: 1 / 0  # type: ignore[method-assign]
        sink, told = sink_over(writer)
        sink.put("level3", frame(1))
        await until(lambda: told)
        (error,) = told
        assert isinstance(error, LocalFault)
        assert "ZeroDivisionError" in str(error)
        with pytest.raises(LocalFault, match="ZeroDivisionError"):
            await sink.stop()

    run(main())
