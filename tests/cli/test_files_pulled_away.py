"""Files of the running recorder that are deleted, renamed or cut: it ends with 5 and names them, never in silence."""

import sys
from pathlib import Path

import pytest

from processes import RecordProcess, run, simulate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody delete or rename an open file")


def rename(path):
    path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize(("pattern", "done"), [(".", rename), ("l3-*.ndjson", Path.unlink)])
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


def test_a_deleted_lock_lets_no_second_recorder_in(tmp_path):
    seldom = {"KRAKEN_L3_FSYNC_INTERVAL_S": "600"}  # the first one does not notice before it stops
    with simulate("--rate", "500") as exports, RecordProcess(tmp_path, exports, **seldom) as recorder:
        recorder.until_whole()
        (recorder.output / "writer.lock").unlink()
        second = run("record", directory=tmp_path, **exports, KRAKEN_L3_SYMBOLS="BTC/USD")
        assert second.returncode == 5
        assert "another recorder writes here" in second.stderr
        recorder.process.terminate()
        assert recorder.wait() == 5
        assert "writer.lock: deleted or replaced" in recorder.said
