"""The verifier beside a recording: what it finds is mended, and what becomes of it does not matter to the recording."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.capture.child import RestartPacing
from kraken_l3.capture.verifier import VerifierLimits, VerifierProcess
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange.faults import Corrupt, Drop, Skip
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.live import ResyncRequest, VerifierFinding
from recording import WAIT_S, Recording, flow, run


def verified(recording: Recording) -> int:
    verifier = recording.recorder.verifier
    return 0 if verifier is None else verifier.progress.ok


@pytest.mark.parametrize("what", ["checksum", "price"])
def test_a_damaged_message_is_found_told_and_mended(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange, verify=True) as recording:
                await recording.until(lambda r: verified(r) > 100)
                while not recording.records("Finding"):  # a wrong price in a deletion, say, does no harm
                    await exchange.push(Corrupt(what=what, symbol="BTC/USD", after_messages=10))
                    await recording.until(lambda _: not exchange.faults.armed)
                    lines = len(recording.lines())
                    await recording.until(lambda r, n=lines: r.records("Finding") or verified(r) > n)
                await recording.until_records("GapClosed", 1, cause="mismatch", symbol="BTC/USD")
                good = verified(recording)
                await recording.until(lambda r: verified(r) > good + 100)
            findings = recording.records("Finding")
            assert {finding.symbol for finding in findings} == {"BTC/USD"}
            first = findings[0]
            line = recording.lines()[first.line]
            assert b"BTC/USD" in line[:80]
            assert len(recording.records("Resync", symbol="BTC/USD", cause="mismatch")) == 1
            assert not [r for r in recording.records("Disconnected") if r.cause != "stop"]

    run(main())


def test_a_message_that_was_not_sent_shows(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange, verify=True) as recording:
                await recording.until(lambda r: verified(r) > 50)
                await exchange.push(Skip(symbol="ETH/USD", after_messages=5, times=3))
                await recording.until_records("GapClosed", 1, cause="mismatch", symbol="ETH/USD")

    run(main())


def test_killed_under_load_it_comes_back_and_the_recording_does_not_notice(tmp_path: Path) -> None:
    limits = RecorderLimits(verifier=VerifierLimits(restarts=RestartPacing(first_s=0.05)))

    async def main() -> None:
        async with Exchange(flow(rate=2000)) as exchange:
            async with Recording(tmp_path, exchange, verify=True, limits=limits) as recording:
                await recording.until(lambda r: verified(r) > 50)
                verifier = recording.recorder.verifier
                assert verifier is not None
                for _ in range(3):
                    killed = verifier.pid
                    assert killed is not None
                    os.kill(killed, signal.SIGKILL)
                    await recording.until(lambda _, v=verifier, k=killed: v.pid != k)
                    told = verifier.progress  # the killed one's last words have been read by now
                    await recording.until(lambda _, v=verifier, t=told: v.progress is not t)
                assert verifier.restarts == 3
                good = verified(recording)
                await recording.until(lambda r: verified(r) > good)
            lines = recording.lines()
            assert lines == exchange.sent.payloads()[: len(lines)]
            assert not recording.records("Finding")
            assert not recording.records("Resync")
            assert exchange.connections_made == 2

    run(main())


@pytest.mark.parametrize("depth", [10, 100])
def test_at_the_end_its_books_are_those_of_the_recorded_bytes_order_by_order(tmp_path: Path, depth: int) -> None:
    """Held against the reference engine, fed with the file from its first byte and nothing else."""

    async def main() -> None:
        async with Exchange(flow(rate=1000)) as exchange:
            async with Recording(tmp_path, exchange, verify=True, depth=depth) as recording:
                await recording.until_lines(400)
                await exchange.push(Drop())
                await recording.until_records("GapClosed", 2, cause="network")
                good = verified(recording)
                await recording.until(lambda r: verified(r) > good + 300)
        (path,) = tmp_path.glob("l3-*.checkpoints")
        last = {checkpoint.symbol: checkpoint for checkpoint in read_checkpoints(path)}
        assert {c.line for c in last.values()} == {len(recording.lines())}
        engine = PythonEngine()
        for known in recording.records("Instruments")[0].instruments:
            precisions = {"price_precision": known.price_precision, "qty_precision": known.qty_precision}
            engine.set_symbol(known.symbol, depth=depth, **precisions)
        engine.feed(b"".join(line + b"\n" for line in recording.lines()), 0, 0)
        for symbol in ("BTC/USD", "ETH/USD"):
            book = engine.export_book(symbol)
            assert book is not None
            assert last[symbol].snapshot == book.message

    run(main())


class TestProcess:
    """The parent's side alone, with children written for the purpose."""

    @staticmethod
    def process(child: str, **more: object) -> "tuple[VerifierProcess, list, list]":
        resyncs: list[ResyncRequest] = []
        findings: list[VerifierFinding] = []
        found = VerifierProcess(
            [sys.executable, "-c", child],
            on_resync=resyncs.append,
            on_finding=findings.append,
            lines_written=more.get("lines_written", lambda: 0),  # type: ignore[arg-type]
            limits=VerifierLimits(
                silence_s=more.get("silence_s", 60.0),  # type: ignore[arg-type]
                finish_s=more.get("finish_s", 3.0),  # type: ignore[arg-type]
                restarts=RestartPacing(first_s=0.01, largest_s=0.02),
            ),
        )
        return found, resyncs, findings

    @staticmethod
    async def until(condition) -> None:
        async def look() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        await asyncio.wait_for(look(), WAIT_S)

    def test_what_it_says_is_taken(self) -> None:
        child = (
            'print(\'{"type":"resync","symbol":"A/B","cause":"silent_symbol"}\')\n'
            'print(\'{"type":"finding","symbol":"A/B","what":"crossed","line":3,"offset":9}\')\n'
            'print(\'{"type":"progress","file":"f","line":5,"messages":5,"ok":4,"mismatched":1}\')\n'
            "import sys; sys.stdout.flush(); sys.stdin.read()"
        )

        async def main() -> None:
            process, resyncs, findings = self.process(child)
            running = asyncio.ensure_future(process.run())
            await self.until(lambda: process.progress.messages == 5)
            assert resyncs == [ResyncRequest("A/B", "silent_symbol")]
            assert findings == [VerifierFinding("A/B", "crossed", 3, 9)]
            running.cancel()
            await asyncio.wait([running])
            await process.finish()
            assert process.restarts == 0

        run(main())

    @pytest.mark.parametrize(
        "child", ["print('nonsense')", "raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)"]
    )
    def test_one_that_fails_is_replaced(self, child: str) -> None:
        async def main() -> None:
            process, _, _ = self.process(child)
            running = asyncio.ensure_future(process.run())
            await self.until(lambda: process.restarts >= 3)
            running.cancel()
            await asyncio.wait([running])
            await process.finish()

        run(main())

    def test_one_that_cannot_be_started_is_tried_again(self) -> None:
        limits = VerifierLimits(restarts=RestartPacing(first_s=0.01))

        async def main() -> None:
            process = VerifierProcess(
                ["/nowhere/verifier"], on_resync=print, on_finding=print, lines_written=lambda: 0, limits=limits
            )
            running = asyncio.ensure_future(process.run())
            await self.until(lambda: process.restarts >= 2)
            running.cancel()
            await asyncio.wait([running])
            await process.finish()

        run(main())

    def test_nonsense_as_its_last_words_does_not_spoil_the_end(self) -> None:
        child = "import sys; sys.stdin.read(); print('nonsense')"

        async def main() -> None:
            process, _, _ = self.process(child)
            running = asyncio.ensure_future(process.run())
            await self.until(lambda: process.pid is not None)
            running.cancel()
            await asyncio.wait([running])
            await process.finish()

        run(main())

    def test_one_that_is_stuck_is_replaced(self) -> None:
        lines = iter(range(1, 1000))

        async def main() -> None:
            process, _, _ = self.process(
                "import time; time.sleep(600)", lines_written=lambda: next(lines), silence_s=0.05, finish_s=0.1
            )
            running = asyncio.ensure_future(process.run())
            await self.until(lambda: process.restarts >= 1)
            running.cancel()
            await asyncio.wait([running])
            assert process.pid is not None
            await process.finish()

        run(main())
