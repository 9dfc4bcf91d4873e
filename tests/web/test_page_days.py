"""Any moment of a recorded day, as the page shows it: books, events, rates, gaps, verdicts."""

import json
import re

import pytest

from kraken_l3.api.archive import open_for_research
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import BookImage
from kraken_l3.errors import DataMissing
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.recheckpointing import make_checkpoints
from kraken_l3.web.days import HEAT_STEP_NS, TILE_NS, Day
from kraken_l3.web.views import MOST_EVENTS, MOST_ORDERS, book_view
from scenes import NOON_NS, SYMBOLS, Scene, recorded

STEP_NS = 100_000_000
BTC = SYMBOLS[0]


def day_of(directory):
    return Day(Archive(directory).files()[-1], directory)


def moments(count=6, messages=600):
    return [NOON_NS + messages * STEP_NS * number // (count - 1) for number in range(1, count)]


def drawn(view):
    """The orders of a view: side, price, quantity, id."""
    return [
        (side, price, qty, order_id)
        for side in ("bids", "asks")
        for price, _, _, orders in view[side]["levels"]
        for qty, order_id, _ in orders
    ]


def told(book):
    return [
        (f"{each.side}s", str(each.price), str(each.qty), each.order_id)
        for side in ("bid", "ask")
        for each in book.orders()
        if each.side == side
    ]


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_each_moment_has_the_book_that_the_archive_has_then(tmp_path, has_checkpoints):
    recorded(tmp_path, 600, step_ns=STEP_NS)
    if has_checkpoints:
        make_checkpoints(tmp_path)
    day, archive = day_of(tmp_path), open_for_research(tmp_path)
    for at_ns in [*moments(), *reversed(moments())]:
        for symbol in SYMBOLS:
            view = day.book(symbol, at_ns)
            book = archive.book(symbol, at=at_ns)
            assert drawn(view) == told(book)
            assert view["state"] == "verified"
            for side, levels in (("bids", book.bids), ("asks", book.asks)):
                assert [level[1] for level in view[side]["levels"]] == [str(level.qty) for level in levels]
                assert view[side]["curve"][-1] == [str(levels[-1].price), str(sum(level.qty for level in levels))]


def test_books_of_the_day_before_go_on_at_midnight(tmp_path):
    scene = Scene(tmp_path, now_ns=parse_rfc3339("2026-11-22T23:59:50Z"), step_ns=STEP_NS)
    scene.write(scene.flow(300))
    scene.close()
    day = day_of(tmp_path)
    assert "23" in day.path.name
    assert drawn(day.book(BTC, scene.clock.now_ns)) == told(open_for_research(tmp_path).book(BTC))


def test_a_moment_in_a_gap_says_so(tmp_path):
    scene = Scene(tmp_path, step_ns=STEP_NS)
    lines = scene.flow(200)
    scene.write(lines[:100])
    scene.gap(seconds=60)
    scene.write(scene.flow(100, seed=2))
    scene.close()
    day = day_of(tmp_path)
    left_ns = NOON_NS + 100 * STEP_NS
    assert day.book(BTC, left_ns + 30 * NS_PER_S)["state"] == "in a gap (network)"
    assert day.book(BTC, left_ns + 65 * NS_PER_S)["state"] == "verified"
    assert day.book(BTC, scene.clock.now_ns)["state"] == "verified"  # the end of a recording is no gap
    edges = [left_ns // 10**6, left_ns // 10**6 + 60_000]
    assert day.facts()["gaps"] == [[*edges, 2, "network"]]
    assert day.facts()["gap_counts"] == dict.fromkeys(SYMBOLS, 1)
    assert day.book(BTC, left_ns)["gaps"] == [[*edges, "network"]]
    columns = day.heat(BTC, NOON_NS)["columns"]
    assert [column[0] for column in columns if edges[0] < column[0] < edges[1]] == []


def test_a_book_that_is_wrong_stays_wrong_however_often_it_is_asked_for(tmp_path):
    scene = Scene(tmp_path, step_ns=STEP_NS)
    lines = scene.flow(200)
    last = max(number for number, line in enumerate(lines) if BTC.encode() in line)
    lines[last] = re.sub(rb'"checksum":\d+', b'"checksum":1', lines[last])
    others = [line for line in scene.flow(2000) if BTC.encode() not in line][: 70 * NS_PER_S // STEP_NS]
    scene.write(lines[: last + 1] + others)
    scene.close()
    day = day_of(tmp_path)
    wrong_ns = NOON_NS + (last + 1) * STEP_NS
    for at_ns in [scene.clock.now_ns, scene.clock.now_ns - NS_PER_S, wrong_ns, scene.clock.now_ns]:
        assert day.book(BTC, at_ns)["state"] == "mismatch"
    assert day.book(BTC, wrong_ns - 1)["state"] == "verified"


def test_the_heat_map_has_the_book_of_each_instant(tmp_path):
    start_ns = NOON_NS - 30 * NS_PER_S
    recorded(tmp_path, 900, step_ns=STEP_NS, now_ns=start_ns)
    day = day_of(tmp_path)
    columns = [column for tile in (NOON_NS - TILE_NS, NOON_NS) for column in day.heat(BTC, tile)["columns"]]
    assert [column[0] * 10**6 for column in columns] == [NOON_NS + n * HEAT_STEP_NS for n in range(-1, 4)]
    assert day.heat(BTC, NOON_NS)["columns"] == columns[1:]
    for at_ms, bids, asks in columns:
        book = open_for_research(tmp_path).book(BTC, at=at_ms * 10**6)
        for side, levels in ((bids, book.bids), (asks, book.asks)):
            assert side == [text for level in levels for text in (str(level.price), str(level.qty))]
    assert day.heat(BTC, NOON_NS + TILE_NS) == {"columns": []}


def test_the_tape_ends_with_the_last_event_before_the_moment(tmp_path):
    recorded(tmp_path, 600, step_ns=STEP_NS)
    day = day_of(tmp_path)
    at_ns = NOON_NS + 375 * STEP_NS
    events = day.book(BTC, at_ns)["events"]
    pytest.importorskip("pyarrow")
    table = open_for_research(tmp_path).events(BTC, end=at_ns + 1).read_all().to_pylist()
    told = [row for row in table if row["action"] != "snapshot"][-len(events) :]
    assert len(events) == MOST_EVENTS
    assert [event.line for event in events] == [row["line"] for row in told]
    assert [event.order_id for event in events] == [row["order_id"] or "" for row in told]
    assert [event.level for event in events] == [row["level"] for row in told]
    assert events[-1].recv <= "2026-11-22T12:00:37.500000000Z"
    assert len({(event.line, event.entry) for event in events}) == len(events)


def test_rates_are_those_of_the_minute_before(tmp_path):
    scene = Scene(tmp_path, step_ns=STEP_NS)
    lines = scene.flow(1200)
    scene.write(lines)
    scene.close()
    at_ns = NOON_NS + 1000 * STEP_NS
    found = day_of(tmp_path).rates(at_ns)
    assert found["seconds"] == pytest.approx(60, abs=0.2)
    minute = lines[399:1000]
    for symbol, rate, _ in found["rows"]:
        count = sum(json.loads(line)["data"][0]["symbol"] == symbol for line in minute)
        assert rate == pytest.approx(count / 60, abs=0.1)
    assert {row[0] for row in found["rows"]} == set(SYMBOLS)
    assert day_of(tmp_path).rates(NOON_NS - NS_PER_S)["rows"] == []


def test_verdicts_of_a_day_are_counted_once(tmp_path):
    recorded(tmp_path, 400)
    day = day_of(tmp_path)
    assert day.verdicts() == {"state": "counting", "share": 0.0}
    day.count_verdicts()
    found = day.verdicts()
    assert found["state"] == "verified"
    assert sum(ok for ok, _, _ in found["symbols"].values()) == 400
    assert {(bad, unknown) for _, bad, unknown in found["symbols"].values()} == {(0, 0)}


def test_a_damaged_receipt_makes_no_endless_strip(tmp_path):
    recorded(tmp_path, 100)
    (path,) = tmp_path.glob("l3-*.receipts")
    path.write_bytes(bytes(8) + path.read_bytes()[8:])
    facts = day_of(tmp_path).facts()
    assert len(facts["counts"]) < 400
    assert sum(facts["counts"]) == 99  # all whose time is told


def test_a_day_with_nothing_in_it(tmp_path):
    scene = Scene(tmp_path)
    scene.write(())
    scene.close()
    assert Archive(tmp_path).files() == []
    path = tmp_path / "l3-2026-11-22.ndjson"
    path.touch()
    path.with_suffix(".receipts").touch()
    day = day_of(tmp_path)
    facts = day.facts()
    assert (facts["start"], facts["end"], facts["counts"]) == (0, 0, [])
    assert day.rates(NOON_NS)["rows"] == []
    assert day.book(BTC, NOON_NS)["state"] == "no book"
    assert day.heat(BTC, NOON_NS) == {"columns": []}
    day.count_verdicts()
    assert day.verdicts() == {"state": "verified", "symbols": {}}


def test_a_file_of_another_recorder_has_books_but_no_rates(tmp_path):
    path = tmp_path / "recorded.ndjson"
    scene = Scene(tmp_path / "unused")
    lines = scene.flow(200)
    scene.close()
    path.write_bytes(b"\n".join(lines) + b"\n")
    day = Day(path)
    facts = day.facts()
    assert facts["symbols"] == sorted(SYMBOLS)
    assert 0 < facts["start"] < facts["end"]
    assert drawn(day.book(BTC, facts["end"] * 10**6)) == told(open_for_research(path).book(BTC))
    with pytest.raises(DataMissing, match="no receipts"):
        day.rates(NOON_NS)


def test_a_view_is_bounded(tmp_path):
    recorded(tmp_path, 50)
    found = book_at(tmp_path, BTC)
    head, bids, rest = re.fullmatch(rb'(.*"bids":\[)(\{.*?\})(.*)', found.image.message, re.DOTALL).groups()
    order_id = json.loads(bids)["order_id"].encode()
    many = b",".join(bids.replace(order_id, b"O%d" % number) for number in range(5000))
    view = book_view(BookImage(BTC, head + many + rest), found.tally)
    assert len(drawn(view)) == MOST_ORDERS
    assert view["bids"]["levels"][0][2] == 5000
