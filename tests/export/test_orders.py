"""The table `orders` in files: known lives, censoring, midnight, windows, totals, and the same bytes always."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, START_NS, SetClock, begin_recording, record, write_checkpoints
from plain import plain

from kraken_l3.archive.journal import GapClosed, GapOpened, Stopped
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.export.bulk import export_orders, export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.orders.following import read_orders
from kraken_l3.export.orders.lives import OrderLives
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import day_start_ns, format_rfc3339
from kraken_l3.model.window import Window
from kraken_l3.rebuild.metadata import metadata_in

SYMBOL = "BTC/USD"
SECOND = 10**9


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*.parquet"))}


def rows_in(directory: Path, symbol: str = SYMBOL) -> dict[str, list[dict]]:
    """Rows by date."""
    paths = sorted((directory / f"orders/symbol={symbol.replace('/', '-')}").rglob("*.parquet"))
    return {path.parent.name.removeprefix("date="): plain(pq.ParquetFile(path).read()) for path in paths}


def rows_of(source: Path, *windows: Window) -> list[dict]:
    archive = open_archive(source)
    wanted = {"windows": windows} if windows else {}
    return plain(read_orders(archive, SYMBOL, metadata_in(archive), **wanted).read_all().drop_columns("symbol"))


# -- lives that are known

T = START_NS


def entry(order_id: str, price: float, qty: int, second: float, event: str = "") -> str:
    kind = f'"event":"{event}",' if event else ""
    time = format_rfc3339(T + int(second * SECOND))
    return f'{{{kind}"order_id":"{order_id}","limit_price":{price},"order_qty":0.0000000{qty},"timestamp":"{time}"}}'


def message(bids: tuple[str, ...] = (), asks: tuple[str, ...] = (), kind: str = "update") -> bytes:
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"{SYMBOL}","bids":[{",".join(bids)}],'
        f'"asks":[{",".join(asks)}]}}]}}'
    ).encode()


def write(directory: Path, lines: dict[float, bytes], *, depth: int = 2, gaps: tuple[tuple[float, float], ...] = ()):
    """Lines by the second at which they are received."""
    clock = SetClock(T)
    writer = ArchiveWriter.open(directory, clock=clock)
    begin_recording(writer, clock, [SYMBOL], depth)
    for second, line in lines.items():
        clock.now_ns = T + int(second * SECOND)
        for left, right in gaps:
            if right == second:
                edges = {"left_ns": T + int(left * SECOND), "channel": "level3", "symbol": SYMBOL, "cause": "network"}
                writer.journal(GapOpened(at_ns=clock.now_ns, **edges))
                writer.journal(GapClosed(at_ns=clock.now_ns, right_ns=clock.now_ns, **edges))
        writer.append("level3", [Frame(line, clock.now_ns, clock.now_ns, 1)])
    writer.journal(Stopped(at_ns=clock.now_ns, reason="duration"))
    writer.close()
    return directory


SNAPSHOT = message(
    (entry("b1", 100.0, 5, -60), entry("b2", 99.0, 5, -50)), (entry("a1", 101.0, 5, -40),), kind="snapshot"
)
STORY = {
    0: SNAPSHOT,
    1: message((entry("n1", 100.0, 4, 1, "add"),)),
    2: message((entry("b1", 100.0, 0, 2, "delete"), entry("n1", 100.0, 3, 1, "modify"))),  # one trade fills both
    2.5: message((entry("n1", 100.0, 2, 1, "modify"),)),
    3: message((entry("n1", 100.0, 0, 3, "delete"),)),
    4: message((entry("n2", 99.5, 1, 4, "add"), entry("n3", 100.2, 1, 4, "add"))),  # no room for b2
    5: message((entry("n3", 100.2, 1, 5, "delete"), entry("b2", 99.0, 4, -50, "add"))),  # back, and smaller
    6: message((entry("n2", 99.5, 1, 4, "delete"),)),
    6.1: message((entry("n2", 99.6, 2, 6, "add"),)),
    9: message((entry("b2", 99.0, 4, -50),), (entry("a1", 101.0, 5, -40), entry("a2", 101.5, 5, 8)), kind="snapshot"),
    12: message((), (entry("a2", 101.5, 5, 12, "delete"),)),
    13: b'{"channel":"heartbeat"}',
}
GAPS = ((8, 9),)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    source = write(tmp_path_factory.mktemp("orders") / "a", STORY, gaps=GAPS)
    lives: dict[str, list[dict]] = {}
    for row in rows_of(source):
        lives.setdefault(row["order_id"], []).append(row)
    return lives


def told(row: dict, *names: str) -> tuple:
    return tuple(row[name] for name in names)


WHERE = ("birth", "left_censored", "level", "queue_position", "qty_ahead", "orders_ahead", "distance_ticks")
HOW = ("end_cause", "right_censored", "certainty")


def test_an_order_that_arrives_and_is_filled(story):
    [row] = story["n1"]
    assert told(row, *WHERE) == ("new", False, 0, 1, 5, 1, 0)
    assert told(row, "fills", "first_fill_qty", "last_fill_qty", "filled_qty", "reduced_qty") == (2, 1, 2, 3, 1)
    assert told(row, "ts_first_fill", "ts_last_fill") == (T + 2 * SECOND, T + 3 * SECOND)
    assert told(row, *HOW) == ("fill", False, "certain")
    assert told(row, "time_in_book_ns", "time_in_window_ns") == (2 * SECOND, 2 * SECOND)
    assert told(row, "mid_scale", "mid_birth", "mid_fill", "mid_fill_1s", "mid_birth_10s") == (
        2,
        100_50,  # 100.0 and 101.0
        100_50,
        100_00,  # at the third second it is gone itself: 99.0 and 101.0
        100_00,  # at the eleventh that of the new snapshot
    )


def test_an_order_that_rests_already_is_left_censored(story):
    [row] = story["b1"]
    assert told(row, *WHERE) == ("snapshot", True, 0, 0, 0, 0, 0)
    assert told(row, *HOW) == ("fill", False, "certain")
    assert row["ts_order"] == T - 60 * SECOND


def test_an_order_in_front_of_the_best_price_and_its_cancel(story):
    [row] = story["n3"]
    assert told(row, *WHERE) == ("new", False, 0, 0, 0, 0, -12)  # 99.0 was the best before its message
    assert row["distance_bps"] == -12 * 1e4 / 990
    assert told(row, *HOW) == ("cancel", False, "likely")


def test_an_eviction_and_a_reentry_are_one_life_that_the_gap_ends(story):
    before, after = story["b2"]
    assert told(before, "birth", "reentries", "qty", "reduced_qty") == ("snapshot", 1, 5, 1)
    assert told(before, *HOW) == ("gap", True, "certain")
    assert before["ts_end"] == T + 8 * SECOND  # where the gap begins
    assert told(before, "time_in_book_ns", "time_in_window_ns") == (8 * SECOND, 7 * SECOND)
    assert told(after, "birth", "left_censored", "ts_first_seen") == ("snapshot", True, T + 9 * SECOND)
    assert told(after, *HOW) == ("end_of_data", True, "certain")
    assert after["ts_end"] == T + 13 * SECOND  # of the last line, whatever it is


@pytest.mark.parametrize("rest", [{13: b'{"channel":"heartbeat"}'}, {13: SNAPSHOT}])
def test_a_gap_that_begins_with_the_last_event_ends_lives_there(tmp_path, rest):
    lines = {0: SNAPSHOT, 4: message((entry("n1", 100.0, 4, 4, "add"),)), **rest}
    rows = rows_of(write(tmp_path / "a", lines, gaps=((4, 13),)))
    ended = {row["order_id"]: row for row in rows if row["ts_first_seen"] < T + 13 * SECOND}
    assert ended.keys() == {"b1", "b2", "a1", "n1"}
    for row in ended.values():
        assert told(row, *HOW, "ts_end") == ("gap", True, "certain", T + 4 * SECOND)


@pytest.mark.parametrize(("start", "first"), [(7.5, 7.5), (8.5, 9)])
def test_a_window_that_begins_in_a_gap_has_the_lives_from_the_next_snapshot_on(tmp_path, start, first):
    source = write(tmp_path / "a", STORY, gaps=GAPS)
    rows = rows_of(source, Window(T + int(start * SECOND)))
    assert min(row["ts_first_seen"] for row in rows) == T + int(first * SECOND)


def test_an_amend_is_two_lives(story):
    first, second = story["n2"]
    assert told(first, "birth", "amends", *HOW) == ("new", 0, "amend", False, "likely")
    assert told(second, *WHERE, "amends") == ("amend", False, 0, 0, 0, 0, -6, 1)
    assert told(second, *HOW) == ("gap", True, "certain")
    assert second["mid_birth_1s"] == 100_30
    assert second["mid_birth_10s"] is None  # after the end of the data


def test_an_order_that_never_comes_back_ended_when_it_left(tmp_path):
    gone = {
        0: SNAPSHOT,
        1: message((entry("n1", 100.1, 1, 1, "add"),)),
        5: message((), (entry("x", 103, 1, 5, "add"),)),
    }
    [row] = [row for row in rows_of(write(tmp_path / "a", gone)) if row["order_id"] == "b2"]
    assert told(row, *HOW) == ("evict", True, "certain")
    assert told(row, "ts_end", "time_in_window_ns") == (T + SECOND, SECOND)


def test_few_that_left_are_remembered(tmp_path):
    """Of two that left the window the first is forgotten: its life ended, and its re-entry begins another."""
    lines = {
        0: SNAPSHOT,
        1: message((entry("n1", 100.1, 1, 1, "add"),)),  # b2 leaves
        2: message((entry("n2", 100.2, 1, 2, "add"),)),  # b1 leaves
        3: message((entry("n2", 100.2, 1, 3, "delete"), entry("b1", 100.0, 5, -60, "add"))),
        4: message((entry("n1", 100.1, 1, 4, "delete"), entry("b2", 99.0, 5, -50, "add"))),
    }
    source = write(tmp_path / "a", lines)
    table = EventsTable(frozenset([SYMBOL]))
    archive = open_archive(source)
    from kraken_l3.export.stream import read_records

    lives = OrderLives(most_hidden=1)
    found = []
    for batch in read_records(archive, table, metadata_in(archive)):
        records = batch.records
        found += lives.take(records, table.times(records), records["classification"], None, (), batch.day)
    found += lives.finish(T + 5 * SECOND)
    rows = [(row["order_id"].decode(), int(row["reentries"]), int(row["birth"])) for part in found for row in part]
    assert [row[1:] for row in rows if row[0] == "b1"] == [(1, 3)]
    assert [row[1:] for row in rows if row[0] == "b2"] == [(0, 3), (0, 2)]


# -- days


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Two days without checkpoints, and the same with."""
    directory = tmp_path_factory.mktemp("nights")
    sources = {}
    for name in ("goes on", "checkpoints"):
        sources[name] = record(directory / name, messages=1_500, start_ns=NIGHT_NS, trades=True)
    write_checkpoints(sources["checkpoints"])
    return sources


def test_an_order_that_outlives_midnight_is_one_row_of_the_day_it_was_first_seen(nights, tmp_path):
    trees = {}
    for name, source in nights.items():
        export_orders(str(source), str(tmp_path / name))
        trees[name] = rows_in(tmp_path / name)
    assert trees["goes on"] == trees["checkpoints"]
    midnight_ns = day_start_ns(open_archive(nights["goes on"]).days[1])
    first, second = trees["goes on"].values()
    assert any(row["ts_end"] > midnight_ns for row in first)
    assert all(row["ts_first_seen"] < midnight_ns for row in first)
    assert all(row["ts_first_seen"] >= midnight_ns for row in second)
    assert not any(row["birth"] == "snapshot" for row in second)


@pytest.mark.parametrize("name", ["goes on", "checkpoints"])
def test_days_exported_alone_have_two_rows_of_it_with_flags(nights, tmp_path, name):
    source = nights[name]
    midnight_ns = day_start_ns(open_archive(source).days[1])
    export_orders(str(source), str(tmp_path / "both"))
    export_orders(str(source), str(tmp_path / "o"), windows=[Window(0, midnight_ns)])
    export_orders(str(source), str(tmp_path / "o"), windows=[Window(midnight_ns)])
    first, second = rows_in(tmp_path / "o").values()
    both = [row for rows in rows_in(tmp_path / "both").values() for row in rows]
    over = {row["order_id"] for row in both if row["ts_first_seen"] < midnight_ns < row["ts_end"]}
    cut = {row["order_id"] for row in first if row["end_cause"] in ("end_of_data", "evict")}
    begun = {row["order_id"] for row in second if row["birth"] == "snapshot"}
    assert len(begun) > 10
    assert all(row["left_censored"] for row in second if row["birth"] == "snapshot")
    assert all(row["ts_first_seen"] == midnight_ns for row in second if row["birth"] == "snapshot")
    assert begun <= over <= cut | begun
    assert sum(row["filled_qty"] for row in first + second) == sum(row["filled_qty"] for row in both)


def test_a_window_has_the_lives_that_reach_into_it(nights):
    source = nights["goes on"]
    start_ns, end_ns = NIGHT_NS + 3 * SECOND, NIGHT_NS + 6 * SECOND
    everything = [row for row in rows_of(source) if row["ts_end"] >= start_ns and row["ts_first_seen"] < end_ns]
    rows = rows_of(source, Window(start_ns, end_ns))
    assert all(start_ns <= row["ts_first_seen"] <= row["ts_end"] < end_ns for row in rows)
    inside = [row for row in everything if row["ts_first_seen"] >= start_ns and row["ts_end"] < end_ns - 2 * SECOND]
    named = {(row["order_id"], row["amends"]): row for row in rows}
    same = [n for n in inside[0] if n != "amends" and not n.startswith("mid_")]
    for row in inside:
        if not row["right_censored"] and not row["amends"]:
            assert told(named[row["order_id"], 0], *same) == told(row, *same)


# -- totals


def test_fills_are_those_of_the_events_and_of_the_trades(nights, tmp_path):
    source = nights["goes on"]
    export_orders(str(source), str(tmp_path))
    export_table(str(source), str(tmp_path), EventsTable())
    for symbol in ("BTC/USD", "ETH/USD"):
        paths = (tmp_path / f"events/symbol={symbol.replace('/', '-')}").rglob("*.parquet")
        events = [event for path in sorted(paths) for event in plain(pq.ParquetFile(path).read())]
        fills = [event for event in events if event["classification"] in ("fill", "partial_fill")]
        orders = [row for rows in rows_in(tmp_path, symbol).values() for row in rows]
        assert len(fills) > (10 if symbol == SYMBOL else 0)
        assert all(event["trade_id"] is not None for event in fills)
        assert len({event["trade_id"] for event in fills}) == len(fills)
        assert sum(row["fills"] for row in orders) == len(fills)
        assert sum(row["filled_qty"] for row in orders) == -sum(event["qty_change"] for event in fills)
        lowest = min(event["fill_confidence"] for event in fills)
        assert min(row["fill_confidence"] for row in orders if row["fills"]) == lowest
        new = sum(event["classification"] == "new" for event in events)
        assert sum(row["birth"] == "new" for row in orders) == new


def test_every_quantity_goes_somewhere(nights):
    for row in rows_of(nights["goes on"]):
        left = row["qty"] - row["filled_qty"] - row["reduced_qty"]
        assert left == 0 if row["end_cause"] == "fill" else left > 0


# -- files


@pytest.mark.parametrize(("jobs", "engine"), [(2, "auto"), (1, "python")])
def test_the_same_bytes_with_any_number_of_jobs_and_either_engine(nights, tmp_path, jobs, engine):
    source = str(nights["checkpoints"])
    export_orders(source, str(tmp_path / "one"))
    export_orders(source, str(tmp_path / "other"), jobs=jobs, engine=engine)
    assert tree(tmp_path / "one") == tree(tmp_path / "other")
    assert len(tree(tmp_path / "one" / "orders")) == 4


def test_what_is_done_is_not_done_again(nights, tmp_path):
    source = str(nights["goes on"])
    first = export_orders(source, str(tmp_path))
    assert first.already_there == 0
    assert export_orders(source, str(tmp_path)).already_there == len(first.files) == 4
    (tmp_path / first.files[0].name).unlink()
    again = export_orders(source, str(tmp_path))
    assert again.already_there == 0
    assert again.files == first.files
    assert export_orders(source, str(tmp_path), windows=[Window(NIGHT_NS + SECOND)]).already_there == 0


def test_an_export_that_is_stopped_leaves_no_file(nights, tmp_path):
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_orders(str(nights["goes on"]), str(tmp_path), progress=stop)
    assert not any(tmp_path.rglob("orders*"))


def test_quantities_that_are_too_large_saturate(tmp_path):
    huge = "99999999999999.00000000"  # at 8 decimals beyond 64 bits
    snapshot = SNAPSHOT.replace(b"0.00000005", huge.encode())
    lines = {0: snapshot}
    for second, qty in enumerate(("88888888888888", "77777777777777", "66666666666666"), 1):
        change = entry("b1", 100.0, 0, -60, "modify").replace("0.00000000", qty)
        lines[second] = message((change, entry("b2", 99.0, 0, 3, "delete")) if second == 1 else (change,))
    rows = {row["order_id"]: row for row in rows_of(write(tmp_path / "a", lines))}
    largest = 2**63 - 1
    assert told(rows["b1"], "qty", "filled_qty", "reduced_qty") == (largest, largest, largest)
    assert told(rows["b2"], "qty", "filled_qty") == (largest, largest)


def test_a_file_that_says_nothing_of_the_day_gives_its_rows_their_own(nights, tmp_path):
    lines = b"".join(path.read_bytes() for path in open_archive(nights["goes on"]).files())
    (tmp_path / "somebody.ndjson").write_bytes(lines)
    export_orders(str(tmp_path / "somebody.ndjson"), str(tmp_path / "o"), frozenset([SYMBOL]))
    dates = rows_in(tmp_path / "o")
    assert list(dates) == ["2026-11-22", "2026-11-23"]
    rows = [row for rows in dates.values() for row in rows]
    assert len(rows) == len(rows_of(nights["goes on"]))
