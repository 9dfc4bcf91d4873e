"""What no line, name or saved book may cost or break, for every engine: the bounds on the port's page."""

from __future__ import annotations

import pytest
from lines import SNAPSHOT, order, snapshot, update

from kraken_l3.engine.port import MAX_ID_BYTES, MAX_LINE_BYTES, MAX_NESTING, BookImage

NAMES = ["", "A" * (MAX_ID_BYTES + 1), "\ud800", "A" * 100_000]


def totals(engine, line):
    engine.feed(line + b"\n" + SNAPSHOT + b"\n", 0, 0)
    (tally,) = engine.tallies()
    assert tally.ok == 1
    found = engine.totals()
    return found.malformed, found.not_data


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("line", "malformed"),
    [
        (nested(MAX_NESTING), 0),
        (nested(MAX_NESTING + 1), 1),
        (nested(1_000), 1),
        (nested(100_000), 1),
        (b'{"a":' * MAX_NESTING + b"1" + b"}" * MAX_NESTING, 0),
        (b'{"a":' * MAX_NESTING + b"[]" + b"}" * MAX_NESTING, 1),
        (b'{"a":"' + b"[" * 1_000 + b'\\"[[["}', 0),
        (b"[" + b"[]," * 1_000 + b"[]]", 0),
        (b'{"a":"' + b"[" * 1_000, 1),
        (b"[" * 1_000, 1),
    ],
)
def test_nesting_is_bounded(engine, line, malformed):
    assert totals(engine(), line) == (malformed, 1 - malformed)


@pytest.mark.parametrize("depth", [MAX_NESTING - 4, MAX_NESTING - 3, 1_000, 100_000])
def test_nesting_within_a_message_is_bounded(engine, depth):
    """Beside its own key, in an object in an array in an object."""
    line = snapshot().replace(b'"bids"', b'"x":' + nested(depth) + b',"bids"').replace(b"A/USD", b"B/USD")
    e = engine()
    e.feed(line + b"\n", 0, 0)
    assert e.totals().malformed == (depth > MAX_NESTING - 3)


def test_the_length_of_a_line_is_bounded(engine):
    fits = SNAPSHOT + b" " * (MAX_LINE_BYTES - len(SNAPSHOT))
    e = engine()
    e.feed(fits + b"\n" + fits + b" \n" + SNAPSHOT, 0, 0)
    assert (e.tallies()[0].ok, e.totals().malformed) == (2, 1)


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_no_symbol_is_left_alone(engine, name):
    e = engine(only=frozenset({name, "A/USD"}))
    e.set_symbol(name, depth=10)
    assert e.invalidate(name) == []
    assert e.export_book(name) is None
    assert not e.load_book(BookImage(name, SNAPSHOT))
    assert list(e.symbols()) == []
    e.feed(SNAPSHOT, 0, 0)
    assert e.tallies()[0].ok == 1


def test_a_lone_surrogate_in_a_line_makes_it_malformed(engine):
    assert totals(engine(), SNAPSHOT.replace(b"A/USD", b"\\ud800")) == (1, 0)
    assert totals(engine(), SNAPSHOT.replace(b"A/USD", "\ud800".encode("utf-8", "surrogatepass"))) == (1, 0)


@pytest.mark.parametrize(
    "image",
    [
        BookImage("A/USD", SNAPSHOT, newest_ns=1 << 63),
        BookImage("A/USD", SNAPSHOT, newest_ns=-(10**30)),
        BookImage("A/USD", SNAPSHOT.replace(b'"bids"', b'"x":' + nested(1_000) + b',"bids"')),
    ],
)
def test_a_saved_book_past_the_bounds_is_refused(engine, image):
    e = engine()
    assert not e.load_book(image)
    assert e.export_book("A/USD") is None


def test_amends_of_a_saved_book_are_bounded_and_in_order(engine):
    e = engine()
    assert e.load_book(BookImage("A/USD", SNAPSHOT, amending=("x", "y", "x", *(f"i{n}" for n in range(5_000)))))
    assert e.export_book("A/USD").amending == tuple(f"i{n}" for n in range(904, 5_000))
    e = engine()
    assert e.load_book(BookImage("A/USD", SNAPSHOT, amending=("x", "y", "x")))
    assert e.export_book("A/USD").amending == ("y", "x")
    e.feed(update([order("y", "9.0", "1.0", event="add")]), 0, 0)
    assert e.export_book("A/USD").amending == ("x",)
