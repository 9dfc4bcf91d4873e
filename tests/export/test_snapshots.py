import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, START_NS, record
from books import Oracle, lines_with_times
from plain import plain

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_table
from kraken_l3.export.snapshots import SnapshotsTable

SECOND_NS = 1_000_000_000
SYMBOLS = ("BTC/USD", "ETH/USD", "DOGE/USD")


def export(source, target, engine="auto", **options):
    return export_table(str(source), str(target), SnapshotsTable(**options), engine=engine)


def rows_of(target: Path, symbol: str) -> list[dict]:
    """Rows of all days, times as integer nanoseconds."""
    directory = target / "snapshots" / f"symbol={symbol.replace('/', '-')}"
    rows = []
    for path in sorted(directory.rglob("*.parquet")):
        rows += plain(pq.ParquetFile(path).read())
    return rows


def sides(row: dict) -> tuple[list, list]:
    bids = list(zip(row["bid_prices"], row["bid_qtys"]))
    asks = list(zip(row["ask_prices"], row["ask_qtys"]))
    return bids, asks


@pytest.mark.parametrize(("levels", "grid_ns"), [(10, SECOND_NS // 10), (3, SECOND_NS), (25, SECOND_NS // 4)])
def test_hundreds_of_random_grid_rows_are_the_book_at_their_instant(tmp_path, levels, grid_ns):
    source = record(tmp_path / "a", symbols=SYMBOLS, messages=4_000, depth=100 if levels > 10 else 10, gap=True)
    assert export(source, tmp_path / "o", levels=levels, grid_ns=grid_ns).exit_code() == 0
    rows = [(row, symbol) for symbol in SYMBOLS for row in rows_of(tmp_path / "o", symbol)]
    chosen = sorted(random.Random(1).sample(rows, min(len(rows), 400)), key=lambda item: item[0]["timestamp"])
    assert len(chosen) >= 200
    oracle = Oracle(source)
    for row, symbol in chosen:
        oracle.go_to(row["timestamp"])
        assert row["timestamp"] % grid_ns == 0
        assert sides(row) == oracle.top(symbol, levels)


def test_every_change_has_its_row_at_its_receive_time(tmp_path):
    source = record(tmp_path / "a", symbols=SYMBOLS, messages=1_500, gap=True)
    export(source, tmp_path / "o", levels=5)
    expected = {symbol: [] for symbol in SYMBOLS}
    oracle = Oracle(source)
    for _ in range(1_500):
        time_ns, payload = oracle.step()
        for symbol in SYMBOLS:
            if f'"{symbol}"'.encode() in payload:
                top = oracle.top(symbol, 5)
                if b'"snapshot"' in payload or not expected[symbol] or expected[symbol][-1][1] != top:
                    expected[symbol].append((time_ns, top))
    for symbol in SYMBOLS:
        assert [(row["timestamp"], sides(row)) for row in rows_of(tmp_path / "o", symbol)] == expected[symbol]


def test_the_grid_is_whole_from_the_first_line_to_the_last_but_for_the_gap(tmp_path):
    source = record(tmp_path / "a", messages=3_000, gap=True)
    report = export(source, tmp_path / "o", grid_ns=SECOND_NS)
    times = [time for time, _ in lines_with_times(source)]
    (gap,) = gaps_in(open_archive(source), symbols=["BTC/USD"])
    first = -(-times[0] // SECOND_NS) * SECOND_NS
    grid = [at for at in range(first, times[-1] + 1, SECOND_NS) if not gap.holds(at)]
    assert [row["timestamp"] for row in rows_of(tmp_path / "o", "BTC/USD")] == grid
    assert report.files[0].left_out == len([at for at in range(first, times[-1] + 1, SECOND_NS) if gap.holds(at)])
    assert report.files[0].left_out >= 9


def test_an_instant_at_a_lines_very_time_shows_it(tmp_path):
    source = record(tmp_path / "a", messages=50)
    last = [time for time, _ in lines_with_times(source)][-1]
    export(source, tmp_path / "o", grid_ns=last)
    assert [row["timestamp"] for row in rows_of(tmp_path / "o", "BTC/USD")] == [last]


def test_keep_gaps_marks_the_rows_over_the_gap(tmp_path):
    source = record(tmp_path / "a", messages=2_000, gap=True)
    export(source, tmp_path / "o", grid_ns=SECOND_NS, keep_gaps=True)
    marks = [row["over_gap"] for row in rows_of(tmp_path / "o", "BTC/USD")]
    assert sum(marks) in (9, 10)
    assert not marks[0]
    assert not marks[-1]


def test_five_columns_and_nothing_else(tmp_path):
    source = record(tmp_path / "a", messages=100)
    export(source, tmp_path / "o")
    path = tmp_path / "o/snapshots/symbol=BTC-USD/date=2026-11-22/part-0.parquet"
    lists = pa.list_(pa.float64())
    expected = [("timestamp", pa.timestamp("ns", tz="UTC"))]
    expected += [(name, lists) for name in ("bid_prices", "bid_qtys", "ask_prices", "ask_qtys")]
    assert [(field.name, field.type) for field in pq.ParquetFile(path).schema_arrow] == expected


def test_wide_columns_are_what_they_say(tmp_path):
    source = record(tmp_path / "a", messages=500, change=lambda n, line: _damaged(line) if n == 250 else line)
    report = export(source, tmp_path / "o", wide=True)
    assert report.exit_code() == 2
    rows = [row for symbol in ("BTC/USD", "ETH/USD") for row in rows_of(tmp_path / "o", symbol)]
    assert sum(row["suspect"] for row in rows) == sum(file.suspect for file in report.files) > 0
    assert {row["verdict"] for row in rows} >= {"ok", "mismatch"}
    for row in rows:
        bid, ask = row["bid_prices"][0], row["ask_prices"][0]
        assert row["mid"] == pytest.approx((bid + ask) / 2)
        assert row["spread"] == pytest.approx(ask - bid)
        q_bid, q_ask = row["bid_qtys"][0], row["ask_qtys"][0]
        assert row["imbalance"] == pytest.approx((q_bid - q_ask) / (q_bid + q_ask))
        assert row["microprice"] == pytest.approx((bid * q_ask + ask * q_bid) / (q_bid + q_ask))


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_order_counts_are_those_of_the_book(tmp_path, engine):
    source = record(tmp_path / "a", messages=1_500, gap=True)
    export(source, tmp_path / "o", engine, levels=15, grid_ns=SECOND_NS, wide=True)
    path = next((tmp_path / "o/snapshots").rglob("*.parquet"))
    schema = pq.ParquetFile(path).schema_arrow
    assert schema.field("bid_orders").type == schema.field("ask_orders").type == pa.list_(pa.uint32())
    oracle = Oracle(source)
    rows = rows_of(tmp_path / "o", "BTC/USD")
    for row in rows:
        oracle.go_to(row["timestamp"])
        orders = oracle.orders("BTC/USD")
        for side, name in (("bids", "bid_orders"), ("asks", "ask_orders")):
            counts = Counter(order["limit_price"] for order in orders[side])
            assert row[name] == list(counts.values())[:15]
    assert {count for row in rows for count in row["bid_orders"]} > {1}


@pytest.mark.parametrize("grid_ns", [None, SECOND_NS])
def test_wide_has_the_rows_that_narrow_has(tmp_path, grid_ns):
    source = record(tmp_path / "a", messages=500)
    rows = []
    for name, wide in (("narrow", False), ("wide", True)):
        export(source, tmp_path / name, levels=3, grid_ns=grid_ns, wide=wide)
        rows.append(rows_of(tmp_path / name, "BTC/USD"))
    narrow, wide_rows = rows
    assert [{key: row[key] for key in narrow[0]} for row in wide_rows] == narrow


def _damaged(line: bytes) -> bytes:
    at = line.index(b'"checksum":') + len(b'"checksum":')
    return line[:at] + (b"9" if line[at : at + 1] != b"9" else b"8") + line[at + 1 :]


def test_without_receipts_the_messages_tell_the_time(tmp_path):
    source = record(tmp_path / "a", messages=1_000)
    with_receipts = tmp_path / "o1"
    export(source, with_receipts, grid_ns=SECOND_NS)
    foreign = tmp_path / "somebody.ndjson"
    foreign.write_bytes(next(source.glob("l3-*.ndjson")).read_bytes())
    report = export(foreign, tmp_path / "o2", grid_ns=SECOND_NS)
    assert report.exit_code() == 0
    ours, theirs = rows_of(with_receipts, "BTC/USD"), rows_of(tmp_path / "o2", "BTC/USD")
    assert len(theirs) >= len(ours) - 1
    assert {row["timestamp"] % SECOND_NS for row in theirs} == {0}
    changes = tmp_path / "o3"
    export(foreign, changes)
    first = rows_of(changes, "BTC/USD")[0]
    assert first["timestamp"] == START_NS
    times = [row["timestamp"] for row in rows_of(changes, "BTC/USD")]
    assert len(set(times)) > len(times) // 2


def test_midnight_the_grid_goes_on_over_it_in_the_right_days(tmp_path):
    source = record(tmp_path / "a", messages=2_000, start_ns=NIGHT_NS)
    export(source, tmp_path / "o", grid_ns=SECOND_NS)
    files = sorted((tmp_path / "o/snapshots/symbol=BTC-USD").rglob("*.parquet"))
    assert [path.parent.name for path in files] == ["date=2026-11-22", "date=2026-11-23"]
    rows = rows_of(tmp_path / "o", "BTC/USD")
    times = [row["timestamp"] for row in rows]
    assert times == list(range(times[0], times[-1] + 1, SECOND_NS))
    second_day = pq.ParquetFile(files[1]).read()["timestamp"].cast(pa.int64()).to_pylist()
    assert second_day[0] % (86_400 * SECOND_NS) == 0
    oracle = Oracle(source)
    for row in rows:
        oracle.go_to(row["timestamp"])
        assert sides(row) == oracle.top("BTC/USD", 10)
