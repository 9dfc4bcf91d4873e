"""What is read out of trades and instruments as they pass: jumps of trade_id, changes of precision, new pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.capture.instruments import InstrumentWatch, fetch_instruments
from kraken_l3.capture.trades import TradeWatch
from kraken_l3.clock import SystemClock
from kraken_l3.errors import KrakenL3Error
from recording import run

PAIR = '{"symbol":"%s","price_precision":%d,"qty_precision":8,"price_increment":1E-8,"status":"%s"}'


def trades(symbol: str, *ids: int) -> bytes:
    one = (
        '{"symbol":"%s","side":"buy","price":1.5,"qty":2.0,"ord_type":"limit","trade_id":%d,'
        '"timestamp":"2023-10-06T17:35:55.440295Z"}'
    )
    return f'{{"channel":"trade","type":"update","data":[{",".join(one % (symbol, i) for i in ids)}]}}'.encode()


def pairs(*texts: str) -> bytes:
    return f'{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{",".join(texts)}]}}}}'.encode()


class TestTrades:
    def jumps(self, *messages: bytes) -> list:
        records: list = []
        watch = TradeWatch(records.append, SystemClock())
        for message in messages:
            watch.observe(message, 7)
        return [(gap.symbol, gap.last_id, gap.next_id, gap.connection) for gap in records]

    def test_a_jump_is_told_with_both_ids(self) -> None:
        assert self.jumps(trades("A/B", 5, 6), trades("A/B", 9)) == [("A/B", 6, 9, 7)]

    def test_repetitions_and_other_pairs_are_no_jump(self) -> None:
        assert self.jumps(trades("A/B", 5, 6), trades("C/D", 90), trades("A/B", 4, 5, 6, 7), trades("C/D", 91)) == []

    def test_what_cannot_be_read_does_no_harm(self) -> None:
        assert self.jumps(trades("A/B", 5), b'{"channel":"trade","data":[{}]}', b"nonsense", trades("A/B", 6)) == []

    @pytest.mark.parametrize("trade_id", [-1, 2**63, 10**30])
    def test_an_id_that_cannot_be_is_no_jump(self, trade_id: int) -> None:
        assert self.jumps(trades("A/B", 5), trades("A/B", trade_id), trades("A/B", 6)) == []

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=40, unique=True))
    def test_the_gaps_are_exactly_what_is_missing(self, ids: list) -> None:
        ids = sorted(ids)
        missing = {
            i
            for _, last, following, _ in self.jumps(*(trades("A/B", i) for i in ids))
            for i in range(last + 1, following)
        }
        assert missing == set(range(ids[0], ids[-1])) - set(ids)


class TestInstruments:
    def test_only_changes_of_recorded_pairs_are_records(self) -> None:
        records: list = []
        watch = InstrumentWatch(["A/B"], {}, records.append, SystemClock(), listed=lambda _: [])
        watch.observe(pairs(PAIR % ("A/B", 1, "online"), PAIR % ("C/D", 2, "online")), 1)
        watch.observe(pairs(PAIR % ("A/B", 1, "online")), 1)
        watch.observe(pairs(PAIR % ("A/B", 2, "online")), 1)
        watch.observe(b"nonsense", 1)
        seen = [[(i.symbol, i.price_precision, i.price_increment) for i in record.instruments] for record in records]
        assert seen == [[("A/B", 1, "1E-8")], [("A/B", 2, "1E-8")]]

    @pytest.mark.parametrize("precision", [-3, 19, 10**9, 10**30])
    def test_a_precision_that_cannot_be_is_never_journalled(self, precision: int) -> None:
        records: list = []
        watch = InstrumentWatch(["A/B", "C/D"], {}, records.append, SystemClock(), listed=lambda _: [])
        watch.observe(pairs(PAIR % ("A/B", precision, "online"), PAIR % ("C/D", 2, "online")), 1)
        assert [[i.symbol for i in record.instruments] for record in records] == [["C/D"]]

    def test_a_pair_that_becomes_of_interest_is_records_from_then_on(self) -> None:
        records: list = []
        watch = InstrumentWatch([], {}, records.append, SystemClock(), listed=lambda found: [i.symbol for i in found])
        watch.observe(pairs(PAIR % ("A/B", 1, "online")), 1)
        assert [[i.symbol for i in record.instruments] for record in records] == [["A/B"]]

    def test_a_list_that_does_not_come_is_an_error_with_its_place(self) -> None:
        async def main() -> None:
            with pytest.raises(KrakenL3Error, match=r"127\.0\.0\.1:9"):
                await fetch_instruments("ws://127.0.0.1:9/nowhere", SystemClock())

        run(main())
