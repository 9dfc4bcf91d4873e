"""Take-overs as they are in life: by processes that get signals, die, or are started by systemd."""

import asyncio
import json
import os
import signal
import socket
import sys
import time

import pytest

from kraken_l3.archive.lock import holder_of
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import NotedFlow
from processes import WAIT_S, RecordProcess
from processes import run as command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a recorder on Windows cannot be asked to end")

SYMBOLS = ("BTC/USD", "ETH/USD")


class Scene:
    """An exchange, and the processes that record from it into one archive."""

    def __init__(self, directory, rate=1000.0):
        self.directory = directory
        self.flow = NotedFlow(SYMBOLS, rate=rate, now_ns=time.time_ns())
        self.exchange = Exchange(self.flow)
        self.processes = []

    async def __aenter__(self):
        await self.exchange.__aenter__()
        for symbol in SYMBOLS:
            self.flow.watch(symbol, 10)
        return self

    async def __aexit__(self, *_):
        for process in self.processes:
            process.__exit__()
        await self.exchange.__aexit__()

    def start(self, *options, **env):
        env = {"KRAKEN_L3_SYMBOLS": ",".join(SYMBOLS), "KRAKEN_L3_VERIFY": "false", **env}
        process = RecordProcess(self.directory, self.exchange.environment, *options, **env)
        self.processes.append(process)
        return process

    async def started(self, **env):
        process = self.start(**env)
        await asyncio.to_thread(process.until_whole, SYMBOLS)
        await self.gained(100)
        return process

    async def until(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, self.said
            await asyncio.sleep(0.005)

    async def gained(self, messages):
        """By the receipts, of 32 bytes each: to read a gigabyte would stop the exchange, which runs in this process."""
        enough = self.receipts_bytes() + 32 * messages
        await self.until(lambda: self.receipts_bytes() >= enough)

    def receipts_bytes(self):
        return sum(path.stat().st_size for path in (self.directory / "data").glob("l3-*.receipts"))

    async def until_said(self, event, times=1):
        await self.until(lambda: self.said.count(f'"event": "{event}"') >= times)

    async def ended(self, process, code=0):
        assert await asyncio.to_thread(process.wait) == code, self.said

    async def stop(self, process):
        process.process.send_signal(signal.SIGTERM)
        await self.ended(process)

    # -- what came of it

    @property
    def said(self):
        return self.processes[0].said

    def data(self):
        return self.processes[0].data()

    def journal(self, kind):
        return [each for each in self.processes[0].journal() if each["kind"] == kind]

    def updates(self, symbol):
        head = f'"symbol":"{symbol}"'.encode()
        return [line for line in self.data().splitlines() if head in line[:90] and b'"type":"update"' in line[:60]]

    def holes(self, symbol):
        """How many updates are missing at each place between the first and the last recorded where some are; none is
        there twice or out of order."""
        places = {update: place for place, update in enumerate(self.flow.updates[symbol, 10])}
        found = [places[update] for update in self.updates(symbol)]
        assert all(a < b for a, b in zip(found, found[1:]))
        return [b - a - 1 for a, b in zip(found, found[1:]) if b - a > 1]

    def missing(self):
        """How many are missing in all."""
        return sum(sum(self.holes(symbol)) for symbol in SYMBOLS)

    def check_verified(self, gaps=0):
        """Every book is verified, and `info` shows so many gaps."""
        done = command("verify", "data", directory=self.directory)
        assert done.returncode == 0, done.stdout
        shown = json.loads(command("info", "data", "--json", directory=self.directory).stdout)["result"]
        assert len(shown["gaps"]) == gaps, shown["gaps"]


def run(main, timeout_s=3 * WAIT_S):
    asyncio.run(asyncio.wait_for(main(), timeout_s))


async def taken_over_again_and_again(scene, times):
    recorder = await scene.started(KRAKEN_L3_VERIFY="true")
    for number in range(times):
        successor = scene.start("--take-over", KRAKEN_L3_VERIFY="true")
        await scene.ended(recorder)
        await scene.until_said("took over", number + 1)
        recorder = successor
    await scene.gained(200)
    await scene.stop(recorder)
    assert scene.missing() == 0
    scene.check_verified()
    assert '"level": "error"' not in scene.said
    assert len({r["connection"] for r in scene.journal("connect")}) == len(scene.journal("connect"))


def test_with_verifiers_and_one_key_for_both(tmp_path):
    async def main():
        async with Scene(tmp_path) as scene:
            await taken_over_again_and_again(scene, 1)
            assert "the live verifier ended unexpectedly" not in scene.said
            assert "Invalid nonce" not in scene.said

    run(main)


@pytest.mark.soak
def test_fifty_times_at_4000_messages_a_second(tmp_path):
    async def main():
        async with Scene(tmp_path, rate=4000.0) as scene:
            await taken_over_again_and_again(scene, 50)

    run(main, 1800)


@pytest.mark.soak
def test_the_other_recorder_is_killed_when_it_was_asked_to_end(tmp_path):
    async def main():
        async with Scene(tmp_path) as scene:
            recorder = await scene.started()
            successor = scene.start("--take-over")
            await scene.until_said("asking the other recorder to end")
            recorder.process.kill()
            await scene.until_said("took over")
            await scene.gained(100)
            await scene.stop(successor)
            # killed before it had journalled its end, or just behind that
            assert {r["cause"] for r in scene.journal("handover")} <= {"crash", "stop"}
            assert scene.missing() == 0
            scene.check_verified()

    run(main)


@pytest.mark.soak
def test_the_new_recorder_is_killed_when_it_has_asked(tmp_path):
    async def main():
        async with Scene(tmp_path) as scene:
            recorder = await scene.started()
            successor = scene.start("--take-over")
            await scene.until_said("getting ready to take over")
            recorder.process.send_signal(signal.SIGSTOP)
            await scene.until_said("asking the other recorder to end")
            successor.process.kill()
            await scene.ended(successor, -signal.SIGKILL)
            recorder.process.send_signal(signal.SIGCONT)
            await scene.ended(recorder)
            again = await scene.started()
            await scene.stop(again)
            assert scene.missing() > 0
            scene.check_verified(gaps=len(SYMBOLS))

    run(main)


async def killed_at_any_moment(directory, after_s):
    """The new recorder is killed so many seconds after it asked: what is missing then lies in the gaps."""
    async with Scene(directory, rate=4000.0) as scene:
        recorder = await scene.started()
        successor = scene.start("--take-over")
        await scene.until_said("asking the other recorder to end")
        await asyncio.sleep(after_s)
        successor.process.kill()
        await scene.ended(recorder)
        again = await scene.started()
        await scene.stop(again)
        gaps = json.loads(command("info", "data", "--json", directory=directory).stdout)["result"]["gaps"]
        for symbol in SYMBOLS:
            assert len(scene.holes(symbol)) <= sum(gap["symbol"] == symbol for gap in gaps)
        assert command("verify", "data", directory=directory).returncode == 0


@pytest.mark.soak
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7])
def test_the_new_recorder_is_killed_at_any_moment(tmp_path, after_s):
    run(lambda: killed_at_any_moment(tmp_path, after_s))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or not sys.platform.startswith("linux"), reason="systemd is Linux's")
def test_a_reload_by_systemd_returns_when_the_new_recorder_is_the_main_process(tmp_path):
    """systemd runs ExecReload= with MAINPID and NOTIFY_SOCKET in its environment, and waits for its end."""

    async def main():
        async with Scene(tmp_path) as scene:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(tmp_path / "notify"))
                manager.settimeout(WAIT_S)
                recorder = await scene.started()
                told = {"MAINPID": str(recorder.process.pid), "NOTIFY_SOCKET": str(tmp_path / "notify")}
                reload = scene.start("--take-over", **told)
                await scene.ended(reload)
                successor = holder_of(tmp_path / "data").pid
                assert successor not in (recorder.process.pid, reload.process.pid)
                await scene.ended(recorder)
                heard = [manager.recv(4096).decode()]
                while not heard[-1].startswith("READY=1"):
                    heard.append(await asyncio.to_thread(lambda: manager.recv(4096).decode()))
                assert heard[0] == f"MAINPID={successor}\nWATCHDOG_USEC=60000000"
                await scene.gained(100)
                os.kill(successor, signal.SIGTERM)
                await scene.until(lambda: holder_of(tmp_path / "data") is None)
            assert scene.missing() == 0
            scene.check_verified()

    run(main)


@pytest.mark.soak
def test_a_reload_that_fails_says_so(tmp_path):
    async def main():
        async with Scene(tmp_path) as scene:
            recorder = await scene.started()
            reload = scene.start("--take-over", MAINPID=str(recorder.process.pid), KRAKEN_API_KEY="unknown")
            await scene.ended(reload, 5)
            await scene.gained(50)
            await scene.stop(recorder)
            scene.check_verified()

    run(main)
