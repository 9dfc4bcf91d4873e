"""What the supervisor decides: when to connect, what to resubscribe, and which edges a gap has."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.gaps import GapFolding
from kraken_l3.archive.journal import GapOpened
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.transport import ConnectFailed, connect
from kraken_l3.clock import SystemClock
from kraken_l3.exchange.faults import Drop, Maintenance, TokenError
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import until_sent
from recording import JumpingClock, Recording, flow, run

NS_PER_S = 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
#: To see that something does not happen: many times as long as it would take.
A_MOMENT_S = 0.2


def connected_since(recording: Recording, at_ns: int) -> list[Any]:
    return [record for record in recording.records("Connected", channel="level3") if record.at_ns >= at_ns]


def test_a_gap_keeps_its_first_cause_and_edge() -> None:
    records: list[Any] = []
    ledger = GapLedger([], records.append, SystemClock())
    ledger.open("level3", "A/B", "mismatch", 5, 1)
    ledger.open("level3", "A/B", "network", 7, 1)
    ledger.open("trade", "A/B", "network", 7, 2)
    ledger.close("level3", "A/B", 9, 3)
    ledger.close("level3", "A/B", 10, 3)
    assert [type(record).__name__ for record in records] == ["GapOpened", "GapOpened", "GapClosed"]
    assert (records[2].cause, records[2].left_ns, records[2].right_ns) == ("mismatch", 5, 9)
    assert ledger.counts["A/B"] == 2


def test_a_clock_that_steps_back_makes_no_gap_of_negative_length() -> None:
    records: list[Any] = []
    ledger = GapLedger([], records.append, SystemClock())
    ledger.open("level3", "A/B", "clock", 5_000, 1)
    ledger.close("level3", "A/B", 2_000, 2)
    assert (records[-1].left_ns, records[-1].right_ns) == (5_000, 5_000)


class TestFullDisk:
    def test_room_in_the_queue_is_not_room_on_the_disk(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as recording:
                await recording.until_lines(50)
                intake = recording.recorder.intake
                assert intake is not None
                full_ns = SystemClock.wall_ns()
                intake.on_full(1)
                intake.on_disk_full(full_ns)
                intake.on_room()
                await recording.until(lambda r: not list(r.recorder.connections) and len(r.delays) == 2)
                await asyncio.sleep(A_MOMENT_S)
                assert not connected_since(recording, full_ns)
                intake.on_disk_ok()
                await recording.until_records("GapClosed", 2, cause="disk")

        run(main())

    def test_a_token_that_was_waited_for_does_not_open_a_connection(self, tmp_path: Path) -> None:
        async def main() -> None:
            faults = [TokenError(times=1)]
            async with Exchange(flow(), faults=faults) as exchange, Recording(tmp_path, exchange) as recording:
                await recording.until(lambda r: r.recorder.supervisor is not None)
                intake = recording.recorder.intake
                assert intake is not None
                intake.on_disk_full(0)
                await recording.until(lambda r: exchange.tokens_given == 1)
                await asyncio.sleep(A_MOMENT_S)
                assert not connected_since(recording, 0)
                intake.on_disk_ok()
                await recording.until_lines(50)

        run(main())

    def test_a_gap_that_is_open_already_reaches_back_to_the_first_lost_frame(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as recording:
                await recording.until_lines(50)
                intake = recording.recorder.intake
                assert intake is not None
                await exchange.push(Drop())
                await recording.until_records("GapOpened", 2, cause="network")
                kept_ns = recording.receipts()[20][0]
                intake.on_disk_full(kept_ns)
                intake.on_disk_ok()
                await recording.until_records("GapClosed", 2, cause="disk")
            assert {gap.left_ns for gap in recording.records("GapClosed", cause="disk")} == {kept_ns}

        run(main())

    def test_a_gap_whose_snapshot_is_lost_stays_one_gap(self) -> None:
        records: list[Any] = []
        ledger = GapLedger([], records.append, SystemClock())
        ledger.open("level3", "A/B", "network", 5, 1)
        ledger.close("level3", "A/B", 20, 2)
        ledger.open("level3", "A/B", "disk", 10, 2)  # the connection ends, everything after 10 is lost
        ledger.reopen(records[1])
        ledger.reach_back("disk", 10)
        ledger.close("level3", "A/B", 40, 3)
        state = GapFolding()
        for record in records:
            if record is not records[1]:  # the sink left it out
                state.apply(record)
        assert [(gap.cause, gap.left_ns, gap.right_ns) for gap in state.gaps()] == [("network", 5, 40)]
        assert ledger.counts["A/B"] == 1

    def test_a_gap_whose_snapshot_is_lost_when_the_recorder_stops_still_counts(self) -> None:
        records: list[Any] = []
        ledger = GapLedger([], records.append, SystemClock())
        ledger.open("level3", "A/B", "network", 5, 1)
        ledger.close("level3", "A/B", 20, 2)
        ledger.open("level3", "A/B", "stop", 30, 2)
        ledger.reopen(records[1])
        assert ledger.counts["A/B"] == 1

    def test_a_gap_that_lies_wholly_in_what_is_lost_begins_with_it(self) -> None:
        records: list[Any] = []
        ledger = GapLedger([], records.append, SystemClock())
        ledger.open("level3", "A/B", "network", 15, 1)
        ledger.close("level3", "A/B", 20, 2)
        ledger.open("level3", "A/B", "disk", 10, 2)
        ledger.reopen(records[1])
        ledger.reach_back("disk", 10)
        ledger.close("level3", "A/B", 40, 3)
        assert (records[-1].left_ns, records[-1].right_ns) == (10, 40)

    def test_a_gap_that_began_after_the_first_lost_frame_reaches_back_to_it(self) -> None:
        earlier = GapOpened(at_ns=5, channel="level3", symbol="A/B", cause="rejected", left_ns=5)
        later = GapOpened(at_ns=20, channel="level3", symbol="C/D", cause="network", left_ns=20)
        records: list[Any] = []
        ledger = GapLedger([earlier, later], records.append, SystemClock())
        ledger.reach_back("disk", 10)
        closed, opened = records
        assert (closed.symbol, closed.cause, closed.left_ns, closed.right_ns) == ("C/D", "network", 20, 20)
        assert (opened.symbol, opened.cause, opened.left_ns) == ("C/D", "disk", 10)
        ledger.close("level3", "C/D", 30, 1)
        assert (records[-1].left_ns, records[-1].right_ns) == (10, 30)


def test_a_connection_that_opens_while_the_queue_is_full_is_not_read(tmp_path: Path) -> None:
    async def connect_when_full(url: str, connection: Any, clock: Any) -> Any:
        connection.pause()
        return await connect(url, connection, clock)

    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, connect=connect_when_full) as recording:
            await recording.until_records("Connected", 2)
            await until_sent(exchange, 100)
            assert recording.lines() == []
            intake = recording.recorder.intake
            assert intake is not None
            intake.on_room()
            await recording.until_lines(50)

    run(main())


def test_a_clock_that_was_years_ahead_and_is_set_right_ends_its_days(tmp_path: Path) -> None:
    """Each day's file of instruments opens with the whole list, also when the clock showed later days before."""

    async def main() -> None:
        clock = JumpingClock(4 * 365 * DAY_NS)
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, clock) as recording:
            await recording.until(lambda r: len(r.lines("instruments")) == 1)
            midnight_ns = (SystemClock.wall_ns() // DAY_NS + 1) * DAY_NS
            clock.step_to(midnight_ns - 1800 * NS_PER_S)
            await recording.until(lambda r: len(r.lines("instruments")) == 2)  # of the new connection
            clock.step_to(midnight_ns - NS_PER_S // 10)
            await recording.until(lambda r: len(r.lines("instruments")) == 3)  # of the new day

    run(main())


class TestResync:
    def test_a_request_that_a_reconnect_has_granted_is_forgotten(self, tmp_path: Path) -> None:
        """Resubscribed once more, the symbol would be missing meanwhile, and no gap would say so."""
        limits = RecorderLimits(resync_pauses_s=(0, 3600))

        async def main() -> None:
            async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, limits=limits) as recording:
                await recording.until_lines(50)
                resyncs = recording.recorder.resyncs
                assert resyncs is not None
                resyncs.request("BTC/USD", "mismatch", SystemClock.wall_ns())
                await recording.until_records("GapClosed", 1, cause="mismatch")
                resyncs.request("BTC/USD", "mismatch", SystemClock.wall_ns())  # has to wait
                await exchange.push(Drop())
                await recording.until_records("GapClosed", 2, cause="mismatch")
                await recording.until(lambda _: not resyncs.waiting)
            assert len(recording.records("Resync")) == 1
            snapshots = [line for line in recording.lines() if b'"snapshot"' in line[:60] and b"BTC/USD" in line[:90]]
            assert len(snapshots) == 3

        run(main())


def test_a_cancellation_that_is_swallowed_does_not_keep_the_recorder_from_stopping(tmp_path: Path) -> None:
    """Python before 3.12 does that, in `wait_for`, when what was waited for comes at the same moment."""

    async def main() -> None:
        connecting = asyncio.Event()

        async def swallow_once(*_: Any) -> Any:
            if connecting.is_set():
                await asyncio.Event().wait()
            connecting.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            raise ConnectFailed("swallowed")

        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange, connect=swallow_once) as recording:
                await connecting.wait()
            assert len(recording.records("Stopped")) == 1

    run(main())


def test_during_maintenance_a_failed_attempt_is_not_repeated_within_five_seconds(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as recording:
            await recording.until_lines(50)
            await exchange.push(Maintenance(announce_s=0.1, for_s=0.6, stage_s=0.1))
            await recording.until_records("GapClosed", 2)
        assert len(recording.delays) > 2  # after the closes of both connections, and after being refused
        assert all(delay >= 5 for delay in recording.delays)

    run(main())
