"""Each day's files can be read alone: they begin with the books at midnight, however the day before ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, begin_second_day_with_snapshots, record, write_checkpoints
from books import Oracle
from plain import plain
from test_events import Follower

import kraken_l3
from kraken_l3.archive.journal import GapClosed, GapOpened, encode_record
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_format, export_table, plan_jobs
from kraken_l3.export.day_start import NO_LINE
from kraken_l3.export.events import EventsTable
from kraken_l3.export.job import run_job
from kraken_l3.export.schema import LAST, MAYBE_BAD_BOOK, SNAPSHOT
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.model.timestamps import day_start_ns

SYMBOLS = ("BTC/USD", "ETH/USD")


@pytest.fixture
def source(tmp_path):
    return record(tmp_path / "source", messages=1_500, start_ns=NIGHT_NS)


def second_day(target: Path, symbol: str) -> list[dict]:
    [path] = (target / f"events/symbol={symbol.replace('/', '-')}").glob("date=2026-11-23/*.parquet")
    return plain(pq.ParquetFile(path).read())


def book_of(events: list[dict]) -> dict:
    follower = Follower()
    for event in events:
        follower.apply(event)
    return follower.book()


def book_at_the_end(source: Path, symbol: str) -> dict:
    oracle = Oracle(source)
    oracle.go_to(1 << 62)
    orders = oracle.orders(symbol)
    return {side: {o["order_id"]: (o["limit_price"], o["order_qty"]) for o in orders[side]} for side in orders}


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("begins", ["goes on", "checkpoints", "alone", "snapshots"])
def test_the_events_of_a_day_lead_to_its_book(source, tmp_path, engine, begins):
    expected = {symbol: book_at_the_end(source, symbol) for symbol in SYMBOLS}
    if begins in ("checkpoints", "alone"):
        write_checkpoints(source)
    if begins == "alone":
        open_archive(source).files()[0].unlink()
    if begins == "snapshots":
        begin_second_day_with_snapshots(source, tmp_path / "again")
        source = tmp_path / "again"
    assert export_table(str(source), str(tmp_path / "o"), EventsTable(), engine=engine).exit_code() == 0
    midnight_ns = day_start_ns(open_archive(source).days[-1])
    for symbol in SYMBOLS:
        events = second_day(tmp_path / "o", symbol)
        assert book_of(events) == expected[symbol]
        start = [event for event in events if event["line"] == NO_LINE]
        assert events[: len(start)] == start
        assert [event["action"] for event in start] == ["clear"] + ["snapshot"] * (len(start) - 1)
        assert {event["ts_recv"] for event in start} == {midnight_ns}
        assert {event["ts_event"] for event in start} == {None}
        assert [event["flags"] for event in start] == [SNAPSHOT] * (len(start) - 1) + [SNAPSHOT | LAST]
        assert len(start) > 20


def test_the_first_day_and_a_window_within_a_day_begin_with_messages(source):
    archive = kraken_l3.open(source)
    events = plain(archive.events("BTC/USD").read_all())
    assert events[0]["line"] >= 0
    assert [event["line"] for event in events].count(NO_LINE) > 20
    midnight_ns = day_start_ns(archive.days[1])
    for start, count in ((midnight_ns, 20), (midnight_ns + 1, -1)):
        lines = [event["line"] for event in plain(archive.events("BTC/USD", start=start).read_all())]
        assert lines.count(NO_LINE) > count
    assert NO_LINE not in lines


def test_a_book_that_may_be_wrong_at_midnight_says_so(tmp_path):
    def change(number: int, line: bytes) -> bytes:
        return line.replace(b'"checksum":', b'"checksum":1') if number == 100 else line

    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=1_500, start_ns=NIGHT_NS, change=change)
    export_table(str(source), str(tmp_path / "o"), EventsTable())
    start = [event for event in second_day(tmp_path / "o", "BTC/USD") if event["line"] == NO_LINE]
    assert start
    assert all(event["flags"] & MAYBE_BAD_BOOK for event in start)


def lose_midnight(source: Path) -> None:
    """Journal a gap of BTC/USD over midnight."""
    days = open_archive(source).days
    midnight_ns = day_start_ns(days[1])
    lines = [line for line in open_archive(source).lines() if line.receipt.recv_ns < midnight_ns]
    of_gap = {"channel": "level3", "symbol": "BTC/USD", "cause": "stop", "left_ns": lines[-1].receipt.recv_ns}
    gap = GapOpened(at_ns=of_gap["left_ns"], **of_gap)
    closed = GapClosed(at_ns=midnight_ns, right_ns=midnight_ns + 1, **of_gap)
    for day, told in ((days[0], gap), (days[1], closed)):
        with DayPaths(source, day).journal.open("ab") as file:
            file.write(encode_record(told) + b"\n")


def test_a_book_of_before_a_gap_is_not_shown_at_midnight(source, tmp_path):
    assert not export_table(str(source), str(tmp_path / "o"), EventsTable()).already_there
    assert export_table(str(source), str(tmp_path / "o"), EventsTable()).already_there == 4
    lose_midnight(source)
    assert export_table(str(source), str(tmp_path / "o"), EventsTable()).already_there == 2  # the first day's
    counts = [[event["line"] for event in second_day(tmp_path / "o", symbol)].count(NO_LINE) for symbol in SYMBOLS]
    assert counts[0] == 0
    assert counts[1] > 20


@pytest.mark.parametrize("resync", ["diff", "clear"])
@pytest.mark.parametrize("begins", ["goes on", "checkpoints", "alone", "snapshots"])
def test_hftbacktest_changes_only_orders_that_the_days_file_has(source, tmp_path, begins, resync):
    if begins in ("checkpoints", "alone"):
        write_checkpoints(source)
    if begins == "alone":
        open_archive(source).files()[0].unlink()
    if begins == "snapshots":
        begin_second_day_with_snapshots(source, tmp_path / "again")
        source = tmp_path / "again"
    export_format(str(source), str(tmp_path), "hftbacktest", ["BTC/USD"], options={"resync": resync})
    data = np.load(tmp_path / "hftbacktest/BTC-USD_2026-11-23.npz")["data"]
    kinds = data["ev"] & 0xFF
    assert kinds[0] == 3
    assert data["local_ts"][0] == day_start_ns(open_archive(source).days[-1])
    live: set[int] = set()
    for kind, order_id in zip(kinds.tolist(), data["order_id"].tolist()):
        if kind == 3:
            live.clear()
        elif kind == 10:
            assert order_id not in live
            live.add(order_id)
        else:
            assert order_id in live
            live -= {order_id} if kind == 11 else set()
    book = kraken_l3.open(source).book("BTC/USD")
    assert len(live) == sum(len(level.orders) for side in (book.bids, book.asks) for level in side)


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("table", [EventsTable, SnapshotsTable])
def test_a_day_that_begins_with_checkpoints_has_the_symbols_that_are_wanted_alone(source, tmp_path, engine, table):
    write_checkpoints(source)
    options = {} if table is EventsTable else {"grid_ns": 1_000_000_000}
    wanted = table(symbols=frozenset(["ETH/USD"]), **options)
    report = export_table(str(source), str(tmp_path / "o"), wanted, engine=engine)
    assert [(file.symbol, file.date) for file in report.files] == [
        ("ETH/USD", "2026-11-22"),
        ("ETH/USD", "2026-11-23"),
    ]
    whole = export_table(str(source), str(tmp_path / "whole"), table(**options), engine=engine)
    planned = plan_jobs(str(source), str(tmp_path / "shared"), table(**options), shares=4, engine=engine)
    shared = [file for job in planned for file in run_job(job).files]
    assert sorted((file.name, file.rows) for file in shared) == sorted((file.name, file.rows) for file in whole.files)
