"""The queue to the disk, alone: with writers played."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from kraken_l3.archive.journal import Alive, GapOpened
from kraken_l3.capture import sink as sink_module
from kraken_l3.capture.sink import Sink
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


def sink_over(writer: PlayedWriter) -> Sink:
    sink = Sink(writer, flush_interval_s=0.01, fsync_interval_s=1)
    sink.start()
    return sink


async def until(condition: Any) -> None:
    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), WAIT_S)


def test_a_full_disk_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge is taken when the disk fills up: by the time the loop hears of it there may be room again."""
    monkeypatch.setattr(sink_module, "DISK_PROBE_S", 0.01)

    async def main() -> None:
        writer, kept_until = PlayedWriter(), []
        sink = sink_over(writer)
        sink.on_disk_full = kept_until.append
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
        await until(lambda: kept_until)
        assert kept_until == [1]
        await sink.stop()

    run(main())


def test_what_was_lost_is_only_heard_of_before_there_is_room_again() -> None:
    async def main() -> None:
        writer, told = PlayedWriter(), []
        sink = sink_over(writer)
        sink.on_disk_full = lambda _: told.append("full")
        sink.on_disk_ok = lambda: told.append("ok")
        writer.is_full = True
        sink.put("level3", frame(1))
        await until(lambda: told)
        writer.is_full = False
        sink.put("level3", frame(2))
        await until(lambda: not sink.queued_bytes)
        assert told == ["full"]  # room is looked for after DISK_PROBE_S, not at once
        assert writer.frames == []
        await sink.stop()

    run(main())


def test_room_is_not_told_when_the_queue_has_filled_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "QUEUE_LIMIT_BYTES", 10_000)
    monkeypatch.setattr(sink_module, "WAKE_BYTES", 1_000)

    async def main() -> None:
        writer, told = PlayedWriter(), []
        sink = sink_over(writer)
        sink.on_full = lambda: told.append("full")
        sink.on_room = lambda: told.append(sink.queued_bytes)
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
        assert told == ["full", 0]
        await sink.stop()

    run(main())


def test_a_journal_without_any_room_keeps_the_gaps_and_forgets_that_it_was_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sink_module, "HELD_RECORDS", 10)
    monkeypatch.setattr(sink_module, "DISK_PROBE_S", 0.01)

    async def main() -> None:
        writer = PlayedWriter()
        sink = sink_over(writer)
        writer.is_full = writer.journal_is_full = True
        gap = GapOpened(at_ns=1, channel="level3", symbol="A/B", cause="disk", left_ns=1)
        sink.put("level3", frame(1))
        sink.note(gap)
        for at_ns in range(20):
            sink.note(Alive(at_ns=at_ns, last_frame_ns={}))
        last = GapOpened(at_ns=2, channel="level3", symbol="C/D", cause="disk", left_ns=1)
        sink.note(last)
        await until(lambda: last in sink._held)
        writer.is_full = writer.journal_is_full = False
        await until(lambda: len(writer.records) >= 2)
        assert writer.records == [gap, last]
        await sink.stop()

    run(main())


@pytest.mark.parametrize("error", [SyncFailed("fsync failed"), ZeroDivisionError("what")])
def test_a_fault_at_the_very_end_is_told_too(error: Exception) -> None:
    async def main() -> None:
        writer = PlayedWriter()
        writer.close_error = error
        sink = sink_over(writer)
        with pytest.raises(LocalFault):
            await sink.stop()

    run(main())


def test_an_unforeseen_error_of_the_writer_is_not_swallowed() -> None:
    async def main() -> None:
        writer = PlayedWriter()
        writer.append = lambda *_: 1 / 0  # type: ignore[method-assign]
        sink = sink_over(writer)
        told = asyncio.get_running_loop().create_future()
        sink.on_fault = told.set_result
        sink.put("level3", frame(1))
        error = await asyncio.wait_for(told, WAIT_S)
        assert isinstance(error, LocalFault)
        assert "ZeroDivisionError" in str(error)
        with pytest.raises(LocalFault, match="ZeroDivisionError"):
            await sink.stop()

    run(main())
