"""A day that a recorder with two connections has just written, repaired from what it kept itself."""

from pathlib import Path

from recordings import lines_of, records_of

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.journal import Repaired
from kraken_l3.archive.reader import open_archive
from kraken_l3.exchange.faults import Delay, Skip
from kraken_l3.exchange.server import Exchange
from kraken_l3.merge.job import merge
from kraken_l3.protocol.alignment import time_of
from kraken_l3.rebuild.verify import verify
from recording import Recording, flow, run

SYMBOL = "BTC/USD"


def test_a_message_that_the_leader_lost_is_put_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow((SYMBOL,))) as exchange:
            data = tmp_path / "data"
            async with Recording(data, exchange, symbols=[SYMBOL], redundancy=2) as recording:
                await recording.until_whole()
                leaders = recording.recorder.leaders
                await recording.until(lambda _: leaders._line(SYMBOL).successor() is not None)
                await recording.until_records("Connected", 2, channel="level3")
                opened = [record.connection for record in recording.records("Connected", channel="level3")]
                leader, follower = leaders.leader(SYMBOL), leaders._line(SYMBOL).successor()
                await exchange.push(Delay(connection=opened.index(follower) + 1, delay_s=0.5, times=0))
                await recording.until_lines(len(recording.lines()) + 100)
                await exchange.push(Skip(connection=opened.index(leader) + 1, symbol=SYMBOL))
                await recording.until_records("GapClosed", cause="lost")
                await recording.until_lines(len(recording.lines()) + 100)
            (lost,) = recording.lines("follower")[1:-1]
            made = [line for line in exchange.sent.payloads(opened.index(leader) + 1) if b'"update"' in line[:60]]
            made = sorted({*made, lost}, key=time_of)
        assert lost not in lines_of(data)
        assert [gap.cause for gap in gaps_in(open_archive(data))] == ["lost", "stop"]
        report = merge([data], tmp_path / "fixed")
        assert report.exit_code() == 0, report
        _, *updates = lines_of(tmp_path / "fixed")
        assert updates[: len(made)] == made[: len(updates)]
        assert len(updates) > made.index(lost) + 1
        assert updates == list(dict.fromkeys(updates))
        (repaired,) = records_of(tmp_path / "fixed", Repaired)
        assert (repaired.cause, repaired.lines) == ("lost", 1)
        assert [gap.cause for gap in gaps_in(open_archive(tmp_path / "fixed"))] == ["stop"]
        tally = verify(tmp_path / "fixed").symbols[SYMBOL].tally
        assert tally.ok == tally.messages == 1 + len(updates)

    run(main())
