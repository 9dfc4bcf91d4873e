"""The live relay as a user has it: the recorder's own, and one started by hand, over kills of either process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S
from processes import ROOT, WAIT_S, RecordProcess, run, simulate

COMMAND = [sys.executable, "-m", "kraken_l3"]


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def keys_of(exports: dict[str, str], port: int) -> dict[str, str]:
    """How a program reaches the relay."""
    urls = {"KRAKEN_L3_REST_URL": f"http://127.0.0.1:{port}", "KRAKEN_L3_WS_URL": f"ws://127.0.0.1:{port}/v2"}
    return {**exports, **urls, "KRAKEN_L3_PUBLIC_WS_URL": f"ws://127.0.0.1:{port}/public/v2"}


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/replay") as answer:
        return b'"live": true' in answer.read()
    return False


def relay_pids(recorder: RecordProcess) -> list[int]:
    """The recorder's children that relay: none while it is being started."""
    listing = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(recorder.process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if "--live" in line]


def status_of(recorder: RecordProcess) -> str:
    return (recorder.output / "recorder.status").read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks ps for the recorder's children")
def test_programs_go_on_whatever_is_killed(tmp_path: Path) -> None:
    port = free_port()
    with simulate("--rate", "500") as exports, contextlib.ExitStack() as stack:

        def recording(name: str, exports: dict[str, str], **settings: str) -> RecordProcess:
            return stack.enter_context(RecordProcess(tmp_path / name, exports, KRAKEN_L3_VERIFY="false", **settings))

        recorder = recording("first", exports, KRAKEN_L3_RELAY=f"127.0.0.1:{port}")
        recorder.until_whole()
        by_hand, hand_port = relay_by_hand(stack, recorder.output)
        recorder.until(lambda: answers(port))
        readers = [recording("reader", keys_of(exports, port)), recording("other", keys_of(exports, hand_port))]
        for reader in readers:
            reader.until_lines(100)
        strategy = [sys.executable, str(ROOT / "examples" / "imbalance_strategy.py"), "BTC/USD", "50"]
        recorder.until(lambda: f'"relay":{{"url":"http://127.0.0.1:{port}",' in status_of(recorder))
        subprocess.run(strategy, env={**os.environ, **keys_of(exports, port)}, check=True, timeout=WAIT_S)

        # the recorder is killed: its own relay ends with it, one by hand waits; the next recorder serves both again
        recorder.process.kill()
        recorder.wait()
        sizes = [len(reader.data()) for reader in readers]
        recorder = recording("first", exports, KRAKEN_L3_RELAY=f"127.0.0.1:{port}")
        for reader, size in zip(readers, sizes):
            reader.until_whole(after=size)
        assert "network" not in {record.get("cause") for record in readers[1].journal()}, "it saw silence, and no end"

        # its relay is killed: the recording does not notice, and there is another one
        size, known = len(readers[0].data()), len(recorder.journal())
        recorder.until(lambda: relay_pids(recorder))
        os.kill(relay_pids(recorder)[0], signal.SIGKILL)
        readers[0].until_whole(after=size)
        readers[0].until_lines(readers[0].data().count(b"\n") + 100)
        assert "gap_opened" not in {record["kind"] for record in recorder.journal()[known:]}
        assert by_hand.poll() is None
        for process in (*readers, recorder):
            process.process.send_signal(signal.SIGINT)
            assert process.wait() == 0, process.said
    recorded = recorder.data().splitlines()
    for reader in readers:
        last = reader.data().splitlines()[-50:]
        at = recorded.index(last[0])
        assert last == recorded[at : at + 50]
    done = run("verify", "data", directory=tmp_path / "reader")
    assert done.returncode == 0, done.stdout


def relay_by_hand(stack: contextlib.ExitStack, directory: Path) -> "tuple[subprocess.Popen[str], int]":
    command = [*COMMAND, "replay", str(directory), "--live", "--port", "0"]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for end in (relay.stdout.close, relay.wait, relay.terminate):
        stack.callback(end)
    return relay, int(re.search(r":(\d+)$", relay.stdout.readline().strip())[1])


def test_a_relay_has_no_clock(tmp_path: Path) -> None:
    done = run("replay", ".", "--live", "--from", "2026-01-01T00:00:00Z", directory=tmp_path)
    assert done.returncode == 1
    assert "--from has no meaning with --live" in done.stderr


def test_an_address_in_use_is_one_of_the_recorders_configuration(tmp_path: Path) -> None:
    write_archive(tmp_path / "data", duration_ns=NS_PER_S)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "replay", str(tmp_path / "data"), "--live", "--recorder", "--port", port]
        relay = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with relay:  # whose standard input stays open until it has ended
            said = relay.stderr.read()
    assert relay.returncode == 5
    assert "cannot listen" in said
    assert "`relay` in the recorder's configuration" in said
    assert "--port" not in said
