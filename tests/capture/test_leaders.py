"""Two connections for each symbol, over real sockets: what one loses, the other one has."""

import asyncio
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.journal import HandedOver
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.sink import SinkLimits
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DiskFull
from kraken_l3.exchange.faults import Corrupt, Delay, Drop, Fault, Reorder, Respell, Send, Silence, Skip
from kraken_l3.exchange.limits import Limits as ExchangeLimits
from kraken_l3.exchange.server import Exchange
from kraken_l3.merge.job import merge
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.alignment import identity_of, time_of
from kraken_l3.protocol.arbitration import Limits
from kraken_l3.rebuild.verify import verify
from recording import Recording, flow, run

SYMBOLS = ("BTC/USD", "ETH/USD")


class Redundant(Recording):
    """A recording with two connections."""

    def __init__(self, directory: Path, exchange: Exchange, **options: Any) -> None:
        limits = options.pop("limits", RecorderLimits())._replace(stagger_s=0.0)
        super().__init__(directory, exchange, redundancy=2, limits=limits, **options)
        self.exchange = exchange

    async def until_in_step(self) -> None:
        """Wait until every symbol has a follower that could take over, and as many connections as it should."""
        await self.until_whole()
        await self.until(lambda _: all(self.successor(symbol) is not None for symbol in SYMBOLS))

    def leader(self, symbol: str = "BTC/USD") -> Optional[int]:
        return self.recorder.leaders.leader(symbol)

    def successor(self, symbol: str = "BTC/USD") -> Optional[int]:
        return self.recorder.leaders._line(symbol).successor()

    def client(self, number: Optional[int]) -> int:
        """The exchange's number of one of the recorder's connections."""
        opened = [record.connection for record in self.records("Connected", channel="level3")]
        return opened.index(number) + 1

    async def push(self, number: Optional[int], fault: type[Fault], **options: Any) -> None:
        await self.until_records("Connected", connection=number)
        await self.exchange.push(fault(connection=self.client(number), **options))


def streams(exchange: Exchange) -> dict[str, list[bytes]]:
    """Each symbol's updates, as the exchange made them."""
    found: dict[str, dict[bytes, None]] = defaultdict(dict)
    for message in exchange.sent.messages:
        if message.channel == "level3" and b'"type":"update"' in message.payload:
            found[symbol_of(message.payload)][message.payload] = None
    return {symbol: sorted(payloads, key=time_of) for symbol, payloads in found.items()}


def symbol_of(payload: bytes) -> str:
    return payload.split(b'"symbol":"')[1].split(b'"')[0].decode()


def archived(recording: Recording) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for line in recording.lines():
        found[symbol_of(line)].append(line)
    return found


def assert_nothing_is_missing(recording: Recording, exchange: Exchange) -> None:
    """One snapshot, then every message of the exchange's stream, byte for byte and in order."""
    made = streams(exchange)
    for symbol, (snapshot, *updates) in archived(recording).items():
        assert b'"type":"snapshot"' in snapshot
        first = made[symbol].index(updates[0])
        assert updates == made[symbol][first : first + len(updates)]
    assert not recording.records("GapClosed", channel="level3")
    assert {gap.cause for gap in recording.records("GapOpened", channel="level3")} == {"stop"}
    assert_verified(recording)


def assert_verified(recording: Recording) -> None:
    result = verify(recording.directory)
    assert result.exit_code() == 0
    assert sum(report.tally.ok for report in result.symbols.values()) == len(recording.lines())


def test_a_drop_of_either_connection_costs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first = recording.leader()
                await recording.push(first, Drop)
                await recording.until_records("HandedOver", 2, previous=first)
                await recording.until_in_step()
                await recording.push(recording.successor(), Drop, reset=False)  # of the follower: no hand-over
                await recording.until(lambda r: len(r.records("Disconnected")) == 2)
                await recording.until_in_step()
                await recording.until_lines(len(recording.lines()) + 100)
            assert_nothing_is_missing(recording, exchange)
            assert {over.cause for over in recording.records("HandedOver")} == {"network"}
            assert len(recording.records("HandedOver")) == 2
            assert len(recording.by_connection()) == 2

    run(main())


def test_what_comes_after_the_end_of_a_connection_is_nobodys(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first = recording.leader()
                connection = recording.recorder.connections.numbered(first)
                connection.end("network", "for the test")
                await recording.until_records("Disconnected", connection=first)
                late = b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}'
                connection.on_message(late, 1, 1)
                assert first not in recording.recorder.leaders._line("BTC/USD")._positions
                await recording.until_in_step()
            assert_nothing_is_missing(recording, exchange)

    run(main())


def test_both_down_at_once_leave_one_gap_a_symbol_with_right_edges(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                await exchange.push(Drop(times=2, every_s=0))
                await recording.until_records("GapClosed", 2, channel="level3")
                await recording.until_in_step()
            gaps = recording.records("GapClosed", channel="level3")
            assert {(gap.symbol, gap.cause) for gap in gaps} == {(symbol, "network") for symbol in SYMBOLS}
            assert len(gaps) == 2
            rows = list(zip(recording.lines(), recording.receipts()))
            for gap in gaps:
                mine = [(line, receipt[0]) for line, receipt in rows if symbol_of(line) == gap.symbol]
                (snapshot_ns,) = [at_ns for line, at_ns in mine[1:] if b'"snapshot"' in line]
                assert gap.right_ns == snapshot_ns
                before = [at_ns for _, at_ns in mine if at_ns < snapshot_ns]
                assert before[-1] <= gap.left_ns < snapshot_ns
            assert_verified(recording)

    run(main())


def test_a_leader_that_is_silent_while_its_heartbeats_go_on_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        limits = RecorderLimits(lines=Limits(stall_ns=NS_PER_S // 2))
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange, limits=limits) as recording:
                await recording.until_in_step()
                first = recording.leader()
                await recording.push(first, Silence, symbol="BTC/USD")
                await recording.until_records("HandedOver", cause="stall", symbol="BTC/USD")
                await recording.until_lines(len(recording.lines()) + 200)
            assert not recording.records("Disconnected", cause="silence")
            assert_nothing_is_missing(recording, exchange)
            over = recording.records("HandedOver", symbol="BTC/USD")[0]
            assert (over.previous, over.cause) == (first, "stall")
            assert over.bridged > 0

    run(main())


@pytest.mark.parametrize("lags", ["leader", "follower"])
def test_a_connection_may_lag_by_seconds(tmp_path: Path, lags: str) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first = recording.leader()
                late = first if lags == "leader" else recording.successor()
                await recording.push(late, Delay, delay_s=0.7, times=0)
                await recording.until_lines(len(recording.lines()) + 500)
                await recording.push(first, Drop)
                await recording.until_records("HandedOver", 2)
                await recording.until_lines(len(recording.lines()) + 300)
            assert_nothing_is_missing(recording, exchange)
            over = recording.records("HandedOver")
            assert all((each.bridged if lags == "leader" else each.behind) > 20 for each in over)

    run(main())


def test_connections_that_write_the_same_in_other_ways(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first, second = recording.leader(), recording.successor()
                assert second is not None
                await recording.push(second, Reorder, times=0)
                await recording.push(second, Respell, how="exponent", times=0)
                lines = recording.recorder.leaders._lines
                await recording.until(lambda _: all(line._form == "content" for line in lines.values()))
                await recording.until_in_step()
                await recording.push(first, Drop)
                await recording.until_records("HandedOver", 2, matched="content")
                await recording.until_lines(len(recording.lines()) + 200)
            for symbol, (_, *updates) in archived(recording).items():
                got = [identity_of(line) for line in updates]
                made = list(dict.fromkeys(map(identity_of, streams(exchange)[symbol])))
                assert got == made[made.index(got[0]) :][: len(got)]
            assert not recording.records("GapClosed", channel="level3")
            assert_verified(recording)

    run(main())


def test_a_message_that_the_leader_alone_lost_is_filled_in_where_the_follower_is_ahead(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                await recording.push(recording.leader(), Delay, delay_s=0.5, times=0)
                await recording.until_lines(len(recording.lines()) + 300)
                await recording.push(recording.leader(), Skip)
                await recording.until_records("Difference", outcome="filled")
                await recording.until_lines(len(recording.lines()) + 100)
            assert_nothing_is_missing(recording, exchange)

    run(main())


def test_a_message_that_the_leader_alone_lost_too_late_is_kept_and_the_follower_leads(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path / "data", exchange) as recording:
                await recording.until_in_step()
                first, second = recording.leader(), recording.successor()
                assert second is not None
                await recording.push(second, Delay, delay_s=0.5, times=0)
                await recording.until_lines(len(recording.lines()) + 300)
                await recording.push(first, Skip, symbol="BTC/USD")
                await recording.until_records("GapClosed", cause="lost", symbol="BTC/USD")
                await recording.until_lines(len(recording.lines()) + 100)
                assert (recording.leader("BTC/USD"), recording.leader("ETH/USD")) == (second, first)
            (found,) = recording.records("Difference")
            assert (found.outcome, found.leader, found.follower) == ("lost", first, second)
            before, lost, after = recording.lines("follower")
            assert {line for line in (before, after) if line in recording.lines()} == {before, after}
            assert lost not in recording.lines()
            made = exchange.sent.payloads(2)
            made = [line for line in made if symbol_of(line) == "BTC/USD"]
            assert made[made.index(lost) - 1 : made.index(lost) + 2] == [before, lost, after]
            (gap,) = recording.records("GapClosed", channel="level3")
            at = recording.lines().index(before)
            assert gap.left_ns <= recording.receipts()[at][0]
            assert recording.records("Resync")[0].connection == second
            report = merge([tmp_path / "data"], tmp_path / "fixed")
            assert report.exit_code() == 0
            fixed = Recording(tmp_path / "fixed", exchange)
            assert lost in fixed.lines()
            assert not fixed.records("GapClosed", channel="level3")
            assert_verified(fixed)

    run(main())


@pytest.mark.parametrize("sees_early", [True, False])
def test_a_loss_that_the_verifier_sees_first_needs_no_second_snapshot(tmp_path: Path, sees_early: bool) -> None:
    """The follower tells of it a second later, when the symbol has been subscribed anew. Where no checksum showed the
    loss at once the verifier's gap begins too late."""

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path / "data", exchange) as recording:
                await recording.until_in_step()
                first, second = recording.leader(), recording.successor()
                line = recording.recorder.leaders._line("BTC/USD")
                await recording.push(second, Delay, delay_s=0.3, times=0)
                await recording.until_lines(len(recording.lines()) + 300)
                good_ns = time.time_ns()
                await recording.push(first, Skip, symbol="BTC/USD")
                await recording.until(lambda _: line._suspects)
                left_ns = good_ns if sees_early else good_ns + 3 * NS_PER_S  # an edge in the future: nothing waits
                recording.recorder.resyncs.request("BTC/USD", "mismatch", left_ns)
                await recording.until_records("Difference", outcome="lost")
                await recording.until_lines(len(recording.lines()) + 100)
            (resync,) = recording.records("Resync")
            assert resync.connection == second
            gaps = recording.records("GapClosed", channel="level3")
            assert [gap.cause for gap in gaps] == (["mismatch"] if sees_early else ["mismatch", "lost"])
            before, lost, _ = recording.lines("follower")
            at = recording.lines().index(before)
            assert min(gap.left_ns for gap in gaps) <= max(good_ns, recording.receipts()[at][0])
            assert merge([tmp_path / "data"], tmp_path / "fixed").exit_code() == 0
            fixed = Recording(tmp_path / "fixed", exchange)
            assert lost in fixed.lines()
            assert not fixed.records("GapClosed", channel="level3")
            assert_verified(fixed)

    run(main())


def test_a_follower_with_other_content_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                await recording.push(recording.successor(), Corrupt, what="order_id", times=0, every_messages=3)
                await recording.until(lambda r: len(r.lines()) > 1500)
            sent = exchange.sent.payloads(1)
            assert recording.lines() == sent[: len(recording.lines())]
            found = recording.records("Difference")
            assert 0 < len(found) < 40
            assert {each.outcome for each in found} <= {"conflict", "lost", "filled"}

    run(main())


def test_a_follower_that_turns_out_to_have_other_content_once_it_leads_leaves_a_gap(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow(rate=1000)) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first, second = recording.leader(), recording.successor()
                await recording.push(second, Delay, delay_s=0.5, times=0)
                await recording.until_lines(len(recording.lines()) + 800)
                await recording.push(second, Corrupt, what="order_id", times=0)
                await recording.until_lines(len(recording.lines()) + 200)  # it delivers those later
                await recording.push(first, Drop)
                await recording.until_records("GapClosed", 2, cause="mismatch")
            for symbol in SYMBOLS:
                lines = [line for line in recording.by_connection().get(second, ()) if symbol_of(line) == symbol]
                assert not lines or b'"snapshot"' in lines[0]

    run(main())


def test_a_symbol_whose_book_is_wrong_is_subscribed_anew_on_the_follower(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                first, second = recording.leader(), recording.successor()
                left_ns = SystemClock.wall_ns()
                for _ in range(3):  # asked again meanwhile
                    recording.recorder.resyncs.request("BTC/USD", "mismatch", left_ns)
                await recording.until_records("GapClosed", cause="mismatch", connection=second)
                await recording.until_in_step()
                assert (recording.leader(), recording.successor()) == (second, first)
                recording.recorder.resyncs.request("BTC/USD", "mismatch", SystemClock.wall_ns())
                await recording.until_records("GapClosed", 2, cause="mismatch")
            assert [record.connection for record in recording.records("Resync")] == [second, first]
            assert_verified(recording)

    run(main())


@pytest.mark.parametrize(
    "text",
    [
        '{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[',
        '{"channel":"level3","type":"update","data":[{"symbol":"OLD/USD","bids":[],"asks":[]}]}',
        '{"channel":"level3","type":"snapshot","data":7}',
    ],
)
def test_what_tells_no_symbol_is_archived_once_for_both_connections(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                both = recording.leader(), recording.successor()
                for number in both:
                    await recording.push(number, Send, text=text)
                await recording.until(lambda r: text.encode() in r.lines())
                await recording.push(both[1], Send, text=text + " ")  # this one alone has it
                await recording.until(lambda r: any(line.endswith(b" ") for line in r.lines()))
                await recording.until_lines(len(recording.lines()) + 100)
            assert recording.lines().count(text.encode()) == 1

    run(main())


def test_a_pair_that_is_listed_later_has_two_connections_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow((*SYMBOLS, "SOL/USD"))) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                await recording.until_in_step()
                recording.recorder.symbols.append("SOL/USD")
                recording.recorder.supervisor.record_also("SOL/USD")
                await recording.until(lambda r: r.successor("SOL/USD") is not None)
                await recording.push(recording.leader("SOL/USD"), Drop)
                await recording.until_records("HandedOver", symbol="SOL/USD")
                await recording.until_lines(len(recording.lines()) + 100)
            assert_nothing_is_missing(recording, exchange)

    run(main())


DROPS = [pytest.param(5, 3_000, 1500.0, id="few"), pytest.param(200, 100_000, 400.0, id="many", marks=pytest.mark.soak)]


@pytest.mark.parametrize(("drops", "messages", "rate"), DROPS)
def test_drops_at_random_moments_with_never_both_down(tmp_path: Path, drops: int, messages: int, rate: float) -> None:
    chance = random.Random(drops)

    async def main() -> None:
        async with Exchange(flow(rate=rate), limits=ExchangeLimits(attempts=1_000)) as exchange:
            async with Redundant(tmp_path, exchange) as recording:
                recording.delays.part = 1000
                await recording.until_in_step()
                for number in range(1, drops + 1):
                    await asyncio.sleep(chance.uniform(0, 0.1))
                    which = recording.leader() if chance.random() < 0.7 else recording.successor()
                    await recording.push(which, Drop, reset=chance.random() < 0.5)
                    await recording.until(lambda r, number=number: r.recorder.supervisor.reconnects >= number)
                    await recording.until_in_step()
                await recording.until(lambda r: r.recorder.supervisor.reconnects >= drops)
                while recording.recorder.sink.written_frames < messages:
                    await asyncio.sleep(0.1)
            assert_nothing_is_missing(recording, exchange)
            assert (
                len(recording.records("Disconnected", channel="level3") or recording.records("Disconnected")) >= drops
            )

    run(main())


class Watched:
    """The archive's writer; before and after the first hand-over it copies the archive, as a kill would leave it. With
    `is_full_for` the disk is full from the first frame of that connection on, until it is set to 0."""

    def __init__(self, writer: ArchiveWriter, directory: Path) -> None:
        self._writer = writer
        self._directory = directory
        self.copies: list[Path] = []
        self.is_full_for: Optional[int] = None

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        numbers = [frame.connection for frame in frames]
        if self.is_full_for == -1 or self.is_full_for in numbers:
            before = frames[: numbers.index(self.is_full_for)] if self.is_full_for in numbers else []
            self.is_full_for = -1
            if before:
                self._writer.append(stream, before)
            raise DiskFull("no space left on device", where="l3")
        self._writer.append(stream, frames)

    def journal(self, record: Any) -> None:
        is_first = isinstance(record, HandedOver) and not self.copies
        if is_first:
            self._copy()
        self._writer.journal(record)
        if is_first:
            self._copy()

    def resume(self) -> bool:
        return self.is_full_for is None

    def _copy(self) -> None:
        self.copies.append(self._directory.with_name(f"killed{len(self.copies)}"))
        shutil.copytree(self._directory, self.copies[-1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def watched(directory: Path, made: list[Watched]) -> dict[str, Any]:
    def open_writer(*args: Any, **kwargs: Any) -> Watched:
        made.append(Watched(ArchiveWriter.open(*args, **kwargs), directory))
        return made[-1]

    limits = RecorderLimits(sink=SinkLimits(disk_probe_s=0.05), lines=Limits(stall_ns=NS_PER_S // 2))
    return {"open_writer": open_writer, "limits": limits}


def test_a_kill_in_the_middle_of_a_hand_over_leaves_gaps_with_right_edges(tmp_path: Path) -> None:
    made: list[Watched] = []
    directory = tmp_path / "data"

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(directory, exchange, **watched(directory, made)) as recording:
                await recording.until_in_step()
                first = recording.leader()
                await recording.push(first, Delay, delay_s=0.4, times=0)
                await recording.until_lines(len(recording.lines()) + 400)
                await recording.push(first, Drop)
                await recording.until_records("HandedOver", 2)
        for copy in made[0].copies:
            writer = ArchiveWriter.open(copy, clock=SystemClock())
            gaps, killed = writer.state.gaps, Recording(copy, exchange)
            writer.close()
            assert {symbol for _, symbol in gaps} == set(SYMBOLS)
            by_symbol = defaultdict(list)
            for line, receipt in zip(killed.lines(), killed.receipts()):
                by_symbol[symbol_of(line)].append(receipt)
            for (_, symbol), gap in gaps.items():
                # the last moment known good: not after what the data has, and not before the old leader's last message
                assert gap.cause == "crash"
                old = [receipt[0] for receipt in by_symbol[symbol] if receipt[3] == first]
                last_ns = max(receipt[0] for receipts in by_symbol.values() for receipt in receipts)
                assert min(old[-1], by_symbol[symbol][-1][0]) <= gap.left_ns <= last_ns

    run(main())


def test_a_disk_that_fills_up_during_a_hand_over(tmp_path: Path) -> None:
    made: list[Watched] = []
    directory = tmp_path / "data"

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Redundant(directory, exchange, **watched(directory, made)) as recording:
                await recording.until_in_step()
                made[0].is_full_for = recording.successor()
                await recording.push(recording.leader(), Silence, symbol="BTC/USD")
                await recording.until(lambda r: not list(r.recorder.connections))
                bridged_ns = recording.recorder.leaders._passed["BTC/USD"].first_ns
                made[0].is_full_for = None
                await recording.until_records("GapClosed", 2, cause="disk")
            for gap in recording.records("GapClosed", cause="disk"):
                rows = zip(recording.lines(), recording.receipts())
                mine = [(line, receipt[0]) for line, receipt in rows if symbol_of(line) == gap.symbol]
                snapshot = next(at for at, (line, _) in enumerate(mine) if at and b'"snapshot"' in line)
                assert gap.right_ns == mine[snapshot][1]
                if gap.symbol == "BTC/USD":
                    # the follower may have received the bridge's first message before the leader its last one
                    assert min(mine[snapshot - 1][1], bridged_ns) <= gap.left_ns <= bridged_ns
            assert_verified(recording)

    run(main())
