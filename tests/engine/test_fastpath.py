"""The fast path of the Python engine reads what it takes as the fallback does."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import SNAPSHOT, order, update

from kraken_l3.engine.fastpath import decode_update, read_update
from kraken_l3.engine.parse import Content, Precision, check_line, read_content
from kraken_l3.engine.port import MAX_NESTING, EngineOptions, RowOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange import flow
from kraken_l3.protocol.decoding import decode_level3

FLOW = list(flow.generate(symbols=3, depth=10, messages=600, seed=3))
UPDATES = [line for line in FLOW if b'"update"' in line]
#: Enough for every symbol of the flow.
WIDE = Precision(10, 10)


def fast(line, precision=WIDE):
    data = decode_update(line)
    content = read_update(data, precision) if data is not None else None
    return None if content is None else (data.symbol, content)


def fallback(line, precision=WIDE):
    check_line(line)
    (data,) = decode_level3(line).data
    return data.symbol, read_content(data, precision, snapshot=False)


def test_takes_every_update_in_krakens_form():
    assert len(UPDATES) > 500
    for line in UPDATES:
        taken = fast(line)
        assert taken is not None
        assert taken == fallback(line)


NESTED = '{"a":' + "[" * MAX_NESTING + "]" * MAX_NESTING + "}"
NUMBERS = ["0", "-0", "1", "-1", "1.0", "0.5", "1e0", "1E-2", "1e999", "123456789.1234567890", "0.12345678901", '"1"']
NUMBERS += ['"1."', '"x"', '""', "null", "true", "[]", "9" * 38, "9" * 39, "9223372036854775808", NESTED]
TEXTS = [
    '""',
    '"a"',
    '"' + "x" * 63 + '"',
    '"' + "x" * 64 + '"',
    '"' + "x" * 256 + '"',
    "null",
    "5",
    '"\\u0041"',
    '"\u00e9"',
]
EVENTS = ['"add"', '"modify"', '"delete"', '"Add"', '"\\u0061dd"', "null"]
TIMES = ['"2026-01-02T03:04:05.123456789Z"', '"2026-01-02T03:04:05Z"', '"2026-01-02"', '"soon"', '""', "null", "5"]
TIMES += ['"2026-01-02T03:04:05.12345678_Z"', '"2026-01-02T03:04:05.+23456789Z"', '"2026-01-02T03:04:05. 23456789Z"']
ODD = {"limit_price": NUMBERS, "order_qty": NUMBERS, "checksum": NUMBERS, "order_id": TEXTS, "symbol": TEXTS}
ODD.update(
    {"event": EVENTS, "timestamp": TIMES, "bids": ["null", "[null]"], "asks": ["[]", "{}"], "type": ['"snapshot"']}
)
VALUE = r'("%s":)("[^"]*"|[^",\[\]{}]+)'
ANYWHERE = ['"x":0,', '"x":' + NESTED + ",", " ", '"symbol":"OTHER/USD",', '"order_id":"a",', '"checksum":5,', "{", "]"]


def with_something_odd(line, draw):
    """One value of a line put in place of another, or something put in between."""
    text = line.decode()
    if draw(st.booleans()):
        key = draw(st.sampled_from(sorted(ODD)))
        found = list(re.finditer(VALUE % key, text))
        if found:
            match = draw(st.sampled_from(found))
            return (text[: match.start(2)] + draw(st.sampled_from(ODD[key])) + text[match.end(2) :]).encode()
    at = draw(st.sampled_from([match.end() for match in re.finditer(r"[{,\[]", text)] + [len(text)]))
    return (text[:at] + draw(st.sampled_from(ANYWHERE)) + text[at:]).encode()


@settings(max_examples=1_500, deadline=None)
@given(st.data(), st.integers(0, 10), st.integers(0, 10))
def test_whatever_it_takes_the_fallback_reads_alike(data, price, qty):
    line = data.draw(st.sampled_from(UPDATES))
    for _ in range(data.draw(st.integers(0, 2))):
        line = with_something_odd(line, data.draw)
    taken = fast(line, Precision(price, qty))
    if taken is not None:
        assert taken == fallback(line, Precision(price, qty))


@pytest.mark.parametrize("event", ["add", "modify", "delete"])
@pytest.mark.parametrize("number", [n for n in NUMBERS if n not in ("0", "1", "0.5", "1.0")])
def test_a_number_that_is_taken_is_one_that_the_fallback_takes(event, number):
    line = update([order("o", number, "1", event=event)], checksum=1)
    taken = fast(line)
    if taken is not None:
        assert taken == fallback(line)


def test_a_delete_hides_no_nesting_in_its_price():
    assert fast(update([order("o", NESTED, "1", event="delete")], checksum=1)) is None


def test_text_that_is_not_utf8_is_not_taken_even_where_nothing_is_read():
    line = update([order("o", '"?"', "1", event="delete")], checksum=1)
    assert fast(line) is not None
    assert fast(line.replace(b"?", b"\xff")) is None


def test_content_has_what_the_line_says():
    line = update([order("b", "9.5", "2.0", ns=3, event="add")], [order("a", "11.0", "0", event="delete")], 7, ns=3)
    ns = 1_767_323_045_000_000_003
    assert fast(line, Precision(1, 1)) == (
        "A/USD",
        Content([("add", "b", 95, 20, ns)], [("delete", "a", 0, 0, ns - 2)], 7, ns),
    )


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(messages=True, events=True, rows=RowOptions(levels=5, orders=True)),
        EngineOptions(),
        EngineOptions(until_ns=1_767_323_060_000_000_000, messages=True),
    ],
)
def test_both_ways_through_the_engine_give_the_same(options):
    """An unknown key, which means nothing, sends a line the other way."""
    lines = [SNAPSHOT, *FLOW, update([order("o", "1.0", "1.0", event="add")], checksum=1)]
    results = []
    for way in (lines, [line[:1] + b'"x":0,' + line[1:] for line in lines]):
        engine = PythonEngine(options)
        result = engine.feed(b"\n".join(way), 0, 0)
        notes = [(note.kind, note.line, note.symbol, note.expected, note.computed) for note in result.notes]
        tallies = [asdict(tally) for tally in engine.tallies()]
        for tally in tallies:
            tally["first_bad"] = tally["first_bad"] and {**tally["first_bad"], "offset": 0}
        columns = (result.messages, result.events, result.rows, result.overflow_ids)
        images = [engine.export_book(symbol) for symbol in engine.symbols()]
        results.append((result.lines, notes, tallies, columns, images))
    assert results[0] == results[1]
