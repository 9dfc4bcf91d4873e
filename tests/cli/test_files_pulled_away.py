"""Files of the running recorder that are deleted, renamed or cut: it ends with 5 and names them, never in silence."""

import os
import sys
from pathlib import Path

import pytest

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.reader import open_archive
from processes import RecordProcess, run, simulate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody delete or rename an open file")


def rename(path):
    path.rename(path.with_name("elsewhere"))


def cut(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


@pytest.mark.parametrize(
    ("pattern", "done"),
    [
        (".", rename),
        ("l3-*.ndjson", Path.unlink),
        ("journal-*.ndjson", Path.unlink),
        ("journal-*.ndjson", cut),
        ("journal-*.ndjson", rename),
    ],
)
def test_the_recorder_ends_with_5_and_the_next_one_goes_on(tmp_path, pattern, done):
    with simulate("--rate", "500") as exports:
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until_whole()
            path = recorder.output if pattern == "." else next(recorder.output.glob(pattern))
            done(path)
            assert recorder.wait() == 5, recorder.said
        last = recorder.said.splitlines()[-1]
        assert path.name in last
        assert "while the recorder was using it" in last
        assert "Traceback" not in recorder.said
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until_whole(after=len(recorder.data()))
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
        assert run("verify", "data", directory=tmp_path).returncode == 0
        if pattern != ".":  # else there is nothing left that something could be missing from
            gaps = gaps_in(open_archive(recorder.output), channel="level3", symbols=["BTC/USD"])
            assert [gap.cause for gap in gaps if gap.right_ns is not None] == ["crash"]


def test_a_deleted_lock_lets_no_second_recorder_in(tmp_path):
    seldom = {"KRAKEN_L3_FSYNC_INTERVAL_S": "600"}  # the first one does not notice before it stops
    with simulate("--rate", "500") as exports, RecordProcess(tmp_path, exports, **seldom) as recorder:
        recorder.until_whole()
        size = len(recorder.data())
        recorder.until(lambda: len(recorder.data()) > size)  # written after the first sync, which looks at the lock
        (recorder.output / "writer.lock").unlink()
        second = run("record", directory=tmp_path, **exports, KRAKEN_L3_SYMBOLS="BTC/USD")
        assert second.returncode == 5
        assert "another recorder writes here" in second.stderr
        recorder.process.terminate()
        assert recorder.wait() == 5
        assert "writer.lock: deleted or replaced" in recorder.said
