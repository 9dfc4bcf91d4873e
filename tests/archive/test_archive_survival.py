"""Real processes on a real disk: kill -9 under load, a disk that is full, a lock whose holder dies."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from archive_scenes import NOON_NS
from disk_fakes import FakeClock

from kraken_l3.archive.journal import GapOpened, JournalState
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import RECEIVE_TIME_UNKNOWN
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.clock import SystemClock
from kraken_l3.errors import ArchiveLocked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")

FLOOD = Path(__file__).with_name("flood.py")


def flood(directory, number=0, **options):
    command = [sys.executable, str(FLOOD), str(directory), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def said(process, word):
    """Lines the process printed up to this word."""
    lines = []
    for line in process.stdout:
        lines.append(line.split())
        if lines[-1][0] == word:
            return lines
    raise AssertionError(f"ended before {word!r}: {lines[-5:]}")


def killed_after(process, seconds):
    """Kill -9, and what was flushed by then."""
    time.sleep(seconds)
    process.kill()
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    # a last word that was not finished does not count
    words = [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]
    return max((int(word[1]) for word in words if word[0] == "flushed"), default=0)


def numbers_in(directory):
    return [json.loads(line.payload)["data"][0]["n"] for line in open_archive(directory).lines()]


def assert_whole(directory, may_lack_receipt=frozenset()):
    """Every line has its receipt; a kill between data and receipt may cost those of a batch not flushed."""
    for line in open_archive(directory).lines():
        number = json.loads(line.payload)["data"][0]["n"]
        assert line.receipt is not None
        assert line.receipt.end_offset == line.end_offset
        if line.receipt.flags:
            assert line.receipt.flags == RECEIVE_TIME_UNKNOWN
            assert number in may_lack_receipt
        else:
            assert line.receipt.mono_ns == number


def kill_again_and_again(directory, times, seed):
    rng = random.Random(seed)
    number, unflushed = 0, set()
    for _ in range(times):
        process = flood(directory, number)
        said(process, "ready")
        flushed = killed_after(process, rng.uniform(0.0, 0.25))
        ArchiveWriter.open(directory, clock=SystemClock()).close()
        found = numbers_in(directory)
        assert len(found) >= flushed, "a flushed line is gone"
        assert found == list(range(len(found))), "lost, twice or out of order"
        unflushed |= set(range(max(flushed, number), len(found)))
        assert_whole(directory, unflushed)
        archive = open_archive(directory)
        records = [record for day in archive.days for record in archive.journal(day, strict=True)]
        assert not JournalState(records).connections
        number = len(found)
    crashes = [record for record in records if isinstance(record, GapOpened) and not record.restated]
    assert [gap.cause for gap in crashes] == ["crash"], "open since the first crash: no snapshot ever closed it"


def test_kill_9_under_load(tmp_path):
    kill_again_and_again(tmp_path, 5, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_kill_9_under_load_50_times(tmp_path):
    for round_number in range(10):  # a directory of its own each, since all of it is read after each kill
        kill_again_and_again(tmp_path / str(round_number), 5, seed=round_number)


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    process = flood(tmp_path)
    said(process, "ready")
    with pytest.raises(ArchiveLocked, match=f"pid {process.pid} "):
        ArchiveWriter.open(tmp_path, clock=SystemClock())
    killed_after(process, 0)
    ArchiveWriter.open(tmp_path, clock=SystemClock()).close()


def test_a_limit_on_the_size_of_a_file(tmp_path):
    limit = 3 * 1024 * 1024

    def lower():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = flood(tmp_path, preexec_fn=lower)
    kept = int(said(process, "full")[-1][1])
    killed_after(process, 0)
    ArchiveWriter.open(tmp_path, clock=SystemClock()).close()
    found = numbers_in(tmp_path)
    assert found[:kept] == list(range(kept))
    assert_whole(tmp_path, set(found[kept:]))


@pytest.fixture
def small_disk(tmp_path):
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root on Linux")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_and_room_again(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 * 1024 * 1024))
    process = flood(small_disk)
    kept = int(said(process, "full")[-1][1])
    ballast.unlink()
    said(process, "resumed")
    flushed = max(int(said(process, "flushed")[-1][1]), killed_after(process, 0))
    ArchiveWriter.open(small_disk, clock=SystemClock()).close()
    found = numbers_in(small_disk)
    assert found[:kept] == list(range(kept))
    assert found[kept] > kept
    assert max(Counter(found).values()) == 1
    assert_whole(small_disk, {number for number in found if number >= flushed})
    archive = open_archive(small_disk)
    states = [r.state for day in archive.days for r in archive.journal(day) if hasattr(r, "state")]
    assert states[:2] == ["full", "ok"]


def test_a_child_process_does_not_keep_the_lock(tmp_path):
    """The verifier is a child of the recorder and may outlive it for a moment."""
    writer = ArchiveWriter.open(tmp_path, clock=FakeClock(NOON_NS))
    command = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    assert child.stdout.readline() == b"1\n"
    writer.close()
    ArchiveWriter.open(tmp_path, clock=FakeClock(NOON_NS)).close()
    child.communicate()
