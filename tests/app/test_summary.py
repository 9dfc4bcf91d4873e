"""The end of a recording: what it says, and how the process ends."""

import contextlib
import json
import signal
import sys
import time

import pytest

from kraken_l3.app.summary import RecordingSummary
from processes import RecordProcess, simulate

SUMMARY = RecordingSummary(
    directory="my data",
    seconds=62,
    symbols=3,
    recorded=2,
    rejected=["BTC/USDD"],
    messages=12_345,
    written_bytes=3_500_000,
    gaps=1,
    verified=12_340,
    mismatched=0,
)


def test_it_says_what_was_recorded_and_what_to_do_next():
    assert SUMMARY.lines() == [
        "Recorded 12,345 messages of 2 of 3 symbols in 1 min 02 s: 3.3 MiB in my data, 1 gap, 12,340 verified.",
        "Kraken rejected BTC/USDD. Check the names (BTC/USD, not XBT/USD or BTC/USDD).",
        "Next: kraken-l3 verify 'my data'",
    ]


def test_it_does_not_say_verified_when_nobody_did():
    lines = SUMMARY._replace(verified=None, rejected=[], gaps=0).lines()
    assert lines[0].endswith("3.3 MiB in my data, 0 gaps.")
    assert len(lines) == 2


def test_it_names_a_few_of_many_rejected_symbols():
    rejected = [f"A{number}/USD" for number in range(8)]
    (line, end) = SUMMARY._replace(recorded=0, rejected=rejected).lines()
    assert "A4/USD and 3 more" in line
    assert end == "Nothing was recorded."


def last_words(recorder):
    return json.loads(recorder.said.splitlines()[-1])["summary"]


def test_a_recorder_whose_only_symbol_was_rejected_ends_with_3_and_says_so(tmp_path):
    with simulate("--rate", "200") as exports:
        with RecordProcess(tmp_path, exports, "--duration", "600", KRAKEN_L3_SYMBOLS="BTC/USDD") as recorder:
            recorder.until(lambda: "subscription rejected" in recorder.said)
            recorder.process.terminate()
            assert recorder.wait() == 3, recorder.said
            assert "rejected BTC/USDD" in last_words(recorder)
            assert "Nothing was recorded" in last_words(recorder)


def test_a_recorder_that_never_connected_ends_with_3_and_says_so(tmp_path):
    with simulate("--rate", "200") as exports:
        nowhere = {"KRAKEN_L3_WS_URL": "ws://127.0.0.1:9", "KRAKEN_L3_VERIFY": "false"}
        with RecordProcess(tmp_path, exports, "--duration", "2", **nowhere) as recorder:
            assert recorder.wait() == 3, recorder.said
            assert "Nothing was recorded: no snapshot came" in last_words(recorder)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_more_signals_during_the_stop_do_not_spoil_it(tmp_path, number):
    with simulate("--rate", "500") as exports, RecordProcess(tmp_path, exports) as recorder:
        recorder.until_lines(100)
        while recorder.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                recorder.process.send_signal(number)
            time.sleep(0.001)
        assert recorder.process.returncode == 0, recorder.said
        assert recorder.journal()[-1]["kind"] == "sync"
        assert "Traceback" not in recorder.said
        assert "verify data" in last_words(recorder)
