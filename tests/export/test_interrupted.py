"""Exports that are stopped by a signal, as real processes: they leave nothing half done, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archives import record

from kraken_l3.model.timestamps import parse_rfc3339

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

HALF_NS = 60 * 10**9
WAIT_S = 60
TRIES = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two days of as much each; the second goes on from the first. Two pairs for each of two processes."""
    midnight_ns = parse_rfc3339("2026-11-23T00:00:00Z")
    symbols = ("ADA/USD", "BTC/USD", "ETH/USD", "SOL/USD")
    directory = tmp_path_factory.mktemp("long") / "a"
    return record(directory, symbols=symbols, messages=6_000, start_ns=midnight_ns - HALF_NS)


def begin(source: Path, out: Path, command: str, jobs: int) -> subprocess.Popen:
    words = [sys.executable, "-m", "kraken_l3", "export", command, source, "--out", out]
    words += ["--engine", "python", "--jobs", jobs]
    # a group of its own, which Ctrl+C in a terminal would reach as a whole
    return subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def stopped_at_work(source: Path, out: Path, command: str, jobs: int, number: int) -> str:
    """Signal an export once its first piece is done; gives what it said, or "" if it was too fast to be caught."""
    with begin(source, out, command, jobs) as process:
        while process.poll() is None and not any(out.glob("_jobs/*.json")):
            time.sleep(0.001)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=WAIT_S)
        assert process.returncode in (0, 130), said
        return said if process.returncode else ""


@pytest.mark.parametrize(
    ("command", "jobs", "number"),
    [
        ("snapshots", 1, signal.SIGTERM),
        ("events", 2, signal.SIGTERM),
        ("tardis", 2, signal.SIGINT),
        ("lobster", 1, signal.SIGINT),
        ("hftbacktest", 1, signal.SIGTERM),
    ],
)
def test_a_stopped_export_leaves_nothing_half_done_and_goes_on(source, tmp_path, command, jobs, number):
    whole = tmp_path / "whole"
    with begin(source, whole, command, jobs) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    expected = files_in(whole)
    for attempt in range(TRIES):
        out = tmp_path / str(attempt)
        said = stopped_at_work(source, out, command, jobs, number)
        if said:
            break
    assert "interrupted. The same command goes on from here" in said
    assert "Traceback" not in said
    left = files_in(out)
    assert left.items() < expected.items()  # each whole, some missing: so no .tmp either
    made_ns = {name: (out / name).stat().st_mtime_ns for name in left}
    with begin(source, out, command, jobs) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    assert files_in(out) == expected
    kept = [name for name, ns in made_ns.items() if (out / name).stat().st_mtime_ns == ns]
    assert any(name.startswith("_jobs/") for name in kept)
    assert any(name.startswith(command) for name in kept)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_as_they_start_is_no_traceback(source, tmp_path, number):
    with begin(source, tmp_path / "o", "tardis", 2) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and len(children.read_text().split()) < 2:
            time.sleep(0.001)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, said
    assert said == "kraken-l3: interrupted. The same command goes on from here.\n"
    assert [name for name in files_in(tmp_path) if "/." in name] == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_ended_alone_ends_the_export_with_a_clear_error(source, tmp_path, number):
    with begin(source, tmp_path / "o", "tardis", 2) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and not any(tmp_path.rglob("*.tmp")):
            time.sleep(0.001)
        pid = int(children.read_text().split()[-1])  # the first tracks resources
        os.kill(pid, number)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 5, said
    assert "a process of this command was ended" in said
    assert "Traceback" not in said
    if number == signal.SIGTERM:
        assert [name for name in files_in(tmp_path) if "/." in name] == []
