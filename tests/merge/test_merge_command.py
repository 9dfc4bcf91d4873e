"""`kraken-l3 merge` as a user types it, and other commands on what it makes."""

import json
import subprocess
import sys

import pytest
from recordings import NIGHT_NS, Outage, Recorder, contents, lines_of, record, streamed

from processes import run


def test_merge_and_what_comes_of_it(tmp_path):
    stream = streamed(300)
    record(tmp_path / "first", stream, Recorder(outages=(Outage(100, 150),)))
    record(tmp_path / "second", stream, Recorder(outages=(Outage(200, 230),), latency_ns=12_000_000))
    done = run("merge", "first", "second", "--out", "merged", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing is missing." in done.stdout
    assert "7.000" in done.stdout  # ms by which the second clock is ahead, as far as anybody can tell
    assert run("verify", "merged", "--require-complete", directory=tmp_path).returncode == 0
    told = run("info", "merged", directory=tmp_path)
    assert "How much later" in told.stdout
    (later,) = json.loads(run("info", "merged", "--json", directory=tmp_path).stdout)["result"]["later"]
    assert (later["source_name"], later["than_name"], later["p50_ns"]) == ("second", "first", 7_000_000)
    assert later["messages"] == 300 - 50 - 30
    shown = run("book", "merged", "--symbol", "BTC/USD", directory=tmp_path)
    assert shown.returncode == 0, shown.stderr


def test_exit_codes(tmp_path):
    stream = streamed(300)
    record(tmp_path / "first", stream, Recorder(outages=(Outage(100, 150),)))
    alone = run("merge", "first", "--out", "alone", "--json", directory=tmp_path)
    assert alone.returncode == 3
    result = json.loads(alone.stdout)["result"]
    assert (result["gaps"], result["conflicts"], result["lines"]) == (2, 0, 252)
    again = run("merge", "first", "--out", "first", directory=tmp_path)
    assert again.returncode == 1
    assert "a directory of its own" in again.stderr
    missing = run("merge", "nowhere", "--out", "out", directory=tmp_path)
    assert missing.returncode == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit of POSIX")
def test_a_full_disk(tmp_path):
    """A limit on the size of files is a disk without room; once there is some, the same command goes on."""
    import resource

    stream = streamed(4_000, rate=200.0, start_ns=NIGHT_NS - 3_600 * 10**9)
    record(tmp_path / "first", stream)
    command = [sys.executable, "-m", "kraken_l3", "merge", "first", "--out"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_100_000, 1_100_000))

    full = subprocess.run(
        [*command, "merged"], cwd=tmp_path, preexec_fn=limited, capture_output=True, text=True, check=False
    )
    assert full.returncode == 5
    assert "The same command goes on from here, once there is room" in full.stderr
    for out in ("merged", "whole"):
        subprocess.run([*command, out], cwd=tmp_path, capture_output=True, check=True)
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert lines_of(tmp_path / "merged") == list(stream.lines)
