"""The capture benchmark runs; what it measures is for `make bench`, not for a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from processes import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="it reads Linux's /proc")


def bench(*options):
    done = subprocess.run(
        [sys.executable, "-m", "bench.capture", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not (ROOT / "bench" / "capture").is_dir(), reason="the benchmarks are not here")
def test_the_two_recorders_are_measured_on_the_same_frames():
    results = json.loads(bench("--json", "--scale", "100", "--only", "flood", "fast"))
    assert set(results["kinds"]) >= {"ours", "as the original"}
    assert {row["recorder"] for row in results["flood"]} == set(results["kinds"])
    assert all(row["frames"] == 2_000 and row["cpu_us"] > 0 for row in results["flood"])
    (fast, *_) = results["fast"]
    assert fast["recorder"] == "ours"
    assert fast["delay_ms"]["frames"] == 1_999  # every update has its delay; the snapshot carries no stamp of its own
    assert fast["sleeper_ms"] > 0
    assert 0 <= fast["delay_ms"]["p50"] <= fast["delay_ms"]["max"]
