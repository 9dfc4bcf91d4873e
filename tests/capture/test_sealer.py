"""Sealing beside a recording: once a day, in a process whose end means nothing to the recording."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.reader import open_archive
from kraken_l3.capture.sealer import SealerProcess, SealerTimes
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, parse_rfc3339
from recording import WAIT_S, JumpingClock, Recording, flow, run

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")


class SetClock:
    now_ns = NOON_NS

    def wall_ns(self) -> int:
        return self.now_ns

    mono_ns = wall_ns


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def sealer(command: list[str], clock: SetClock) -> SealerProcess:
    return SealerProcess([command], clock, times=SealerTimes(after_start_s=0, poll_s=0.005))


async def cancel(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def test_once_at_the_start_and_some_minutes_into_each_day() -> None:
    async def main() -> None:
        clock = SetClock()
        process = sealer(python(""), clock)
        task = asyncio.ensure_future(process.run())
        await until(lambda: process.runs == 1)
        clock.now_ns = NOON_NS + NS_PER_DAY // 2 + int(SealerTimes().after_midnight_s - 1) * NS_PER_S
        await asyncio.sleep(0.3)
        assert process.runs == 1
        for day in (1, 2):
            clock.now_ns = NOON_NS + day * NS_PER_DAY
            await until(lambda: process.runs == 1 + day)  # noqa: B023
        await cancel(task)
        assert process.failures == 0

    run(main())


@pytest.mark.parametrize(
    "command", [python("import sys; sys.exit('no room')"), python("import os; os.abort()"), ["/nonexistent"]]
)
def test_a_failure_is_said_and_the_next_day_it_is_tried_again(
    command: list[str], capsys: pytest.CaptureFixture
) -> None:
    async def main() -> None:
        clock = SetClock()
        process = sealer(command, clock)
        task = asyncio.ensure_future(process.run())
        await until(lambda: process.failures == 1)
        clock.now_ns += NS_PER_DAY
        await until(lambda: process.failures == 2)
        assert not task.done()
        await cancel(task)

    run(main())
    assert capsys.readouterr().out.count("sealing failed") == 2


def test_what_failed_is_tried_again_after_a_while_and_the_second_work_is_done_after_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = python(f"open({str(tmp_path / 'first')!r}, 'a').write('x')")
    second = python(f"import sys; sys.exit(0 if len(open({str(tmp_path / 'first')!r}).read()) == 2 else 'no answer')")

    async def main() -> None:
        clock = SetClock()
        times = SealerTimes(after_start_s=0, poll_s=0.005, retry_s=5)
        process = SealerProcess([first, second], clock, times=times)
        task = asyncio.ensure_future(process.run())
        await until(lambda: process.runs == 2 and process.failures == 1)
        clock.now_ns += 6 * NS_PER_S
        await until(lambda: process.runs == 4)
        await cancel(task)
        assert process.failures == 1

    run(main())
    assert "uploading or removing old days failed" in capsys.readouterr().out


def test_a_child_at_work_ends_with_the_recorder(tmp_path: Path) -> None:
    async def main() -> None:
        code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        task = asyncio.ensure_future(sealer(python(code), SetClock()).run())
        pid = tmp_path / "pid"
        await until(lambda: pid.exists() and bool(pid.read_text()))
        await cancel(task)
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    run(main())


def test_a_recording_over_midnight_seals_and_uploads_the_day_that_it_left(tmp_path: Path) -> None:
    tmp_path, store = tmp_path / "data", tmp_path / "store"
    limits = RecorderLimits(sealer=SealerTimes(after_start_s=0, after_midnight_s=0, poll_s=0.02))
    midnight_ns = time.time_ns() // NS_PER_DAY * NS_PER_DAY - 2 * NS_PER_DAY
    clock = JumpingClock()
    clock.step_to(midnight_ns - 1800 * NS_PER_S)

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(
                tmp_path, exchange, clock, seal=True, upload=str(store), trades=True, limits=limits
            ) as recording:
                await recording.until_lines(50)
                clock.step_to(midnight_ns - NS_PER_S // 10)
                await recording.until(lambda r: len(list(tmp_path.glob("l3-*.manifest.json"))) == 1)
                assert not list(tmp_path.glob("*.tmp"))
                await recording.until(lambda r: len(list(store.glob("l3-*.manifest.json"))) == 1)
                await recording.until_lines(len(recording.lines()) + 100)
            assert recording.recorder.sealer is not None
            assert recording.recorder.sealer.failures == 0

    run(main())
    first, second = open_archive(tmp_path).files()
    assert (first.suffixes[-1], second.suffixes[-1]) == (".zst", ".ndjson")
    for command in ("verify", "check"):
        done = subprocess.run([sys.executable, "-m", "kraken_l3", command, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_nothing_is_sealed_unless_the_settings_say_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange) as recording:
                await recording.until(lambda r: len(r.lines()) > 10)
            assert recording.recorder.sealer is None

    run(main())
