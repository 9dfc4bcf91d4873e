"""The recorded trades of a day as columns."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from archives import LATENCY_NS, record
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.export.day_trades import TRADE, DayTrades, rescaled, trade_records
from kraken_l3.model.events import Side
from kraken_l3.model.messages import Trade
from kraken_l3.model.timestamps import parse_rfc3339


def day_of(directory, symbols=None) -> DayTrades:
    archive = open_archive(directory)
    return DayTrades(archive, archive.days[0], symbols)


def trade_file(directory):
    return DayPaths(directory, open_archive(directory).days[0]).data("trade")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return record(tmp_path_factory.mktemp("trades") / "a", messages=6_000, trades=True)


def test_every_trade_of_every_pair_is_there_exactly(source):
    expected: dict = {}
    for line, text in enumerate(trade_file(source).read_bytes().splitlines()):
        for entry in json.loads(text, parse_float=Decimal, parse_int=Decimal)["data"]:
            expected.setdefault(entry["symbol"], []).append((line, entry))
    day = day_of(source)
    assert day.recorded
    assert day.symbols == sorted(expected) == ["BTC/USD", "ETH/USD"]
    for symbol, entries in expected.items():
        records = day.of(symbol)
        assert len(records) == len(entries) > 10
        for row, (line, entry) in zip(records, entries):
            assert (row["line"], row["trade_id"]) == (line, entry["trade_id"])
            assert Decimal(int(row["price"])).scaleb(-int(row["price_scale"])) == entry["price"]
            assert Decimal(int(row["qty"])).scaleb(-int(row["qty_scale"])) == entry["qty"]
            assert row["ts_event"] == parse_rfc3339(entry["timestamp"])
            assert row["ts_recv"] >= row["ts_event"] + LATENCY_NS
            assert Side(row["taker_side"]) is {"buy": Side.BID, "sell": Side.ASK}[entry["side"]]
            assert not row["is_recent"]
        assert len(set(records["price_scale"].tolist())) == len(set(records["qty_scale"].tolist())) == 1
        assert (day_of(source, [symbol]).of(symbol) == records).all()
    assert not len(day_of(source, ["ETH/USD"]).of("BTC/USD"))
    assert not day.unreadable


def test_recent_trades_of_a_second_subscription_count_once(source, tmp_path):
    copy = tmp_path / "b"
    copy.mkdir()
    lines = trade_file(source).read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])["data"]
    again = b"".join(lines[-9:]).replace(b'"type":"update"', b'"type":"snapshot"')
    new = lines[-1].replace(b'"type":"update"', b'"type":"snapshot"').replace(b'"trade_id":', b'"trade_id":77')
    (copy / trade_file(source).name).write_bytes(b"".join(lines) + again + b"not json\n" + new)
    symbol = last[0]["symbol"]
    day, first = day_of(copy, [symbol]), day_of(source).of(symbol)
    records = day.of(symbol)
    assert (records["trade_id"][: len(first)] == first["trade_id"]).all()
    assert (records["line"][: len(first)] == first["line"]).all()
    assert len(records) == len(first) + len(last)
    assert records["is_recent"].tolist() == [False] * len(first) + [True] * len(last)
    assert not records["ts_recv"].any()  # no receipts
    assert day_of(copy).unreadable == 1


def test_a_day_without_a_trade_file_has_none(tmp_path):
    day = day_of(record(tmp_path / "a", messages=100))
    assert not day.recorded
    assert not day.symbols
    assert day.of("BTC/USD").dtype == TRADE


def test_a_pair_named_by_half_a_character_has_none(source):
    assert not len(day_of(source, ["\ud800/USD"]).of("\ud800/USD"))


def trade(trade_id: int, price: str, qty: str = "1") -> Trade:
    return Trade(symbol="A/B", side="buy", price=price, qty=qty, ord_type="", trade_id=trade_id, timestamp_ns=1)


@given(st.lists(st.decimals(0, 10**9, places=4), min_size=1, max_size=9))
def test_a_pair_has_the_decimals_that_its_finest_number_is_written_with(prices):
    texts = [f"{price:f}" for price in prices] + ["7", "2.50", "1e-3", '"4.0"']
    records = trade_records([trade(index, text) for index, text in enumerate(texts)])
    assert set(records["price_scale"].tolist()) == {4}
    told = [Decimal(value).scaleb(-4) for value in records["price"].tolist()]
    assert told == [Decimal(text.strip('"')) for text in texts]


def test_a_number_too_large_for_the_decimals_of_another_changes_none():
    records = trade_records([trade(1, "12345678901.5"), trade(2, "0.000000000000000001")])
    assert records["price"].tolist() == [123456789015, 1]
    assert records["price_scale"].tolist() == [1, 18]
    finer, fits = rescaled(records, 8, 0)
    assert finer["price"][fits].tolist() == [1234567890150000000]
    assert rescaled(records, 18, 0)[1].tolist() == [False, True]
    assert records["price"].tolist() == [123456789015, 1]


@pytest.mark.parametrize("text", ["", "x", "-1", "1e19", "9" * 30, "0." + "1" * 19])
def test_a_number_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError):
        trade_records([trade(1, text)])


def test_a_trade_that_needs_more_decimals_is_left_out():
    records = trade_records([trade(1, "1.25"), trade(2, "1.20"), trade(3, "1.2", "0.125")])
    coarser, fits = rescaled(records, 1, 2)
    assert coarser["trade_id"][fits].tolist() == [2]
    assert coarser["price"][fits].tolist() == [12]
