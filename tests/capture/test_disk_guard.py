"""The disk of the archive: when it will be full, and who gives way before it is."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.capture.disk_forecast import DiskForecast
from kraken_l3.capture.disk_guard import Beside, DiskGuard, DiskMark, DiskMarks
from kraken_l3.clock import SystemClock
from kraken_l3.exchange.server import Exchange
from recording import WAIT_S, Recording, flow, run

S = 10**9
MARKS = DiskMarks(low_s=100, low_bytes=1000, scarce_bytes=100, recovery=1.5, look_s=0.002)


def test_the_recorders_own_rate_fills_the_disk():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 - n * 1000, n * 1000) for n in range(100)]
    assert told[0] is None
    assert told[2] is None  # too early
    assert told[99] == pytest.approx((10**9 - 99_000) / 100)


def test_another_program_that_fills_the_disk_shows():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 - n * 10**6, n * 1000) for n in range(100)]
    assert told[99] == pytest.approx((10**9 - 99 * 10**6) / 10**5)


def test_a_sealer_that_frees_space_hides_nothing():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 + n * 10**6, n * 1000) for n in range(100)]
    assert told[99] == pytest.approx((10**9 + 99 * 10**6) / 100)


def test_what_is_an_hour_old_is_forgotten():
    forecast = DiskForecast()
    for n in range(360):
        forecast.seconds_to_full(n * 10 * S, 10**9, n * 10**6)
    for n in range(360, 800):
        told = forecast.seconds_to_full(n * 10 * S, 10**9, 359 * 10**6)
    assert told is None  # nothing has grown for an hour
    assert len(forecast._seen) <= 361


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1))
def test_a_forecast_is_a_length_of_time_or_nothing(steps):
    forecast, at_ns, written = DiskForecast(), 0, 0
    for passed, free, more in steps:
        at_ns, written = at_ns + passed, written + more
        told = forecast.seconds_to_full(at_ns, free, written)
        assert told is None or told >= 0


@pytest.mark.parametrize(
    ("free", "left_s", "before", "now"),
    [
        (5000, None, DiskMark.FINE, DiskMark.FINE),
        (5000, 99, DiskMark.FINE, DiskMark.LOW),
        (5000, 120, DiskMark.LOW, DiskMark.LOW),
        (5000, 151, DiskMark.LOW, DiskMark.FINE),
        (999, None, DiskMark.FINE, DiskMark.LOW),
        (1400, None, DiskMark.LOW, DiskMark.LOW),
        (1500, None, DiskMark.LOW, DiskMark.FINE),
        (99, 10**6, DiskMark.FINE, DiskMark.SCARCE),
        (149, None, DiskMark.SCARCE, DiskMark.SCARCE),
        (150, None, DiskMark.SCARCE, DiskMark.LOW),
    ],
)
def test_marks_are_left_later_than_they_are_reached(free, left_s, before, now):
    assert MARKS.mark(free, left_s, before) is now


@given(st.integers(0, 10**4), st.none() | st.floats(0, 10**4), st.sampled_from(list(DiskMark)))
def test_a_mark_that_is_found_twice_stays(free, left_s, before):
    mark = MARKS.mark(free, left_s, before)
    assert MARKS.mark(free, left_s, mark) is mark


async def until(condition) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.002)


class Disk:
    """A disk whose room is set."""

    def __init__(self) -> None:
        self.free, self.running, self.begun, self.ended = 5000, 0, 0, 0

    def __call__(self, path: Path) -> int:
        if self.free < 0:
            raise OSError(5, "Input/output error")
        return self.free

    async def work(self) -> None:
        self.running += 1
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1

    async def end(self) -> None:
        assert not self.running
        self.ended += 1


async def broken() -> None:
    raise KeyError("a defect")


def test_what_runs_beside_ends_when_the_disk_is_scarce_and_comes_back(capsys):
    async def main():
        disk = Disk()
        beside = [Beside("work", disk.work, disk.end), Beside("broken", broken)]
        guard = DiskGuard(Path(), lambda: 0, beside, SystemClock(), MARKS, free_bytes=disk)
        task = asyncio.ensure_future(guard.run())
        await until(lambda: disk.running == 1)
        disk.free = 800
        await until(lambda: guard.mark is DiskMark.LOW)
        assert disk.running == 1
        disk.free = 50
        await until(lambda: disk.ended == 1)
        assert disk.running == 0
        disk.free = -1  # it cannot be looked at: nothing changes
        await until(lambda: guard.free_bytes is None)
        assert (guard.mark, disk.running) == (DiskMark.SCARCE, 0)
        disk.free = 5000
        await until(lambda: disk.running == 1)
        task.cancel()
        await asyncio.wait([task])
        assert (disk.begun, disk.running, disk.ended) == (2, 0, 1)

    run(main())
    said = capsys.readouterr().out
    assert said.count("the disk is running low") == 1
    assert said.count("the disk is nearly full") == 1
    assert said.count("the disk has room") == 1
    assert "broken failed, recording goes on without it" in said


def test_a_recording_goes_on_without_its_verifier_and_has_it_back(tmp_path):
    """The mark lies above what this machine's disk has free: everything beside the recording has to wait."""
    scarce = RecorderLimits(disk=MARKS._replace(scarce_bytes=1 << 62))

    async def main():
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, verify=True, limits=scarce) as recording:
            await recording.until_lines(200)
            assert recording.recorder.verifier.pid is None
            recording.recorder.disk._marks = MARKS
            await recording.until(lambda r: r.recorder.verifier.progress.ok > 0)

    run(main())
