"""`python record_l3.py` and `kraken-l3 record` as a user types them, against an exchange in another process."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kraken_l3.archive.receipts import unpack_receipts
from kraken_l3.model.timestamps import day_of
from processes import ROOT, RecordProcess, run, simulate


def test_the_three_commands_of_the_readme(tmp_path: Path) -> None:
    """A config file with the exchange's URLs in the environment, as the original promised."""
    config = (ROOT / "config.yaml.example").read_text()
    with simulate("--rate", "500", "--sent-log", str(tmp_path / "sent")) as exports:
        key, secret = exports.pop("KRAKEN_API_KEY"), exports.pop("KRAKEN_API_SECRET")
        config = config.replace('api_key: ""', f"api_key: {key}").replace('api_secret: ""', f"api_secret: {secret}")
        directory = tmp_path / "user"
        directory.mkdir()
        (directory / "config.yaml").write_text(config)
        (directory / "config.yaml").chmod(0o600)
        command = [sys.executable, str(ROOT / "record_l3.py")]
        with RecordProcess(directory, exports, command=command, KRAKEN_L3_SYMBOLS="") as recorder:
            recorder.until_lines(500)
            recorder.process.send_signal(signal.SIGINT)
            assert recorder.wait() == 0, recorder.said
            data = recorder.data()
    sent = (tmp_path / "sent").read_bytes()
    assert len(data) > 100_000
    assert sent.startswith(data)
    (file,) = recorder.output.glob("l3-*.ndjson")
    receipts = list(unpack_receipts(file.with_suffix(".receipts").read_bytes()))
    assert file.name == f"l3-{day_of(receipts[0].recv_ns)}.ndjson"


def test_the_environment_is_enough(tmp_path: Path) -> None:
    with simulate("--rate", "200") as exports:
        env = {"KRAKEN_L3_OUTPUT_DIR": "elsewhere", "KRAKEN_L3_SYMBOLS": "ETH/USD", "KRAKEN_L3_DEPTH": "100"}
        with RecordProcess(tmp_path, exports, **env) as recorder:
            recorder.output = tmp_path / "elsewhere"
            recorder.until_lines(20)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
            (file,) = (tmp_path / "elsewhere").glob("l3-*.ndjson")
    assert {json.loads(line)["data"][0]["symbol"] for line in file.read_text().splitlines()} == {"ETH/USD"}
    assert [record["depth"] for record in recorder.journal() if record["kind"] == "ack"] == [100]


def test_a_pattern_is_expanded_from_the_instrument_list(tmp_path: Path) -> None:
    with simulate("--symbols", "BTC/USD,ETH/USD,BTC/EUR", "--rate", "200") as exports:
        with RecordProcess(tmp_path, exports, KRAKEN_L3_SYMBOLS="*/USD") as recorder:
            recorder.until_lines(50)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
        started = next(record for record in recorder.journal() if record["kind"] == "start")
        assert started["config"]["symbols"] == ["BTC/USD", "ETH/USD"]


def test_named_symbols_do_not_wait_for_the_public_endpoint(tmp_path: Path) -> None:
    with simulate("--rate", "200") as exports:
        exports["KRAKEN_L3_PUBLIC_WS_URL"] = "ws://127.0.0.1:9/nowhere"
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until_lines(50)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said


@pytest.mark.parametrize("attempt", range(4))
def test_sigterm_at_any_moment_after_the_start(tmp_path: Path, attempt: int) -> None:
    with simulate("--rate", "2000", "--sent-log", str(tmp_path / "sent")) as exports:
        with RecordProcess(tmp_path / "user", exports) as recorder:
            recorder.until(lambda: "recording" in recorder.said)
            time.sleep(random.Random(attempt).random())
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
            data = recorder.data()
    assert (tmp_path / "sent").read_bytes().startswith(data)
    if recorder.output.exists():
        assert recorder.journal()[-1]["kind"] in ("stop", "sync")
        assert any(record["kind"] == "stop" for record in recorder.journal())
        for receipts in recorder.output.glob("l3-*.receipts"):
            assert receipts.stat().st_size == 32 * data.count(b"\n")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_goes_away_is_an_orderly_end_unless_nohup_says_otherwise(tmp_path: Path, nohup: bool) -> None:
    command = [*(["nohup"] if nohup else []), sys.executable, "-m", "kraken_l3", "record"]
    with simulate("--rate", "200") as exports, RecordProcess(tmp_path, exports, command=command) as recorder:
        recorder.until_lines(20)
        recorder.process.send_signal(signal.SIGHUP)
        if nohup:
            recorder.until_lines(recorder.data().count(b"\n") + 50)
            recorder.process.terminate()
        assert recorder.wait() == 0, recorder.said
        assert any(record["kind"] == "stop" for record in recorder.journal())


def kill_and_recover(tmp_path: Path, kills: int, seed: int) -> None:
    """kill -9 under load, again and again in the same archive: what had reached a file is never lost or changed."""
    rng = random.Random(seed)
    with simulate("--rate", "4000", "--sent-log", str(tmp_path / "sent")) as exports:
        before = b""
        for _ in range(kills):
            with RecordProcess(tmp_path / "user", exports) as recorder:
                recorder.until_whole(after=len(before))
                time.sleep(rng.random() * 0.7)
                recorder.process.kill()
                recorder.wait()
                after = recorder.data()
                assert after.startswith(before)
                before = after[: after.rfind(b"\n") + 1]
        with RecordProcess(tmp_path / "user", exports) as recorder:
            recorder.until_whole(after=len(before))
            recorder.until_lines(before.count(b"\n") + 20)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
            data = recorder.data()
    assert data.startswith(before)
    sent = set((tmp_path / "sent").read_bytes().splitlines())
    lines = data.splitlines()
    assert set(lines) <= sent
    assert len(lines) == len(set(lines))
    (receipts,) = recorder.output.glob("l3-*.receipts")
    assert receipts.stat().st_size == 32 * len(lines)
    crashes = [record for record in recorder.journal() if record["kind"] == "gap_closed" and record["cause"] == "crash"]
    assert 2 <= len(crashes) <= 2 * kills  # a kill before a symbol's gap was closed makes that gap longer
    for symbol in ("BTC/USD", "ETH/USD"):
        edges = [edge for gap in crashes if gap["symbol"] == symbol for edge in (gap["left_ns"], gap["right_ns"])]
        assert edges == sorted(edges)


def test_kill_9_under_load(tmp_path: Path) -> None:
    kill_and_recover(tmp_path, kills=3, seed=1)


def test_a_repair_at_the_start_is_told(tmp_path: Path) -> None:
    with simulate("--rate", "500") as exports:
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until_lines(50)
            recorder.process.kill()
            recorder.wait()
        (file,) = recorder.output.glob("l3-*.ndjson")
        with file.open("ab") as data:
            data.write(b'{"channel":"level3","ty')
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until(lambda: "repaired after an unclean end" in recorder.said)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
    assert file.with_suffix(".torn").read_bytes().endswith(b'{"channel":"level3","ty')


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_kill_9_at_fifty_moments(tmp_path: Path) -> None:
    kill_and_recover(tmp_path, kills=50, seed=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_and_room_again(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(3_500_000))
    with simulate("--rate", "3000", "--sent-log", str(tmp_path / "sent")) as exports:
        with RecordProcess(small_disk / "user", exports, KRAKEN_L3_FSYNC_INTERVAL_S="0.2") as recorder:
            recorder.until(lambda: "the disk is full" in recorder.said)
            full = recorder.data()
            filler.unlink()
            recorder.until_gaps_closed("disk")
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
            data, journal = recorder.data(), recorder.journal()
    lines = data.splitlines()
    assert data.startswith(full)
    assert set(lines) <= set((tmp_path / "sent").read_bytes().splitlines())
    assert len(lines) == len(set(lines))
    assert [record["state"] for record in journal if record["kind"] == "disk"] == ["full", "ok"]
    gaps = [record for record in journal if record["kind"] == "gap_closed" and record["cause"] == "disk"]
    assert {gap["symbol"] for gap in gaps} == {"BTC/USD", "ETH/USD"}


class TestRefusals:
    def test_without_a_key_it_says_where_to_get_one(self, tmp_path: Path) -> None:
        result = run("record", "--symbols", "BTC/USD", directory=tmp_path)
        assert result.returncode == 1
        for words in ("api_key", "WebSocket interface - On", "make demo"):
            assert words in result.stderr
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({"KRAKEN_L3_DEPTH": "11"}, ["depth", "KRAKEN_L3_DEPTH", "10, 100 or 1000"]),
            ({"KRAKEN_API_SECRET": "not base64!"}, ["api_secret", "base64"]),
            ({"KRAKEN_L3_SYMBOLS": "XBT/USD"}, ["symbols", "BTC/USD"]),
            ({"KRAKEN_L3_SYMBOLS": "BTCUSD"}, ["symbols", "BTC/USD"]),
            ({"KRAKEN_L3_SYMBOLS": " "}, ["symbols", "nothing to record"]),
            ({"KRAKEN_L3_WS_URL": "ws://example.org/v2"}, ["ws_url", "wss://"]),
        ],
    )
    def test_a_wrong_value_is_one_clear_line(self, tmp_path: Path, env: dict, words: list) -> None:
        whole = {"KRAKEN_API_KEY": "k", "KRAKEN_API_SECRET": "c2VjcmV0", "KRAKEN_L3_SYMBOLS": "BTC/USD", **env}
        result = run("record", directory=tmp_path, **whole)
        assert result.returncode == 1, result.stderr
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("kraken-l3:")]
        for word in words:
            assert word in line
        assert "Traceback" not in result.stderr
        assert "not base64!" not in result.stderr

    def test_a_refused_key_ends_with_4_also_on_the_next_start(self, tmp_path: Path) -> None:
        with simulate() as exports:
            wrong = {**exports, "KRAKEN_API_SECRET": "d3Jvbmc=", "KRAKEN_L3_SYMBOLS": "BTC/USD"}
            first = run("record", directory=tmp_path, **wrong)
            second = run("record", directory=tmp_path, **wrong)
        assert (first.returncode, second.returncode) == (4, 4), first.stderr + second.stderr
        assert "EAPI:Invalid signature" in first.stderr
        assert "less than 15 minutes ago" in second.stderr

    def test_a_second_recorder_is_refused(self, tmp_path: Path) -> None:
        with simulate() as exports:
            with RecordProcess(tmp_path, exports) as recorder:
                recorder.until_lines(5)
                second = run("record", directory=tmp_path, **exports, KRAKEN_L3_SYMBOLS="BTC/USD")
                assert second.returncode == 5
                assert str(recorder.process.pid) in second.stderr

    def test_help_reads_well(self, tmp_path: Path) -> None:
        result = run("record", "--help", directory=tmp_path)
        assert result.returncode == 0
        for word in ("--duration", "--symbols", "config.yaml", "Exit codes"):
            assert word in result.stdout
