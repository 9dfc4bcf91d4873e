"""The hftbacktest export without the library; `test_other_tools` reads the files with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from archives import record

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_format
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.formats.event_stream import NewDay
from kraken_l3.export.formats.increments import increments
from kraken_l3.model.events import Side

TRADE, EXCH, LOCAL, BUY, SELL = 2, 1 << 31, 1 << 30, 1 << 29, 1 << 28
LATE_NS = 300_000_000


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """Every trade came 0.3 s after the events of its message; the first ones were repeated at a subscription."""
    source = record(tmp_path_factory.mktemp("late") / "a", symbols=("BTC/USD",), messages=4_000, trades=True)
    [path] = source.glob("trade-*.receipts")
    receipts = np.fromfile(path, "<i8").reshape(-1, 4)
    receipts[:, 0] += LATE_NS
    receipts.tofile(path)
    [data] = source.glob("trade-*.ndjson")
    lines = data.read_bytes().splitlines(keepends=True)
    lines[:2] = [line.replace(b'"type":"update"', b'"type":"snapshot","a":1', 1) for line in lines[:2]]
    data.write_bytes(b"".join(lines))
    grown = np.cumsum([len(line) for line in lines])
    receipts[:, 2] = grown
    receipts.tofile(path)
    return source


def test_a_trade_that_came_late_is_a_local_row_alone(late, tmp_path):
    assert export_format(str(late), str(tmp_path), "hftbacktest", ["BTC/USD"]).exit_code() == 0
    [path] = tmp_path.glob("hftbacktest/*.npz")
    data = np.load(path)["data"]
    at_exchange, received = ((data["ev"] & flag) != 0 for flag in (EXCH, LOCAL))
    assert received.all()
    assert (np.diff(data["exch_ts"][at_exchange]) >= 0).all()
    assert (np.diff(data["local_ts"]) >= 0).all()
    archive = open_archive(late)
    recorded = DayTrades(archive, archive.days[0]).of("BTC/USD")
    new = recorded[~recorded["is_recent"]]
    assert 0 < len(new) < len(recorded)
    traded = data[data["ev"] & 0xFF == TRADE]
    assert traded["ival"].tolist() == new["trade_id"].tolist()
    assert traded["exch_ts"].tolist() == new["ts_event"].tolist()
    assert traded["local_ts"].tolist() == new["ts_recv"].tolist()
    sides = np.where(new["taker_side"] == Side.BID, BUY, SELL)
    assert (traded["ev"] & (BUY | SELL) == sides).all()
    assert np.count_nonzero(traded["ev"] & EXCH) < len(traded) / 2
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["events"]["trade"] == len(new)
    assert told["feed_latency_ns"]["most"] >= LATE_NS


def test_increments_are_one_unit_where_the_archive_does_not_tell_them(late):
    archive = open_archive(late)
    told = increments(archive, NewDay("BTC/USD", archive.days[0], 1, 8))
    assert [str(step) for step in told] == ["0.1", "1E-8"]
    assert float(increments(archive, NewDay("X/Y", archive.days[0], 0, 3)).qty) == 0.001
