"""`kraken-l3 replay` as a user types it, recorded by `kraken-l3 record`: processes, sockets and signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest

import kraken_l3
from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339

COMMAND = [sys.executable, "-m", "kraken_l3"]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two minutes of two pairs, over midnight."""
    directory = tmp_path_factory.mktemp("recorded") / "data"
    start_ns = parse_rfc3339("2026-01-02T23:59:00Z")
    write_archive(directory, duration_ns=120 * NS_PER_S, rate=25.0, seed=3, start_ns=start_ns)
    return directory


def lines_of(directory):
    return [line.payload for line in open_archive(directory).lines("level3")]


def until(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def replaying(path, *options, port="0"):
    """A running replay and what it exports."""
    command = [*COMMAND, "replay", str(path), "--port", port, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        exports = {}
        while len(exports) < 5:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            name, _, value = line.strip().partition(" ")[2].partition("=")
            exports[name] = value
        yield process, exports
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@contextmanager
def recording(directory, exports):
    command = [*COMMAND, "record", "--symbols", "BTC/USD,ETH/USD", "--depth", "10", "--output-dir", str(directory)]
    environment = {**os.environ, **exports}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)


def state(exports):
    with urllib.request.urlopen(exports["KRAKEN_L3_REST_URL"] + "/replay") as answer:
        return json.load(answer)


def count_in(directory):
    return len(lines_of(directory)) if directory.is_dir() else 0


def test_recorded_again_it_is_the_same_bytes(recorded, tmp_path):
    lines = lines_of(recorded)
    assert len(open_archive(recorded).days) == 2
    out = tmp_path / "again"
    with replaying(recorded, "--speed", "max") as (_, exports), recording(out, exports):
        until(lambda: count_in(out) == len(lines))
        assert state(exports)["is_over"]
    assert lines_of(out) == lines
    done = subprocess.run([*COMMAND, "verify", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_over_a_kill_of_the_replay_nothing_is_invented(recorded, tmp_path):
    lines = lines_of(recorded)
    out, sent = tmp_path / "again", tmp_path / "sent.ndjson"
    with replaying(recorded, "--speed", "step", "--sent-log", str(sent)) as (first, exports):
        port = exports["KRAKEN_L3_REST_URL"].rpartition(":")[2]
        with recording(out, exports):
            until(lambda: state(exports)["has_begun"])
            request = urllib.request.Request(exports["KRAKEN_L3_REST_URL"] + "/replay", b'{"step": 400}')
            urllib.request.urlopen(request).close()
            until(lambda: count_in(out) == 400)
            first.kill()
            first.wait()
            at = open_archive(recorded)
            begin_ns = [line.receipt.recv_ns for line in at.lines("level3")][400]
            with replaying(recorded, "--speed", "max", "--from", str(begin_ns), port=port) as (_, again):
                until(lambda: state(again)["is_over"])
                until(lambda: count_in(out) == 400 + 2 + len(lines) - 400)
    got = lines_of(out)
    assert got[:400] == lines[:400]
    assert [json.loads(line)["type"] for line in got[400:402]] == ["snapshot", "snapshot"], "the books of that moment"
    assert got[402:] == lines[400:]
    done = subprocess.run([*COMMAND, "verify", str(out)], capture_output=True, text=True, check=False)
    assert "mismatch" not in done.stdout


def test_a_python_program_uses_it_in_a_block(recorded, tmp_path):
    with kraken_l3.replay(recorded, speed="max") as exchange:
        assert exchange.environment["KRAKEN_API_KEY"] == exchange.api_key
        with recording(tmp_path / "again", exchange.environment):
            assert exchange.wait(WAIT_S)
            until(lambda: count_in(tmp_path / "again") == len(lines_of(recorded)))
        assert exchange.state()["is_over"]
        with pytest.raises(UsageError, match="speed must be"):
            exchange.set_speed("fast")
        exchange.seek("2026-01-03T00:00:00Z")
        assert exchange.state()["at"].startswith("2026-01-03T00:00:0")
    with pytest.raises(OSError, match=r"refused|reset"):
        urllib.request.urlopen(exchange.rest_url + "/replay", timeout=5)


def test_a_replay_outside_its_block_is_an_error(recorded):
    exchange = kraken_l3.replay(recorded)
    for use in (exchange.state, exchange.wait, exchange.pause, lambda: exchange.seek(0)):
        with pytest.raises(UsageError, match="the replay does not run"):
            use()
    with exchange:
        port = int(exchange.rest_url.rpartition(":")[2])
        with pytest.raises(LocalFault, match="cannot listen"), kraken_l3.replay(recorded, port=port):
            pass
    with pytest.raises(UsageError, match="the replay does not run"):
        exchange.state()
    with pytest.raises(UsageError, match="port must be 0 to 65535, got 65536"):
        kraken_l3.replay(recorded, port=65_536)


def test_the_examples_of_the_documentation_run_against_it(recorded):
    examples = Path(__file__).resolve().parents[2] / "examples"
    with replaying(recorded, "--speed", "max") as (_, exports):

        def printed(name, count):
            command = [sys.executable, str(examples / name), "BTC/USD", count]
            done = subprocess.run(command, env={**os.environ, **exports}, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        spreads, trades = printed("watch_spread.py", "20"), printed("imbalance_strategy.py", "1000")
        bare = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
        command = [sys.executable, str(examples / "imbalance_strategy.py"), "BTC/USD"]
        done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
        assert done.stderr.endswith("must be set: paste the lines that kraken-l3 replay prints\n")
    assert len(spreads) == 20
    assert all("2026-01-02T23:59" in line and "spread" in line for line in spreads)
    assert [line.split()[1] for line in trades[:3]] == ["buy", "sell", "buy"]


def test_the_lines_of_the_documentation_are_those_that_it_prints(recorded):
    text = (Path(__file__).resolve().parents[2] / "docs" / "replay.md").read_text()
    shown = dict(re.findall(r"^    export (\w+)=(\S+)$", text, re.MULTILINE))
    served = Exchange()
    served._port = 8765
    assert shown == served.environment


def test_the_fixture_serves_other_peoples_tests(recorded, tmp_path):
    (tmp_path / "test_theirs.py").write_text(
        "import urllib.request\n"
        "def test_it(kraken_replay):\n"
        f"    exchange = kraken_replay({str(recorded)!r}, speed='max')\n"
        "    assert b'online' in urllib.request.urlopen(exchange.rest_url + '/0/public/SystemStatus').read()\n"
    )
    installed = {each.group for each in metadata.distribution("kraken-l3-recorder").entry_points}
    # pytest finds it by itself, but for an installation that is older than its entry point
    plugin = [] if "pytest11" in installed else ["-p", "kraken_l3.api.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "fast"], "speed must be a number above 0, max or step, got fast"),
        (["--from", "yesterday"], "not an RFC 3339 time"),
        (["--host", "0.0.0.0"], "--host must be a loopback address"),
    ],
)
def test_what_cannot_be_is_one_clear_line(recorded, options, message):
    done = subprocess.run([*COMMAND, "replay", str(recorded), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
