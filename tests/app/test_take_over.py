"""A recorder takes the archive over from another one that is at work: nothing lost, nothing twice, at any failure."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.app.take_over import TakeOver, TakeOverLimits
from kraken_l3.archive.gaps import gaps_in, gaps_within, last_receive_ns
from kraken_l3.archive.layout import LOCK_NAME
from kraken_l3.archive.lock import holder_of
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.sink import SinkLimits
from kraken_l3.errors import ArchiveLocked, DiskFull, LocalFault, RefusedByKraken
from kraken_l3.exchange import faults as f
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import NotedFlow
from processes import WAIT_S
from processes import run as command
from recording import Recording

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a recorder on Windows cannot be asked to end")

SYMBOLS = ("BTC/USD", "ETH/USD")


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Scene:
    """An exchange, and an archive that several recorders write to, one after the other."""

    def __init__(self, directory, rate=1000.0, **options):
        self.directory = directory
        self.output = directory / "data"
        self.flow = NotedFlow(SYMBOLS, rate=rate, now_ns=time.time_ns())
        self.exchange = Exchange(self.flow, **options)

    async def __aenter__(self):
        await self.exchange.__aenter__()
        for symbol in SYMBOLS:
            self.flow.watch(symbol, 10)
        return self

    async def __aexit__(self, *_):
        await self.exchange.__aexit__()

    def recording(self, **options):
        """A recorder in this process."""
        return Recording(self.output, self.exchange, **{"trades": True, **options})

    def successor(self, lock_s=10.0, progress_s=10.0, announced=None, **options):
        """A recorder that takes over from one in this process: the SIGTERM is for `ends_by_signal`."""
        limits = TakeOverLimits(progress_s=progress_s, overlap_s=0.1, lock_s=lock_s, end_s=0.0)
        announce = announced.append if announced is not None else lambda _: None
        return self.recording(take_over=TakeOver(self.output, announce=announce, limits=limits), **options)

    async def gained(self, messages=100):
        """Wait until the archive has so many more lines."""
        lines = self.data().count(b"\n") + messages
        deadline = time.monotonic() + WAIT_S
        while self.data().count(b"\n") < lines:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    # -- what came of it

    def data(self, prefix="l3"):
        return b"".join(path.read_bytes() for path in sorted(self.output.glob(f"{prefix}-*.ndjson")))

    def journal(self, kind):
        return [each for each in map(json.loads, self.data("journal").splitlines()) if each["kind"] == kind]

    def gaps(self):
        """Those that `info` counts."""
        archive = open_archive(self.output)
        return [gap for gap in gaps_in(archive) if gaps_within([gap], last_receive_ns(archive, gap.channel))]

    def updates(self, symbol):
        head = f'"symbol":"{symbol}"'.encode()
        return [line for line in self.data().splitlines() if head in line[:90] and b'"type":"update"' in line[:60]]

    def check_whole(self):
        """Every update from the first recorded to the last, once and in order; every book verified; no gap."""
        for symbol in SYMBOLS:
            recorded, sent = self.updates(symbol), self.flow.updates[symbol, 10]
            first = sent.index(recorded[0])
            assert recorded == sent[first : first + len(recorded)]
        assert self.gaps() == []
        self.check_verified()

    def check_verified(self, code=0):
        done = command("verify", "data", directory=self.directory)
        assert done.returncode == code, done.stdout


@contextlib.asynccontextmanager
async def ends_by_signal(recording):
    """A recorder of this process, which SIGTERM ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, recording.stop)
    try:
        async with recording:
            await recording.until_lines(100)
            yield recording
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def run(main):
    asyncio.run(asyncio.wait_for(main(), 3 * WAIT_S))


async def taken_over(scene, **options):
    """A recorder takes over from another one, and records on for a while."""
    async with ends_by_signal(scene.recording()) as old, scene.successor(**options) as new:
        await ended(old)
        await new.until(lambda r: r.recorder._take_over.done.is_set())
        await scene.gained(200)


async def ended(recording):
    await asyncio.wait_for(asyncio.shield(recording.task), WAIT_S)


class TestWhole:
    def test_under_load_with_trades(self, tmp_path):
        async def main():
            async with Scene(tmp_path, rate=2000.0) as scene:
                announced = []
                await taken_over(scene, announced=announced)
                scene.check_whole()
                assert announced == [os.getpid()]
                handovers = scene.journal("handover")
                assert {(r["channel"], r["symbol"], r["matched"], r["cause"]) for r in handovers} == {
                    (channel, symbol, matched, "stop")
                    for channel, matched in (("level3", "bytes"), ("trade", "trade_id"))
                    for symbol in SYMBOLS
                }
                assert sum(r.get("bridged", 0) for r in handovers) > 0
                texts = [json.loads(line)["data"] for line in scene.data("trade").splitlines()]
                ids = sorted({t["trade_id"] for each in texts for t in each if t["symbol"] == "BTC/USD"})
                assert ids == list(range(ids[0], ids[-1] + 1))
                numbers = [r["connection"] for r in scene.journal("connect")]
                assert len(set(numbers)) == len(numbers)

        run(main)

    @pytest.mark.parametrize(
        "manner",
        [
            f.Respell(connection=2, times=0, how="exponent"),
            pytest.param(f.Reorder(connection=2, times=0), marks=pytest.mark.soak),
            pytest.param(f.Restamp(connection=2, times=0), marks=pytest.mark.soak),
        ],
    )
    def test_a_connection_that_writes_in_another_way(self, tmp_path, manner):
        async def main():
            async with Scene(tmp_path, rate=400.0, faults=[manner]) as scene:
                await taken_over(scene)
                assert scene.gaps() == []
                matched = {r["matched"] for r in scene.journal("handover") if r["channel"] == "level3"}
                assert matched == {"untimed" if isinstance(manner, f.Restamp) else "content"}
                scene.check_verified()

        run(main)

    def test_a_connection_that_lags_delivers_later_what_is_archived(self, tmp_path):
        async def main():
            async with Scene(tmp_path, rate=400.0, faults=[f.Delay(connection=2, times=0, delay_s=0.7)]) as scene:
                await taken_over(scene)
                scene.check_whole()

        run(main)

    def test_a_market_that_is_silent(self, tmp_path):
        async def main():
            async with Scene(tmp_path) as scene:
                async with ends_by_signal(scene.recording()) as old:
                    await scene.exchange.push(f.Status(system="maintenance"))
                    async with scene.successor() as new:
                        await ended(old)
                        await new.until(lambda r: r.recorder._take_over.done.is_set())
                        await scene.exchange.push(f.Status(system="online"))
                        await scene.gained(100)
                scene.check_whole()
                assert {r["matched"] for r in scene.journal("handover")} == {"snapshot", "trade_id"}

        run(main)


class TestGaps:
    """What cannot be matched is a gap, as after any start."""

    @pytest.mark.parametrize(
        "manner",
        [
            f.Batch(connection=2, times=0),
            pytest.param(f.Corrupt(connection=2, times=0, what="order_id"), marks=pytest.mark.soak),
        ],
    )
    def test_other_content(self, tmp_path, manner):
        async def main():
            async with Scene(tmp_path, rate=400.0, faults=[manner]) as scene:
                async with ends_by_signal(scene.recording()) as old:
                    async with scene.successor() as new:
                        await ended(old)
                        await new.until_records("GapClosed", 2, channel="level3", cause="stop")
                        await scene.gained(50)
                expected = {("level3", symbol, "stop") for symbol in SYMBOLS}
                assert {(gap.channel, gap.symbol, gap.cause) for gap in scene.gaps()} == expected
                lines = scene.data().splitlines()
                assert len(set(lines)) == len(lines)

        run(main)

    def test_another_depth(self, tmp_path):
        async def main():
            async with Scene(tmp_path, rate=400.0) as scene:
                async with ends_by_signal(scene.recording()) as old:
                    await scene.exchange.push(f.Status(system="maintenance"))  # both snapshots have one checksum
                    async with scene.successor(depth=100) as new:
                        await ended(old)
                        await new.until_records("GapClosed", 2, channel="level3", cause="stop")
                        await scene.exchange.push(f.Status(system="online"))
                        await scene.gained(50)
                assert {each["channel"] for each in scene.journal("handover")} == {"trade"}
                for symbol in SYMBOLS:
                    (gap,) = [gap for gap in scene.gaps() if gap.symbol == symbol]
                    assert (gap.channel, gap.cause) == ("level3", "stop")
                scene.check_verified()

        run(main)


class TestFailures:
    """Up to the moment when the other recorder is asked to end, it records on whatever happens to the new one."""

    def check_untouched(self, tmp_path, error, words, announced=(), **options):
        async def main():
            async with Scene(tmp_path, rate=400.0) as scene, ends_by_signal(scene.recording()) as old:
                told = []
                new = scene.successor(announced=told, progress_s=0.5, lock_s=0.5, **options)
                with pytest.raises(error, match=words):
                    await new.recorder.run(asyncio.Event())
                assert told == list(announced)
                await scene.gained()
                assert not old.task.done()
            scene.check_whole()
            assert len(scene.journal("start")) == 1

        run(main)

    def test_no_connection(self, tmp_path):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{closed.getsockname()[1]}/v2"
            self.check_untouched(tmp_path, LocalFault, r"snapshots are missing", ws_url=url)

    def test_a_key_that_is_refused(self, tmp_path):
        self.check_untouched(tmp_path, RefusedByKraken, "Invalid key", api_key="another")

    def test_symbols_that_are_refused(self, tmp_path):
        self.check_untouched(tmp_path, LocalFault, r"snapshots are missing \(1\)", symbols=["NO/EUR"], trades=False)

    def test_a_recorder_on_another_machine(self, tmp_path):
        async def main():
            async with Scene(tmp_path) as scene, ends_by_signal(scene.recording()):
                signed = json.dumps({"pid": os.getpid(), "host": "elsewhere"})
                (scene.output / LOCK_NAME).write_text(signed)
                with pytest.raises(ArchiveLocked, match="elsewhere"):
                    await scene.successor().recorder.run(asyncio.Event())

        run(main)

    def test_a_recorder_that_does_not_end(self, tmp_path):
        async def main():
            async with Scene(tmp_path, rate=400.0) as scene, ends_by_signal(scene.recording()) as old:
                asked = asyncio.Event()
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
                told = []
                with pytest.raises(ArchiveLocked, match="asked to end, and holds the archive"):
                    await scene.successor(announced=told, lock_s=0.5).recorder.run(asyncio.Event())
                assert asked.is_set()
                assert told == [os.getpid(), holder_of(scene.output).pid]
                await scene.gained()
                assert not old.task.done()
            scene.check_whole()

        run(main)

    def test_nobody_to_take_over_from(self, tmp_path):
        async def main():
            async with Scene(tmp_path) as scene:
                async with scene.successor() as recording:
                    await recording.until_lines(100)
                scene.check_whole()
                assert scene.journal("handover") == []

        run(main)

    def test_no_room_when_the_archive_is_opened(self, tmp_path):
        def full(*_, **__):
            raise DiskFull("no room to start", where="here")

        async def main():
            async with Scene(tmp_path, rate=400.0) as scene:
                async with ends_by_signal(scene.recording()) as old:
                    recorder = scene.successor().recorder
                    recorder._open_writer = full
                    with pytest.raises(DiskFull):
                        await recorder.run(asyncio.Event())
                    await ended(old)
                async with scene.recording() as again:
                    await again.until_records("GapClosed", 4, cause="stop")
                    await scene.gained()
                expected = {(channel, symbol) for channel in ("level3", "trade") for symbol in SYMBOLS}
                assert {(gap.channel, gap.symbol) for gap in scene.gaps()} == expected
                scene.check_verified()

        run(main)

    def test_a_disk_that_fills_up_during_the_hand_over(self, tmp_path):
        class Filling(ArchiveWriter):
            """Has room for ten frames, and again a moment later."""

            left = 10

            def append(self, stream, frames):
                if len(frames) <= self.left:
                    super().append(stream, frames)
                    return
                if self.left:
                    super().append(stream, frames[: self.left])
                    self.left = 0
                    self._fill_up()
                raise self._disk_full()

            def resume(self):
                self.left = 1 << 60
                return super().resume()

        async def main():
            async with Scene(tmp_path, rate=2000.0) as scene:
                async with ends_by_signal(scene.recording()) as old:
                    limits = RecorderLimits(sink=SinkLimits(disk_probe_s=0.5))
                    async with scene.successor(open_writer=Filling.open, limits=limits) as new:
                        await ended(old)
                        await new.until_records("GapClosed", 2, channel="level3")
                        await scene.gained()
                gaps = [gap for gap in scene.gaps() if gap.channel == "level3"]
                assert {gap.symbol for gap in gaps} == set(SYMBOLS)
                lines = scene.data().splitlines()
                assert len(set(lines)) == len(lines)
                for symbol in SYMBOLS:  # what is missing lies in the gap
                    recorded, sent = scene.updates(symbol), scene.flow.updates[symbol, 10]
                    places = [sent.index(each) for each in recorded]
                    holes = [at for at, (a, b) in enumerate(zip(places, places[1:])) if b != a + 1]
                    assert len(holes) <= 1
                    assert places == sorted(places)
                scene.check_verified()

        run(main)
