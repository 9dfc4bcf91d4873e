"""The rules of the port's page, one after the other, for every engine."""

import random
import re
import struct
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import SNAPSHOT, crc, order, snapshot, update

from kraken_l3.engine.port import (
    EVENT_COLUMNS,
    MAX_NOTES,
    MAX_ORDERS,
    MESSAGE_COLUMNS,
    BookImage,
    EngineOptions,
    Note,
    RowOptions,
)
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange.flow import generate, listing
from kraken_l3.model.events import MessageKind, Reason, State, Verdict

FULL = {"messages": True, "events": True, "rows": RowOptions(3)}


def column(columns, name, code=None):
    return list(memoryview(columns[name]).cast(code or MESSAGE_COLUMNS.get(name) or EVENT_COLUMNS[name]))


def feed(engine, *lines):
    return engine.feed(b"".join(line + b"\n" for line in lines), 0, 0)


def verdicts(engine, *lines):
    result = feed(engine, *lines)
    pairs = zip(column(result.messages, "verdict"), column(result.messages, "reason"))
    return [(Verdict(v), Reason(r)) if r else Verdict(v) for v, r in pairs]


def tally(engine):
    (only,) = engine.tallies()
    return only


def test_a_checksum_that_agrees_and_one_that_does_not(engine):
    e = engine(messages=True)
    good = update([order("c", "9.5", "1.0", event="add")], (), crc("11030" + "10020" + "9510"))
    result = feed(e, SNAPSHOT, good, update(checksum=7))
    assert column(result.messages, "line") == [0, 1, 2]
    assert column(result.messages, "symbol") == [0, 0, 0]
    assert column(result.messages, "kind") == [MessageKind.SNAPSHOT, MessageKind.UPDATE, MessageKind.UPDATE]
    assert column(result.messages, "verdict") == [Verdict.OK, Verdict.OK, Verdict.MISMATCH]
    assert column(result.messages, "expected")[2] == 7
    assert column(result.messages, "computed")[2] == crc("11030" + "10020" + "9510")
    assert column(result.messages, "msg_ns")[0] == 1767323045_000000009
    assert (tally(e).ok, tally(e).mismatched, tally(e).incidents, tally(e).state) == (2, 1, 1, State.DIVERGED)
    assert tally(e).first_bad.line == 2
    assert tally(e).first_bad.offset == len(SNAPSHOT) + len(good) + 2


def test_updates_before_the_snapshot(engine):
    e = engine(messages=True)
    assert verdicts(e, update(checksum=7), SNAPSHOT) == [Verdict.BEFORE_SNAPSHOT, Verdict.OK]
    assert (tally(e).messages, tally(e).before_snapshot, tally(e).ok) == (2, 1, 1)


def test_a_gap_takes_the_book(engine):
    e = engine(messages=True)
    feed(e, SNAPSHOT, update(checksum=7))
    assert e.invalidate("A/USD") == [Note("incident_closed", -1, -1, "A/USD", "gap")]
    assert e.invalidate("unknown") == []
    assert e.export_book("A/USD") is None
    assert verdicts(e, update(checksum=7), SNAPSHOT) == [(Verdict.UNVERIFIABLE, Reason.AFTER_GAP), Verdict.OK]
    assert tally(e).unverifiable == {"after_gap": 1}


def test_an_incident_lasts_until_a_match_or_a_snapshot(engine):
    e = engine(messages=True)
    right = crc("11030" + "10020")
    result = feed(
        e, SNAPSHOT, update(checksum=1), update(checksum=right), update(checksum=2), SNAPSHOT, update(checksum=3)
    )
    kinds = [(note.kind, note.line, note.detail) for note in result.notes if note.kind != "inferred"]
    assert kinds == [
        ("incident_opened", 1, ""),
        ("incident_closed", 2, "match"),
        ("incident_opened", 3, ""),
        ("incident_closed", 4, "snapshot"),
        ("incident_opened", 5, ""),
    ]
    assert (tally(e).incidents, tally(e).mismatched, tally(e).ok) == (3, 3, 3)


def test_no_checksum_is_unverifiable_and_applied(engine):
    e = engine(messages=True)
    without = update([order("b", "10.0", "2.0", event="delete")])
    null = without.replace(b'"bids":[{', b'"checksum":null,"bids":[{').replace(b'"b"', b'"nobody"')
    assert verdicts(e, SNAPSHOT, without, null, update(checksum=crc("11030"))) == [
        Verdict.OK,
        (Verdict.UNVERIFIABLE, Reason.NO_CHECKSUM),
        (Verdict.UNVERIFIABLE, Reason.NO_CHECKSUM),
        Verdict.OK,
    ]


def test_an_empty_book_has_checksum_zero(engine):
    assert verdicts(engine(messages=True), snapshot(checksum=0)) == [Verdict.OK]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"  \t\r",
        b'{"channel":"heartbeat"}\r',
        b"[1,2]",
        b"null",
        b'{"channel":"status","type":"update","data":[{"system":"online"}]}',
        b'{"method":"subscribe","result":{"channel":"level3","symbol":"A/USD"},"success":true}',
        b'{"channel":"level3","type":"other","data":[]}',
        b'{"channel":"trade","type":"update","data":{"symbol":7}}',
    ],
)
def test_what_is_not_level3_data(engine, line):
    e = engine(messages=True)
    assert verdicts(e, line, SNAPSHOT) == [Verdict.OK]
    assert (e.totals().lines, e.totals().not_data, e.totals().malformed) == (2, 1, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        SNAPSHOT[:-1],
        SNAPSHOT + b"x",
        b"\xff",
        SNAPSHOT.replace(b"A/USD", b"\xff\xfe"),
        b'{"channel":"level3","type":"update"}',
        b'{"channel":"level3","type":"update","data":[{}]}',
        b'{"channel":"level3","type":"update","data":[{"symbol":""}]}',
        b'{"channel":"level3","type":"update","data":[{"symbol":"%s"}]}' % (b"A" * 256),
        b'{"channel":"level3","type":"update","data":{"symbol":"A/USD"}}',
        SNAPSHOT.replace(b'"A/USD"', b"7"),
        SNAPSHOT.replace(b'"A/USD"', b"null"),
        SNAPSHOT.replace(b'"order_id":"b"', b'"order_id":7'),
        SNAPSHOT.replace(b"10.0", b"010.0"),
        b"\0" * 50,
        b"[" * 100_000,
    ],
)
def test_malformed_lines(engine, line):
    e = engine(messages=True)
    result = feed(e, line, SNAPSHOT)
    assert column(result.messages, "verdict") == [Verdict.MALFORMED, Verdict.OK]
    assert column(result.messages, "symbol") == [-1, 0]
    assert column(result.messages, "kind")[0] == MessageKind.UNREADABLE
    assert (e.totals().malformed, tally(e).malformed, tally(e).messages) == (1, 0, 1)
    first = result.notes[0]
    assert (first.kind, first.line, first.offset, first.symbol) == ("malformed", 0, 0, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"limit_price":9.5', b'"limit_price":-9.5'),
        (b'"limit_price":9.5', b'"limit_price":null'),
        (b'"limit_price":9.5', b'"limit_price":[9.5]'),
        (b'"limit_price":9.5', b'"price":9.5'),
        (b'"limit_price":9.5', b'"limit_price":1e308'),
        (b'"limit_price":9.5', b'"limit_price":"nine"'),
        (b'"limit_price":9.5', b'"limit_price":' + b"9" * 40),
        (b'"limit_price":9.5', b'"limit_price":' + b"9" * 38),
        (b'"order_qty":1.0', b'"order_qty":true'),
        (b'"event":"add"', b'"event":"replace"'),
        (b'"event":"add",', b""),
        (b'"order_id":"c"', b'"order_id":""'),
        (b'"order_id":"c",', b""),
        (b'"order_id":"c"', b'"order_id":"%s"' % (b"c" * 256)),
        (b'"checksum":7', b'"checksum":-7'),
        (b'"checksum":7', b'"checksum":7.0'),
        (b'"checksum":7', b'"checksum":{}'),
        (b'"checksum":7', b'"checksum":9223372036854775808'),
    ],
)
def test_an_unreadable_message_is_not_applied_at_all(engine, old, new):
    e = engine(messages=True)
    bad = update([order("d", "9.9", "1.0", event="add"), order("c", "9.5", "1.0", event="add")], (), 7)
    assert old in bad
    bad = bad.replace(old, new)
    assert verdicts(e, SNAPSHOT, bad, update(checksum=crc("11030" + "10020"))) == [
        Verdict.OK,
        Verdict.MALFORMED,
        Verdict.OK,
    ]
    assert (tally(e).malformed, tally(e).first_bad.kind, tally(e).first_bad.line) == (1, "malformed", 1)


def test_a_malformed_snapshot_takes_the_book(engine):
    e = engine(messages=True)
    bad = SNAPSHOT.replace(b"10.0", b"-10.0")
    assert verdicts(e, SNAPSHOT, bad, update(checksum=7), SNAPSHOT) == [
        Verdict.OK,
        Verdict.MALFORMED,
        Verdict.BEFORE_SNAPSHOT,
        Verdict.OK,
    ]


@pytest.mark.parametrize("number", ["9.55", "955e-2", '"9.55"'])
def test_a_number_finer_than_the_precision_takes_the_book(engine, number):
    e = engine(messages=True)
    result = feed(e, SNAPSHOT, update([order("c", number, "1.0", event="add")], (), 7), update(checksum=7))
    assert column(result.messages, "verdict") == [Verdict.OK, Verdict.UNVERIFIABLE, Verdict.BEFORE_SNAPSHOT]
    assert tally(e).unverifiable == {"precision": 1}
    assert [n.detail for n in result.notes if n.kind == "unverifiable"] == [f"precision: {number}"]


def test_unreadable_outweighs_too_fine(engine):
    e = engine(messages=True)
    both = update([order("c", "9.55", "1.0", event="add")], [order("d", "9.5", "x", event="add")], 7)
    assert verdicts(e, SNAPSHOT, both.replace(b":x,", b":[],")) == [Verdict.OK, Verdict.MALFORMED]


@pytest.mark.parametrize("number", ["9.5", "9.50", "9.500000", '"9.5"', "95e-1", "0.95E1", "9.5e0", "9.5E+00"])
def test_numbers_may_be_written_in_many_ways(engine, number):
    e = engine(messages=True)
    assert verdicts(
        e, SNAPSHOT, update([order("c", number, "1", event="add")], (), crc("11030" + "10020" + "9510"))
    ) == [
        Verdict.OK,
        Verdict.OK,
    ]


@pytest.mark.parametrize("stated", [b'"%d"', b"%d"])
def test_a_checksum_may_be_quoted(engine, stated):
    right = crc("11030" + "10020")
    line = SNAPSHOT.replace(b"%d" % right, stated % right)
    assert verdicts(engine(messages=True), line) == [Verdict.OK]


def test_key_order_spaces_escapes_and_duplicates_do_not_matter(engine):
    line = (
        b'\t{ "data" : [ { "asks" : null, "timestamp":null, "checksum" : 1, "checksum" : %d, "x":{"y":[1,{"z":"\\""}]},'
        b' "bids" : [ { "timestamp" : "garbled", "order_qty" : 2.0, "limit_price" : 10.0, "order_id" : "\\u0062" } ],'
        b' "symbol" : "A\\/USD" } ], "type" : "snapshot", "channel" : "level3", "new" : 1e400 } \r' % crc("10020")
    )
    e = engine(messages=True)
    assert verdicts(e, line) == [Verdict.OK]
    assert list(e.symbols()) == ["A/USD"]
    assert b'"order_id":"b","limit_price":10.0,"order_qty":2.0}' in e.export_book("A/USD").message


def test_several_elements_are_several_messages(engine):
    two = SNAPSHOT.replace(b"}]}", b"}]}").decode()
    inner = two[two.index("[{") + 1 : -2]
    line = two.replace(inner, inner + "," + inner.replace("A/USD", "B/USD")).encode()
    e = engine(messages=True)
    result = feed(e, line)
    assert column(result.messages, "line") == [0, 0]
    assert column(result.messages, "symbol") == [0, 1]
    assert [t.ok for t in e.tallies()] == [1, 1]


def test_findings(engine):
    e = engine(messages=True)
    result = feed(
        e,
        SNAPSHOT,
        update(
            [order("nobody", "1", "1", event="delete")], [order("b", "1", "1", event="modify")], crc("11030" + "10020")
        ),
        update([order("c", "11.0", "1.0", event="add")], (), crc("11030" + "11010" + "10020")),
    )
    assert column(result.messages, "verdict") == [Verdict.OK] * 3
    assert tally(e).findings == {"unknown_id": 1, "wrong_side": 1, "crossed": 1}
    assert [(n.kind, n.line, n.detail) for n in result.notes if n.kind != "inferred"] == [
        ("unknown_id", 1, "nobody"),
        ("wrong_side", 1, "b"),
        ("crossed", 2, ""),
    ]


def test_a_snapshot_deeper_than_what_was_set(engine):
    e = engine()
    e.set_symbol("A/USD", depth=1)
    feed(e, snapshot([order("a", "2.0", "1.0"), order("b", "1.0", "1.0")], (), crc("2010")))
    assert (tally(e).findings, tally(e).orders, tally(e).ok) == ({"too_deep": 1}, 1, 1)


@pytest.mark.parametrize(("levels", "depth"), [(1, 10), (10, 10), (11, 100), (101, 1000), (1001, 1000)])
def test_depth_is_told_from_snapshots(engine, levels, depth):
    e = engine()
    feed(e, snapshot((), [order(f"o{n}", f"{n + 1}.0", "1.0") for n in range(levels)]))
    assert (tally(e).depth, tally(e).depth_inferred, tally(e).orders) == (depth, True, min(levels, 1000))


def test_precision_is_the_most_decimals_of_snapshots(engine):
    e = engine()
    feed(e, snapshot([order("a", "2.05", "1e-05")], (), crc("2051")))
    assert (tally(e).price_precision, tally(e).qty_precision, tally(e).ok) == (2, 5, 1)
    feed(e, snapshot([order("a", "2", "1")], (), crc("200100000")))
    assert (tally(e).price_precision, tally(e).qty_precision, tally(e).ok) == (2, 5, 2)


def test_what_is_set_holds_from_the_next_snapshot(engine):
    e = engine(messages=True)
    feed(e, SNAPSHOT)
    e.set_symbol("A/USD", price_precision=2, qty_precision=3)
    assert verdicts(e, update(checksum=crc("11030" + "10020"))) == [Verdict.OK]
    again = snapshot([order("b", "10.0", "2.0")], [order("a", "11.0", "3.0")], crc("11003000" + "10002000"))
    assert verdicts(e, again) == [Verdict.OK]
    assert not tally(e).precision_inferred


@pytest.mark.parametrize("wrong", [{"price_precision": -1}, {"qty_precision": 19}, {"depth": 0}])
def test_nonsense_cannot_be_set(engine, wrong):
    with pytest.raises(ValueError):
        engine().set_symbol("A/USD", **wrong)


def test_a_byte_order_mark_and_a_missing_last_newline(engine):
    e = engine()
    e.feed(b"\xef\xbb\xbf" + SNAPSHOT + b"\r\n" + SNAPSHOT, 0, 0)
    assert (tally(e).ok, e.totals().lines) == (2, 2)


def test_a_saved_book_goes_on_exactly(engine):
    lines = list(generate(messages=600, seed=5))
    whole = engine(messages=True, events=True)
    whole.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
    feed(whole, *lines[:300])
    image = whole.export_book("BTC/USD")
    rest = feed(whole, *lines[300:])
    other = engine(messages=True, events=True)
    other.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
    assert other.load_book(image)
    assert other.export_book("BTC/USD") == image
    again = feed(other, *lines[300:])
    assert again.events == rest.events
    assert tally(other).ok == 300
    assert other.export_book("BTC/USD") == whole.export_book("BTC/USD")


def test_a_saved_book_is_itself_a_message_with_its_checksum(engine):
    e = engine()
    feed(e, SNAPSHOT)
    image = e.export_book("A/USD")
    assert image.message == SNAPSHOT
    fresh = engine()
    feed(fresh, image.message)
    assert tally(fresh).ok == 1


@pytest.mark.parametrize(
    "message", [b"", b"{}", SNAPSHOT.replace(b'"checksum":', b'"checksum":1'), update(checksum=0), SNAPSHOT[:-1]]
)
def test_a_damaged_saved_book_is_refused(engine, message):
    e = engine()
    assert not e.load_book(BookImage("A/USD", message))
    assert e.export_book("A/USD") is None


@pytest.mark.parametrize("route", [{"only": frozenset({"B/USD"})}, {"part": (crc32(b"A/USD") % 2 ^ 1, 2)}])
def test_a_saved_book_of_a_symbol_that_is_not_handled_here_is_left_alone(engine, route):
    e = engine(rows=RowOptions(1, grid_ns=10), **route)
    assert not e.load_book(BookImage("A/USD", SNAPSHOT))
    e.advance(5)
    assert column(e.advance(50).rows, "at_ns", "q") == []


def test_notes_are_bounded_and_counted_all_the_same(engine):
    e = engine()
    bad = update([order("nobody", "1", "1", event="delete")])
    result = feed(e, SNAPSHOT, *[bad] * (MAX_NOTES + 50))
    assert sum(note.kind == "unknown_id" for note in result.notes) == MAX_NOTES
    assert tally(e).findings == {"unknown_id": MAX_NOTES + 50}


def test_parts_share_all_lines_and_find_the_same(engine):
    lines = [*generate(symbols=7, messages=700, seed=3), b"{", b"", b'{"channel":"heartbeat"}']
    whole = engine()
    feed(whole, *lines)
    parts = [engine(part=(k, 3)) for k in range(3)]
    for part in parts:
        feed(part, *lines)
    found = {t.symbol: t for part in parts for t in part.tallies()}
    assert found == {t.symbol: t for t in whole.tallies()}
    assert sum(part.totals().not_data for part in parts) == whole.totals().not_data == 2
    assert sum(part.totals().malformed for part in parts) == 1
    assert sum(part.totals().lines - part.totals().skipped for part in parts) == len(lines)
    assert sum(bool(part.tallies()) for part in parts) > 1


def test_only_some_symbols(engine):
    e = engine(only=frozenset(["ETH/USD"]))
    feed(e, *generate(symbols=3, messages=300, seed=3))
    assert [t.symbol for t in e.tallies()] == ["ETH/USD"]
    assert tally(e).ok == tally(e).messages > 10


def test_ids_of_odd_length_stand_aside(engine):
    e = engine(messages=True, events=True)
    ids = ["x", "y" * 20, "z" * 21, "ü" * 5, "a\\u0000"]
    result = feed(e, snapshot((), [order(i, f"{n + 1}.0", "1.0") for n, i in enumerate(ids)]))
    fixed = [result.events["order_id"][n * 20 : n * 20 + 20].rstrip(b"\0").decode() for n in range(6)]
    assert fixed == ["", "x", "y" * 20, "", "ü" * 5, ""]
    assert result.overflow_ids == {3: "z" * 21, 5: "a\0"}


def test_rows_at_every_change(engine):
    e = engine(rows=RowOptions(2))
    deep = update((), [order("d", "14.0", "1.0", event="add")])
    close = update((), [order("c", "10.5", "1.5", event="add")])
    result = feed(e, SNAPSHOT, deep, deep, close)
    assert column(result.rows, "line", "q") == [0, 1, 3]
    assert column(result.rows, "bid_price", "q") == [100, -1] * 3
    assert column(result.rows, "ask_price", "q") == [110, -1, 110, 140, 105, 110]
    assert column(result.rows, "ask_qty", "q") == [30, 0, 30, 10, 15, 30]
    assert column(result.rows, "at_ns", "q") == column(result.rows, "msg_ns", "q")
    assert result.rows["bid_orders"] == result.rows["ask_orders"] == b""


def test_rows_with_the_number_of_orders(engine):
    e = engine(rows=RowOptions(2, orders=True))
    joined = update((), [order("c", "10.5", "1.5", event="add"), order("d", "10.5", "1.0", event="add")])
    split = update(
        (), [order("d", "10.5", "0", event="delete"), *(order(i, "10.5", "0.5", event="add") for i in ("f", "g"))]
    )
    result = feed(e, SNAPSHOT, joined, split)
    assert column(result.rows, "line", "q") == [0, 1]  # as many as without
    assert column(result.rows, "bid_orders", "I") == [1, 0] * 2
    assert column(result.rows, "ask_orders", "I")[2:] == [2, column(result.rows, "ask_orders", "I")[0]]


def test_grid_rows_with_the_number_of_orders(engine):
    e = engine(rows=RowOptions(2, grid_ns=10, orders=True))
    joined = update([order("c", "10.0", "1.5", event="add")], ())
    result = e.feed(SNAPSHOT + b"\n" + joined + b"\n\n", 0, 0, struct.pack("<3q", 15, 35, 45))
    assert column(result.rows, "at_ns", "q") == [20, 30, 40]
    assert column(result.rows, "bid_orders", "I") == [1, 0, 1, 0, 2, 0]


def test_best_rows_beside_a_grid(engine):
    e = engine(rows=RowOptions(2, grid_ns=10), best=True)
    deep = update((), [order("d", "14.0", "1.0", event="add")])
    close = update((), [order("c", "10.5", "1.5", event="add")])
    block = b"".join(line + b"\n" for line in (SNAPSHOT, deep, close))
    result = e.feed(block, 0, 0, struct.pack("<3q", 15, 25, 35))
    assert column(result.rows, "at_ns", "q") == [20, 30]
    assert column(result.best, "at_ns", "q") == [15, 35]
    assert column(result.best, "line", "q") == [0, 2]
    assert column(result.best, "ask_price", "q") == [110, 105]
    assert column(result.best, "bid_qty", "q") == [20, 20]


def test_a_loaded_book_has_a_best_row(engine):
    e = engine(best=True)
    assert e.load_book(BookImage("A/USD", SNAPSHOT))
    e.advance(100)
    result = feed(e, update((), [order("c", "10.5", "1.5", event="add")]), update())
    assert column(result.best, "line", "q") == [-1, 0]
    assert column(result.best, "ask_price", "q") == [110, 105]
    assert result.rows == {}


def test_rows_on_a_grid(engine):
    e = engine(rows=RowOptions(1, grid_ns=10))
    other = SNAPSHOT.replace(b"10.0", b"9.0").replace(b"A/USD", b"B/USD")
    times = struct.pack("<5q", 15, 20, 21, 12, 55)
    result = e.feed(b"\n" + SNAPSHOT + b"\n" + other + b"\n\n\n", 0, 0, times)
    assert column(result.rows, "at_ns", "q") == [20, 30, 30, 40, 40, 50, 50]
    assert column(result.rows, "symbol", "i") == [0, 0, 1, 0, 1, 0, 1]
    assert column(e.advance(61).rows, "at_ns", "q") == [60, 60]
    assert column(e.advance(61).rows, "at_ns", "q") == []
    assert column(e.advance(10**9).rows, "at_ns", "q") == []


def test_a_book_cannot_grow_without_end(engine, monkeypatch):
    e = engine(messages=True)
    if e.name == "native":
        pytest.skip(f"would need {MAX_ORDERS} orders")
    monkeypatch.setattr("kraken_l3.engine.python.MAX_ORDERS", 5)
    many = update([order(f"o{n}", "9.0", "1.0", event="add") for n in range(4)], (), 7)
    assert verdicts(e, SNAPSHOT, many, update(checksum=1)) == [
        Verdict.OK,
        (Verdict.UNVERIFIABLE, Reason.TOO_MANY_ORDERS),
        Verdict.BEFORE_SNAPSHOT,
    ]


# Whole recordings


@pytest.mark.parametrize(
    ("symbols", "depth", "odd"), [(("BTC/USD",), 10, 0.0), (8, 100, 0.0), (("DOGE/USD",), 1000, 0.0), (5, 10, 0.2)]
)
def test_right_recordings_verify(engine, symbols, depth, odd):
    e = engine()
    for pair in listing(symbols if isinstance(symbols, int) else list(symbols)):
        e.set_symbol(pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision, depth=depth)
    feed(e, *generate(symbols=symbols, messages=3000, depth=depth, seed=11, odd_numbers=odd))
    assert sum(t.ok for t in e.tallies()) == 3000
    assert all(t.ok == t.messages and not t.findings and t.first_bad is None for t in e.tallies())


def _digits_that_count(line, engine_state):
    """Places of digits of the checksum, and of prices and quantities of adds and modifies in the top 10."""
    places = [m.start() + n for m in re.finditer(rb'(?<="checksum":)\d+', line) for n in range(len(m[0]))]
    for entry in re.finditer(rb'\{"event":"(?:add|modify)"[^}]*\}', line):
        order_id = re.search(rb'"order_id":"([^"]*)"', entry[0])[1].decode()
        if order_id in engine_state:
            for number in re.finditer(rb'(?<="limit_price":)[\d.]+|(?<="order_qty":)[\d.]+', entry[0]):
                places += [entry.start() + number.start() + n for n, c in enumerate(number[0]) if c != 46]
    return places


def test_one_changed_digit_is_found_out_at_its_line(engine):
    lines = list(generate(symbols=["BTC/USD"], messages=400, depth=10, seed=2))
    rng = random.Random(7)
    found = 0
    for _ in range(100):
        number = rng.randrange(len(lines))
        reference = PythonEngine()
        feed(reference, *lines[: number + 1])
        top = reference.export_book("BTC/USD").message.decode()
        resting = set(re.findall(r'"order_id":"([^"]*)"', top))
        line = bytearray(lines[number])
        place = rng.choice(_digits_that_count(bytes(line), resting))
        line[place] = rng.choice([d for d in b"0123456789" if d != line[place]])
        e = engine()
        e.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
        result = feed(e, *lines[:number], bytes(line), *lines[number + 1 :])
        bad = [
            n.line
            for n in result.notes
            if n.kind in ("incident_opened", "malformed", "unknown_id", "wrong_side", "crossed")
        ]
        found += bool(bad) and min(bad) == number
    assert found == 100


# Whatever comes

flow_lines = list(generate(symbols=3, messages=120, depth=10, seed=9, odd_numbers=0.1))
junk = st.one_of(
    st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"")),
    st.text(max_size=30).map(lambda t: t.replace("\n", "").encode("utf-8", "surrogatepass")),
    st.tuples(st.sampled_from(flow_lines), st.integers(0, 400)).map(lambda t: t[0][: t[1]]),
    st.tuples(st.sampled_from(flow_lines), st.integers(0, 300), st.binary(min_size=1, max_size=2)).map(
        lambda t: t[0][: t[1]] + t[2].replace(b"\n", b"") + t[0][t[1] + len(t[2]) :]
    ),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"null", SNAPSHOT + b"\r", b"9" * 5000, b'{"channel":"level3"}']),
    st.tuples(
        st.sampled_from(flow_lines),
        st.sampled_from([b"1e308", b"9" * 40, b"null", b'"x"', b"-1", b"[]", b"1e-400", b"0E0", b'"\\u0031"', b"{}"]),
    ).map(lambda t: re.sub(rb'(?<="order_qty":)[\d.]+', lambda _: t[1], t[0], count=1)),
)
streams = st.lists(st.one_of(st.sampled_from(flow_lines), junk), max_size=60)


@settings(max_examples=60)
@given(lines=streams, cuts=st.lists(st.integers(0, 60), max_size=4), times=st.booleans())
def test_no_input_breaks_it_and_cuts_change_nothing(lines, cuts, times):
    options = EngineOptions(messages=True, events=True, rows=RowOptions(3, 7 if times else None))
    whole, pieces = PythonEngine(options), PythonEngine(options)
    stamps = [n * 3 for n in range(len(lines))]

    def give(engine, first, last):
        data = b"".join(line + b"\n" for line in lines[first:last])
        offset = sum(len(line) + 1 for line in lines[:first])
        packed = struct.pack(f"<{last - first}q", *stamps[first:last]) if times else None
        return engine.feed(data, first, offset, packed)

    result = give(whole, 0, len(lines))
    edges = sorted({0, len(lines), *(cut for cut in cuts if cut < len(lines))})
    parts = [give(pieces, a, b) for a, b in zip(edges, edges[1:])]
    assert pieces.tallies() == whole.tallies()
    assert pieces.totals() == whole.totals()
    assert [note for part in parts for note in part.notes] == result.notes
    for name in ("messages", "rows"):
        for key, value in getattr(result, name).items():
            assert b"".join(getattr(part, name)[key] for part in parts) == value
    for key, value in result.events.items():
        if key != "message":
            assert b"".join(part.events[key] for part in parts) == value
    total = sum(t.messages for t in whole.tallies())
    sums = (
        t.ok + t.mismatched + t.before_snapshot + t.malformed + sum(t.unverifiable.values()) for t in whole.tallies()
    )
    assert sum(sums) == total
    for symbol in whole.symbols():
        image = whole.export_book(symbol)
        assert image is None or PythonEngine().load_book(image)


def test_ten_thousand_levels(engine):
    e = engine()
    asks = [order(f"o{n}", f"{n + 1}.0", "1.0") for n in range(10_000)]
    feed(e, snapshot((), asks), update((), [order("new", "0.5", "1.0", event="add")]))
    assert tally(e).orders == 1000
