"""The main job, over real sockets and into real files: what was sent is what is in the archive."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.receipts import MALFORMED
from kraken_l3.errors import ArchiveLocked
from kraken_l3.exchange.faults import Close, Corrupt, Drop, Fault, Fragment, Garbage, Giant, Reject, Stall
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.server import Exchange
from kraken_l3.protocol.decoding import decode_trades
from recording import Recording, flow, run


def sent_per_connection(exchange: Exchange) -> list[list[bytes]]:
    connections = sorted({message.connection for message in exchange.sent.messages if message.channel == "level3"})
    return [exchange.sent.payloads(connection) for connection in connections]


def assert_archive_is_what_was_sent(recording: Recording, exchange: Exchange) -> None:
    """Each connection's lines are the bytes sent on it, from its first on; a reset may swallow the last ones."""
    recorded = [lines for _, lines in sorted(recording.by_connection().items())]
    sent = sent_per_connection(exchange)
    assert len(recorded) == len(sent)
    for got, want in zip(recorded, sent):
        assert got == want[: len(got)]
    assert sum(map(len, recorded)) == len(recording.lines()) > 0


def test_every_byte_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange) as recording:
                await recording.until_lines(1000)
                await recording.until_records("Acknowledged", 2, channel="level3")
            assert_archive_is_what_was_sent(recording, exchange)
            (ack, _) = recording.records("Acknowledged", channel="level3")
            assert ack.depth == 10
            assert not recording.records("GapClosed")
            assert {gap.cause for gap in recording.records("GapOpened")} == {"stop"}
            (stopped,) = recording.records("Stopped")
            assert stopped.reason == "stop"

    run(main())


def test_it_says_that_it_is_alive_and_how_far_each_connection_is(tmp_path: Path) -> None:
    limits = RecorderLimits(alive_s=0)

    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, limits=limits) as recording:
            await recording.until_whole()
            await recording.until(lambda r: any(alive.lines for alive in r.records("Alive")))
        alive = recording.records("Alive")[-1]
        (number,) = recording.by_connection()
        before = [receipt[0] for receipt in recording.receipts() if receipt[0] <= alive.at_ns]
        assert alive.last_frame_ns[number] >= before[-1]
        assert 0 < alive.lines <= len(recording.lines())

    run(main())


def test_receipts_hold_the_receive_times(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as recording:
            await recording.until_lines(300)
        receipts, offset = recording.receipts(), 0
        for line, (_, _, end_offset, connection, flags) in zip(recording.lines(), receipts):
            offset += len(line) + 1
            assert (end_offset, flags) == (offset, 0)
            assert connection > 0
        assert [r[0] for r in receipts] == sorted(r[0] for r in receipts)
        assert [r[1] for r in receipts] == sorted(r[1] for r in receipts)

    run(main())


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Drop(after_messages=50), "network"),
        (Drop(after_messages=50, reset=False), "network"),
        (Close(after_messages=50, code=1001), "closed"),
        (Close(after_messages=50, code=1013, reason="Market data unavailable"), "closed"),
        (Garbage(after_messages=50, what="utf8"), "protocol"),
        (Garbage(after_messages=50, what="rsv1"), "protocol"),
    ],
)
def test_a_connection_that_ends_leaves_a_gap_with_both_edges(tmp_path: Path, fault: Fault, cause: str) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange) as recording:
                await recording.until_whole()
                await exchange.push(fault)
                await recording.until_records("GapClosed", 2, cause=cause)
                await recording.until_lines(len(recording.lines()) + 100)
            assert_archive_is_what_was_sent(recording, exchange)
            assert exchange.tokens_given == 2
            ended = recording.records("Disconnected", cause=cause)[0]
            assert ended.close_code == getattr(fault, "code", None)
            assert ended.last_frame_ns > 0
            gaps = recording.records("GapClosed", cause=cause)
            assert {gap.symbol for gap in gaps} == {"BTC/USD", "ETH/USD"}
            receipts = list(zip(recording.lines(), recording.receipts()))
            first, second = sorted(recording.by_connection())
            last_before = max(recv_ns for _, (recv_ns, _, _, number, _) in receipts if number == first)
            for gap in gaps:
                snapshot = min(
                    recv_ns
                    for line, (recv_ns, _, _, number, _) in receipts
                    if number == second and b'"snapshot"' in line[:60] and gap.symbol.encode() in line[:100]
                )
                assert gap.right_ns == snapshot
                assert last_before <= gap.left_ns < gap.right_ns
            (delay_s,) = recording.delays
            assert 1 <= delay_s < 1.2

    run(main())


def test_half_open_silence_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange, liveness_timeout_s=2) as recording:
                await recording.until_whole()
                await exchange.push(Stall())
                await recording.until_records("GapClosed", 2, cause="silence")
        assert_archive_is_what_was_sent(recording, exchange)

    run(main())


def test_one_rejected_symbol_among_many(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow(10)) as exchange:
            names = list(exchange.feed.instruments())
            faulty = names[3]
            await exchange.push(Reject(symbol=faulty, error=f"Currency pair not supported {faulty}", times=0))
            async with Recording(tmp_path, exchange, symbols=names) as recording:
                await recording.until_records("Acknowledged", 9, channel="level3")
                await recording.until_records("Rejected")
                await recording.until(lambda r: len(r.lines()) >= 300)
            (rejected,) = recording.records("Rejected")
            assert (rejected.symbol, rejected.retry_s) == (faulty, 60.0)
            assert faulty in rejected.error
            (gap,) = recording.records("GapOpened", cause="rejected")
            assert gap.symbol == faulty
            assert_archive_is_what_was_sent(recording, exchange)
            assert exchange.connections_made == 2  # it did not take the others down

    run(main())


def is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def test_malformed_fragmented_and_giant_frames(tmp_path: Path) -> None:
    faults = [
        Garbage(after_messages=20, what="text"),
        Garbage(after_messages=40, what="json"),
        Garbage(after_messages=60, what="empty"),
        Garbage(after_messages=80, what="binary"),
        Fragment(after_messages=100, times=20, every_messages=5),
        Giant(after_messages=300),
        Corrupt(after_messages=320, what="cut"),
    ]

    async def main() -> None:
        async with Exchange(flow(), faults=faults) as exchange:
            async with Recording(tmp_path, exchange) as recording:
                await recording.until(lambda r: len(r.lines()) > 480)  # the giant takes a while
            assert exchange.connections_made == 2
        assert max(map(len, recording.lines())) >= 32 * 1024 * 1024
        assert len(recording.records("Unrecognised")) >= 3
        for line, (*_, flags) in zip(recording.lines(), recording.receipts()):
            assert (flags == MALFORMED) is not is_json(line)
        assert not all(map(is_json, recording.lines()))
        (lines,) = recording.by_connection().values()
        sent = exchange.sent.payloads()
        known = [line for line in lines if line in set(sent)]
        assert known == sent[: len(known)]
        assert len(known) > 450

    run(main())


def test_a_second_recorder_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as first:
            await first.until_lines(50)
            second = Recording(tmp_path, exchange)
            with pytest.raises(ArchiveLocked):
                await second.recorder.run(asyncio.Event())
            await first.until_lines(len(first.lines()) + 50)
        assert len(first.records("Stopped")) == 1

    run(main())


def test_three_hundred_symbols_over_two_connections(tmp_path: Path) -> None:
    async def main() -> None:
        # A machine that stands still sends in a bunch what the budget spaced: `protocol/test_pacing.py` has the rate.
        async with Exchange(flow(300, rate=300), limits=Limits(subscriptions_per_s=2_000)) as exchange:
            names = list(exchange.feed.instruments())
            async with Recording(tmp_path, exchange, symbols=names) as recording:
                await recording.until_lines(500)
                await recording.until_records("Acknowledged", 300, channel="level3")
            assert_archive_is_what_was_sent(recording, exchange)
            assert len(recording.by_connection()) == 2
            assert len(recording.records("Acknowledged", channel="level3")) == 300
            assert not recording.records("Rejected")
        per_connection = [record for record in recording.records("Connected") if record.channel == "level3"]
        assert [len(record.symbols) for record in per_connection] == [150, 150]

    run(main())


def test_trades_are_recorded_beside(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow(rate=3000)) as exchange:
            async with Recording(tmp_path, exchange, trades=True) as recording:
                await recording.until(lambda r: len(r.lines("trade")) > 20)
                await recording.until_records("Instruments")
            assert recording.lines("trade") == exchange.sent.payloads(channel="trade")[: len(recording.lines("trade"))]
            assert not recording.records("TradeGap")
            assert recording.lines("instruments") == exchange.sent.payloads(channel="instrument")
            (known,) = recording.records("Instruments")
            assert {i.symbol: i.price_precision for i in known.instruments}["BTC/USD"] == 1

    run(main())


def test_trades_that_are_missing_over_a_restart_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow(rate=3000)) as exchange:
            async with Recording(tmp_path, exchange, trades=True) as recording:
                await recording.until(lambda r: {b'"BTC/USD"' in line for line in r.lines("trade")} == {True, False})
            before = recording.lines("trade")
            markets = [trader.market for trader in exchange.feed.traders.values()]
            enough = [market.trade_id + 60 for market in markets]  # more than a snapshot repeats
            while any(market.trade_id < count for market, count in zip(markets, enough)):
                await asyncio.sleep(0.01)
            async with Recording(tmp_path, exchange, trades=True) as recording:
                await recording.until_records("TradeGap", 2)
            first = {}
            for line in recording.lines("trade")[len(before) :]:
                for trade in decode_trades(line):
                    first.setdefault(trade.symbol, trade.trade_id)
            last = {trade.symbol: trade.trade_id for line in before for trade in decode_trades(line)}
            gaps = recording.records("TradeGap")
            assert {gap.symbol: (gap.last_id, gap.next_id) for gap in gaps} == {
                symbol: (last[symbol], first[symbol]) for symbol in last
            }

    run(main())


def test_a_symbol_can_be_resubscribed(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange) as recording:
                await recording.until_lines(100)
                resyncs = recording.recorder.resyncs
                assert resyncs is not None
                resyncs.request("BTC/USD", "mismatch", left_ns=123)
                resyncs.request("BTC/USD", "mismatch", left_ns=124)  # it is under way already
                resyncs.request("XYZ/USD", "mismatch", left_ns=124)  # nobody records it
                await recording.until_records("GapClosed", 1, cause="mismatch")
            (gap,) = recording.records("GapClosed")
            assert (gap.symbol, gap.left_ns) == ("BTC/USD", 123)
            (resync,) = recording.records("Resync")
            assert (resync.symbol, resync.attempt) == ("BTC/USD", 1)
            assert exchange.connections_made == 2
            snapshots = [line for line in recording.lines() if b'"snapshot"' in line[:60]]
            assert len(snapshots) == 3

    run(main())


def test_a_restart_on_the_same_day_appends_and_closes_the_gap(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            async with Recording(tmp_path, exchange) as first:
                await first.until_lines(100)
            async with Recording(tmp_path, exchange) as recording:
                await recording.until_records("GapClosed", 2, cause="stop")
            assert_archive_is_what_was_sent(recording, exchange)
            assert len({record.connection for record in recording.records("Connected")}) == 4

    run(main())


def test_a_pair_that_is_listed_later_is_recorded_from_then_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            exchange.set_pair_status("ETH/USD", "work_in_progress")
            async with Recording(tmp_path, exchange, symbols=["*/USD"], trades=True) as recording:
                await recording.until(lambda r: len(r.lines()) > 50)
                assert recording.recorder.symbols == ["BTC/USD"]
                exchange.set_pair_status("ETH/USD", "online")
                await recording.until(lambda r: any(b"ETH/USD" in line[:90] for line in r.lines()))
                await recording.until(lambda r: any(b"ETH/USD" in line[:90] for line in r.lines("trade")))
            assert_archive_is_what_was_sent(recording, exchange)
            assert exchange.connections_made == 4  # the look-up of the pattern, and one a channel
            known = {i.symbol for record in recording.records("Instruments") for i in record.instruments}
            assert known == {"BTC/USD", "ETH/USD"}

    run(main())


def test_a_pair_listed_when_every_connection_is_full_gets_a_new_one(tmp_path: Path) -> None:
    limits = RecorderLimits(symbols_per_connection=1)

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            exchange.set_pair_status("ETH/USD", "work_in_progress")
            async with Recording(tmp_path, exchange, symbols=["all"], limits=limits) as recording:
                await recording.until(lambda r: len(r.lines()) > 50)
                exchange.set_pair_status("ETH/USD", "online")
                await recording.until(lambda r: len(r.by_connection()) == 2)

    run(main())
