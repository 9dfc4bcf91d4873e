"""Clock, midnight, disk and a writer that stalls: with real sockets, and a file system or a clock that is played."""

import asyncio
import datetime as dt
import errno
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.connection import TICK_S
from kraken_l3.capture.sink import SinkLimits
from kraken_l3.errors import DiskFull, SyncFailed
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.frames import Frame
from recording import WAIT_S, JumpingClock, Recording, flow, run

NS_PER_S = 1_000_000_000
HOUR_NS = 3600 * NS_PER_S


MIDNIGHT_NS = int(dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc).timestamp()) * NS_PER_S


def before_midnight(seconds: float) -> JumpingClock:
    """A clock that shows so many seconds before a midnight."""
    clock = JumpingClock()
    clock.step_to(MIDNIGHT_NS - int(seconds * NS_PER_S))
    return clock


def day_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("l3-*.ndjson"))


class TestMidnight:
    def test_under_load_every_line_is_in_one_file(self, tmp_path: Path) -> None:
        async def main() -> None:
            clock = before_midnight(1800)
            async with Exchange(flow(rate=2000)) as exchange:
                async with Recording(tmp_path, exchange, clock) as recording:
                    await recording.until_lines(100)
                    clock.step_to(MIDNIGHT_NS - NS_PER_S // 2)
                    await recording.until(lambda r: len(day_files(r.directory)) == 2)
                    await recording.until_lines(len(recording.lines()) + 500)
            assert day_files(tmp_path) == ["l3-2026-11-22.ndjson", "l3-2026-11-23.ndjson"]
            sent = exchange.sent.payloads()
            lines = recording.lines()
            assert lines == sent[: len(lines)]
            assert len(lines) >= 600
            first_day = len((tmp_path / "l3-2026-11-22.ndjson").read_bytes().splitlines())
            times = [receipt[0] for receipt in recording.receipts()]
            assert all(time < MIDNIGHT_NS for time in times[:first_day])
            assert all(time >= MIDNIGHT_NS for time in times[first_day:])

        run(main())

    def test_the_new_journal_reads_alone(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with Exchange(flow()) as exchange:
                clock = before_midnight(1800)
                async with Recording(tmp_path, exchange, clock) as recording:
                    await recording.until_records("Acknowledged", 2, channel="level3")
                    await recording.until_records("Instruments")
                    clock.step_to(MIDNIGHT_NS - NS_PER_S // 10)
                    await recording.until(lambda r: len(day_files(r.directory)) == 2)
            (tmp_path / "journal-2026-11-22.ndjson").unlink()
            names = {type(record).__name__ for record in recording.journal() if record.restated}
            assert names >= {"Started", "Connected", "Acknowledged", "Instruments"}
            depths = [
                r.depth for r in recording.journal() if type(r).__name__ == "Acknowledged" and r.channel == "level3"
            ]
            assert depths == [10, 10]

        run(main())


class TestClock:
    def test_a_step_back_over_midnight_stays_in_the_newer_day(self, tmp_path: Path) -> None:
        async def main() -> None:
            clock = before_midnight(-1.0)
            async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, clock) as recording:
                await recording.until_lines(200)
                clock.offset_ns -= 60 * NS_PER_S
                await recording.until_records("ClockStep")
                await recording.until_lines(len(recording.lines()) + 100)
            assert day_files(tmp_path) == ["l3-2026-11-23.ndjson"]
            (step,) = recording.records("ClockStep")
            assert step.step_ns == pytest.approx(-60 * NS_PER_S, abs=NS_PER_S)
            assert not [r for r in recording.records("Disconnected") if r.cause != "stop"]
            times = [receipt[0] for receipt in recording.receipts()]
            assert min(times[200:]) < times[0]  # receipts keep the raw clock

        run(main())

    @pytest.mark.parametrize("hours", [-30, 30])
    def test_a_big_step_opens_the_connections_again(self, tmp_path: Path, hours: int) -> None:
        async def main() -> None:
            clock = before_midnight(HOUR_NS * 12 / NS_PER_S)
            async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, clock) as recording:
                await recording.until_lines(200)
                clock.offset_ns += hours * HOUR_NS
                await recording.until_records("GapClosed", 2, cause="clock")
                await recording.until_lines(len(recording.lines()) + 100)
                # and back: a file once left is not written again
                left = {path: path.stat().st_size for path in tmp_path.glob("l3-2026-11-22.*")}
                clock.offset_ns -= hours * HOUR_NS
                await recording.until_records("GapClosed", 4, cause="clock")
            assert {path: path.stat().st_size for path in tmp_path.glob("l3-2026-11-22.*")} == left
            sent = exchange.sent.payloads()
            lines = recording.lines()
            assert set(lines) <= set(sent)
            assert len(lines) == len(set(lines))

        run(main())


class StallingWriter:
    """The archive's writer, held up on demand: a disk that hangs."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self.going = threading.Event()
        self.going.set()

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        self.going.wait()
        self._writer.append(stream, frames)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class TestWriterThatStalls:
    def test_reading_pauses_and_nothing_is_lost(self, tmp_path: Path) -> None:
        made, options = self.stall()

        async def main() -> None:
            async with Exchange(flow(rate=3000)) as exchange:
                clock = JumpingClock()
                async with Recording(tmp_path, exchange, clock, **options) as recording:
                    await recording.until_lines(100)
                    made[0].going.clear()
                    sink = recording.recorder.sink
                    assert sink is not None
                    await recording.until(lambda _: sink.is_full)
                    largest = sink.queued_bytes
                    clock.advance(HOUR_NS)  # longer than the liveness time-out: the silence is ours
                    await asyncio.sleep(2 * TICK_S)  # the connection has looked at the clock meanwhile
                    assert sink.queued_bytes < largest + 300_000
                    sent = exchange.sent.level3_count
                    made[0].going.set()
                    await recording.until_lines(sent + 100)
                assert not [r for r in recording.records("Disconnected") if r.cause != "stop"]
                lines = recording.lines()
                assert lines == exchange.sent.payloads()[: len(lines)]

        run(main())

    def test_for_too_long_is_a_gap_with_its_cause(self, tmp_path: Path) -> None:
        made, options = self.stall(pause_limit_s=0.3)

        async def main() -> None:
            async with Exchange(flow(rate=3000)) as exchange:
                async with Recording(tmp_path, exchange, **options) as recording:
                    await recording.until_whole()
                    made[0].going.clear()
                    await recording.until(lambda r: not list(r.recorder.connections))
                    made[0].going.set()
                    await recording.until_records("GapClosed", 2, cause="writer")
                lines = recording.lines()
                assert len(lines) == len(set(lines))
                assert set(lines) <= set(exchange.sent.payloads())

        run(main())

    @staticmethod
    def stall(**limits: Any) -> tuple[list[StallingWriter], dict[str, Any]]:
        """The writers that will be made, and a recorder's options that make it use them."""
        made: list[StallingWriter] = []

        def open_writer(*args: Any, **kwargs: Any) -> StallingWriter:
            made.append(StallingWriter(ArchiveWriter.open(*args, **kwargs)))
            return made[-1]

        sink = SinkLimits(queue_bytes=200_000, wake_bytes=10_000)
        return made, {"open_writer": open_writer, "limits": RecorderLimits(sink=sink, **limits)}


class FullDisk:
    """The archive's writer on a disk that is full from time to time."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self.is_full = False
        self.journal_is_full = False
        self.sync_error = False

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        if self.is_full:
            raise DiskFull("no space left on device", where="l3")
        self._writer.append(stream, frames)

    def journal(self, record: Any) -> None:
        if self.journal_is_full:
            raise DiskFull("no space left on device", where="journal")
        self._writer.journal(record)

    def sync(self) -> None:
        if self.sync_error:
            raise SyncFailed("fsync failed", where="l3") from OSError(errno.EIO, "I/O error")
        self._writer.sync()

    def resume(self) -> bool:
        return not self.is_full

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class TestDisk:
    @staticmethod
    def play() -> tuple[list[FullDisk], dict[str, Any]]:
        """The writers that will be made, and a recorder's options that make it use them."""
        made: list[FullDisk] = []

        def open_writer(*args: Any, **kwargs: Any) -> FullDisk:
            made.append(FullDisk(ArchiveWriter.open(*args, **kwargs)))
            return made[-1]

        limits = RecorderLimits(sink=SinkLimits(disk_probe_s=0.05))
        return made, {"open_writer": open_writer, "limits": limits}

    @pytest.mark.parametrize("journal_too", [False, True])
    def test_full_and_room_again(self, tmp_path: Path, journal_too: bool) -> None:
        made, options = self.play()

        async def main() -> None:
            async with Exchange(flow()) as exchange:
                async with Recording(tmp_path, exchange, **options) as recording:
                    await recording.until_lines(100)
                    made[0].is_full, made[0].journal_is_full = True, journal_too
                    await recording.until(lambda r: not list(r.recorder.connections))
                    written = recording.receipts()
                    made[0].is_full = made[0].journal_is_full = False
                    await recording.until_records("GapClosed", 2, cause="disk")
                for gap in recording.records("GapOpened", cause="disk"):
                    assert gap.left_ns == written[-1][0]  # what was received but not written is inside the gap
                assert set(recording.lines()) <= set(exchange.sent.payloads())

        run(main())

    def test_a_failed_fsync_is_fatal(self, tmp_path: Path) -> None:
        made, options = self.play()

        async def main() -> None:
            async with Exchange(flow()) as exchange:
                recording = Recording(tmp_path, exchange, **options)
                await recording.__aenter__()
                await recording.until_lines(100)
                made[0].sync_error = True
                assert recording.task is not None
                with pytest.raises(SyncFailed) as caught:
                    await asyncio.wait_for(recording.task, WAIT_S)
                assert caught.value.exit_code == 5

        run(main())
