import json
from collections import Counter
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from archives import LATENCY_NS, NIGHT_NS, record, time_of
from books import Oracle, lines_with_times
from plain import columns, plain

from kraken_l3.export.bulk import export_table, plan_jobs
from kraken_l3.export.events import EventsTable
from kraken_l3.export.job import run_job
from kraken_l3.export.schema import BAD_RECEIVE_TIME, EVENTS, LAST, MAYBE_BAD_BOOK, SNAPSHOT
from kraken_l3.export.table_files import Memory

SYMBOLS = ("BTC/USD", "ETH/USD")


def export(source, target, engine="auto", **options):
    return export_table(str(source), str(target), EventsTable(**options), engine=engine)


def events_of(target, symbol: str) -> list[dict]:
    directory = target / "events" / f"symbol={symbol.replace('/', '-')}"
    rows = []
    for path in sorted(directory.rglob("*.parquet")):
        table = pq.ParquetFile(path).read()
        assert columns(table) == columns(EVENTS.empty_table())
        rows += plain(table)
    return rows


class Follower:
    """Applies exported events to a book of its own, knowing nothing of ours."""

    def __init__(self) -> None:
        self.orders: dict[str, dict] = {}

    def apply(self, event: dict) -> None:
        action, order_id = event["action"], event["order_id"]
        if action == "clear":
            self.orders.clear()
        elif action in ("delete", "evict"):
            gone = self.orders.pop(order_id)
            assert (gone["price"], gone["qty"]) == (event["price"], event["qty"])
            assert event["qty_change"] == -gone["qty"]
        else:
            before = self.orders.get(order_id)
            assert (before is None) == (action in ("add", "snapshot"))
            assert event["qty_change"] == event["qty"] - (before["qty"] if before else 0)
            self.orders[order_id] = event

    def book(self) -> dict[str, dict[str, tuple]]:
        sides: dict[str, dict[str, tuple]] = {"bids": {}, "asks": {}}
        for order_id, event in self.orders.items():
            price = Decimal(event["price"]).scaleb(-event["price_scale"])
            qty = Decimal(event["qty"]).scaleb(-event["qty_scale"])
            sides[f"{event['side']}s"][order_id] = (price, qty)
        return sides


@pytest.mark.parametrize("depth", [10, 100])
def test_following_the_events_gives_the_book_at_every_line(tmp_path, depth):
    source = record(tmp_path / "a", symbols=SYMBOLS, messages=1_500, depth=depth, gap=True)
    assert export(source, tmp_path / "o").exit_code() == 0
    events = {symbol: events_of(tmp_path / "o", symbol) for symbol in SYMBOLS}
    followers = {symbol: Follower() for symbol in SYMBOLS}
    oracle = Oracle(source)
    at = dict.fromkeys(SYMBOLS, 0)
    for line in range(1_500):
        oracle.step()
        for symbol in SYMBOLS:
            mine = events[symbol]
            touched = False
            while at[symbol] < len(mine) and mine[at[symbol]]["line"] == line:
                followers[symbol].apply(mine[at[symbol]])
                at[symbol] += 1
                touched = True
            if touched:
                orders = oracle.orders(symbol)
                expected = {
                    side: {o["order_id"]: (o["limit_price"], o["order_qty"]) for o in orders[side]} for side in orders
                }
                assert followers[symbol].book() == expected
    assert at == {symbol: len(events[symbol]) for symbol in SYMBOLS}


def test_every_event_says_when_where_and_what(tmp_path):
    source = record(tmp_path / "a", messages=2_000)
    export(source, tmp_path / "o")
    events = events_of(tmp_path / "o", "BTC/USD")
    payloads = [payload for _, payload in lines_with_times(source)]
    for event in events:
        sent = time_of(payloads[event["line"]])
        assert event["ts_event"] == sent
        assert event["ts_recv"] == sent + LATENCY_NS
        assert (event["price_scale"], event["qty_scale"]) == (1, 8)
        assert event["verdict"] == "ok"
        assert bool(event["flags"] & SNAPSHOT) == (event["action"] in ("clear", "snapshot"))
        assert not event["flags"] & (MAYBE_BAD_BOOK | BAD_RECEIVE_TIME)
        if event["action"] == "clear":
            assert (
                event["order_id"]
                is event["price"]
                is event["level"]
                is event["queue_position"]
                is event["qty_ahead"]
                is None
            )
        else:
            assert event["level"] >= 0
            assert event["queue_position"] >= 0
            assert (event["qty_ahead"] == 0) == (event["queue_position"] == 0)
    lines = Counter(event["line"] for event in events)
    assert Counter(event["line"] for event in events if event["flags"] & LAST) == dict.fromkeys(lines, 1)
    classifications = {event["classification"] for event in events}
    assert classifications >= {"none", "new", "reentry", "amend", "fill", "cancel"}


def test_after_a_mismatch_events_are_suspect_until_the_next_snapshot(tmp_path):
    def change(number: int, line: bytes) -> bytes:
        if number != 400:
            return line
        at = line.index(b'"checksum":') + len(b'"checksum":')
        return line[:at] + b"1" + line[at + 1 :] if line[at : at + 1] != b"1" else line[:at] + b"2" + line[at + 1 :]

    source = record(tmp_path / "a", messages=2_000, gap=True, change=change)
    report = export(source, tmp_path / "o")
    assert report.exit_code() == 2
    damaged = json.loads([payload for _, payload in lines_with_times(source)][400])["data"][0]["symbol"]
    for symbol in SYMBOLS:
        events = events_of(tmp_path / "o", symbol)
        resynced = max(event["line"] for event in events if event["action"] == "clear")
        suspect = {event["line"] for event in events if event["flags"] & MAYBE_BAD_BOOK}
        if symbol == damaged:
            assert suspect == {e["line"] for e in events if 400 <= e["line"] < resynced}
            assert [e["verdict"] for e in events if e["line"] == 400] == ["mismatch"] * len(
                [e for e in events if e["line"] == 400]
            )
        else:
            assert not suspect


def test_suspicion_is_carried_over_blocks(tmp_path):
    def change(number: int, line: bytes) -> bytes:
        return line.replace(b'"checksum":', b'"checksum":1') if number == 300 else line

    source = record(tmp_path / "a", messages=1_500, gap=True, change=change)
    export(source, tmp_path / "o1")
    [job] = plan_jobs(str(source), str(tmp_path / "o2"), EventsTable())
    run_job(job, memory=Memory(block_bytes=1_000))
    (tmp_path / "o1/gaps/part-0.parquet").unlink()  # no job's, but of the whole export
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")


def tree(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*.parquet"))}


def test_a_clock_that_stepped_back_is_flagged_and_time_never_falls(tmp_path):
    source = record(tmp_path / "a", messages=300)
    receipts = next(source.glob("l3-*.receipts"))
    data = bytearray(receipts.read_bytes())
    stepped = int.from_bytes(data[32 * 200 : 32 * 200 + 8], "little") - 5_000_000_000
    data[32 * 200 : 32 * 200 + 8] = stepped.to_bytes(8, "little")
    data[32 * 220 + 28] |= 2
    receipts.write_bytes(data)
    export(source, tmp_path / "o")
    events = [event for symbol in SYMBOLS for event in events_of(tmp_path / "o", symbol)]
    assert {e["line"] for e in events if e["flags"] & BAD_RECEIVE_TIME} <= {200, 220}
    assert {e["line"] for e in events if e["flags"] & BAD_RECEIVE_TIME}
    for symbol in SYMBOLS:
        times = [event["ts_recv"] for event in events_of(tmp_path / "o", symbol)]
        assert times == sorted(times)


@pytest.mark.parametrize("first", [0, 7, 298])
def test_receipts_that_were_lost_cost_no_event(tmp_path, first):
    source = record(tmp_path / "a", messages=300)
    export(source, tmp_path / "whole")
    receipts = next(source.glob("l3-*.receipts"))
    data = receipts.read_bytes()
    receipts.write_bytes(data[: 32 * first] + data[32 * (first + 1) :])
    export(source, tmp_path / "o")
    for symbol in SYMBOLS:
        whole, damaged = (events_of(tmp_path / name, symbol) for name in ("whole", "o"))
        assert [e["order_id"] for e in damaged] == [e["order_id"] for e in whole]


def test_a_file_without_companions_has_no_receive_times(tmp_path):
    source = record(tmp_path / "a", messages=400, start_ns=NIGHT_NS)
    foreign = tmp_path / "somebody.ndjson"
    foreign.write_bytes(b"".join(path.read_bytes() for path in sorted(source.glob("l3-*.ndjson"))))
    assert export(foreign, tmp_path / "o").exit_code() == 0
    events = events_of(tmp_path / "o", "BTC/USD")
    assert {event["ts_recv"] for event in events} == {None}
    assert len(events) == sum(len(events_of(tmp_path / "o", "BTC/USD")) for _ in (1,))
    export(source, tmp_path / "ours")
    assert [(e["order_id"], e["action"], e["qty"]) for e in events] == [
        (e["order_id"], e["action"], e["qty"]) for e in events_of(tmp_path / "ours", "BTC/USD") if e["line"] >= 0
    ]


def test_ids_of_odd_length_come_out_whole(tmp_path):
    def change(_: int, line: bytes) -> bytes:
        return line.replace(b'"order_id":"O', b'"order_id":"\xc3\xa4-a-very-long-order-id-O')

    source = record(tmp_path / "a", messages=200, change=change)
    export(source, tmp_path / "o")
    ids = [e["order_id"] for e in events_of(tmp_path / "o", "BTC/USD") if e["action"] != "clear"]
    assert ids
    assert all(i.startswith("ä-a-very-long-order-id-O") and len(i) > 30 for i in ids)


def test_a_changed_precision_shows_from_its_snapshot_on(tmp_path):
    lines = [
        b'{"channel":"level3","type":"snapshot","data":[{"symbol":"A/B","checksum":%d,"bids":[{"order_id":"O1",'
        b'"limit_price":%s,"order_qty":2.00,"timestamp":"2026-01-01T00:00:00.000000001Z"}],"asks":[],'
        b'"timestamp":"2026-01-01T00:00:0%dZ"}]}' % (_crc(digits), price, number)
        for number, (price, digits) in enumerate(
            [(b"1.5", b"15200"), (b"1.5000", b"15000200"), (b"1.5000", b"15000200")]
        )
    ]
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    export(path, tmp_path / "o")
    rests = [e for e in events_of(tmp_path / "o", "A/B") if e["action"] == "snapshot"]
    values = {Decimal(e["price"]).scaleb(-e["price_scale"]) for e in rests}
    assert values == {Decimal("1.5")}


def _crc(digits: bytes) -> int:
    import zlib

    return zlib.crc32(digits)
