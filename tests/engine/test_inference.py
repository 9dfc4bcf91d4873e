"""Precision and depth that nothing told: "Precision" and "Depth" on the port's page, for every engine.

The files in `cases` came out wrong on 2026-11-27, in reports of people who record and rebuild order books.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import SNAPSHOT, crc, order, snapshot, update

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EVENT_COLUMNS, MAX_TRIED_ORDERS, MESSAGE_COLUMNS, EngineOptions
from kraken_l3.exchange.flow import generate
from kraken_l3.model.events import Action, Reason, Verdict

CASES = Path(__file__).with_name("cases")
ENGINES = ["python", "native"] if find_spec("kraken_l3_native") else ["python"]


def zeros_lost(line: bytes) -> bytes:
    return json.dumps(json.loads(line)).encode()


def zeros_gained(line: bytes) -> bytes:
    def longer(number: re.Match[bytes]) -> bytes:
        return number[1] + number[2] + (b"000" if b"." in number[2] else b".000")

    return re.sub(rb'("(?:limit_price|order_qty)":)(\d+(?:\.\d+)?)', longer, line)


FORMS = {"raw": bytes, "zeros lost": zeros_lost, "zeros gained": zeros_gained}


def feed(engine, *lines):
    return engine.feed(b"".join(line + b"\n" for line in lines), 0, 0)


def column(result, name):
    kind, code = next((k, c[name]) for k, c in (("messages", MESSAGE_COLUMNS), ("events", EVENT_COLUMNS)) if name in c)
    return list(memoryview(getattr(result, kind)[name]).cast(code))


def inferred(result):
    return [note.detail for note in result.notes if note.kind == "inferred"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("case", "messages", "parameters"),
    [
        ("zeros_gained", 1, (5, 8, 10)),
        ("empty_snapshot", 2, (4, 5, 10)),
        ("precision_falls", 4, (1, 8, 10)),
        ("precision_rises", 4, (2, 8, 10)),
        ("quantity_past_int64", 2, (8, 8, 10)),
        ("thin_pair", 30, (3, 8, 100)),
        ("thin_pair_zeros_lost", 30, (3, 8, 100)),
    ],
)
def test_good_data_is_called_good(engine, case, messages, parameters, form):
    e = engine()
    feed(e, *(FORMS[form](line) for line in (CASES / f"{case}.ndjson").read_bytes().splitlines()))
    (tally,) = e.tallies()
    assert (tally.ok, tally.messages, tally.findings) == (messages, messages, {})
    assert tally.parameters() == parameters
    assert tally.precision_inferred
    assert tally.depth_inferred


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    depth=st.sampled_from([10, 100, 1000]),
    levels=st.sampled_from([None, 6, 9, 12, 40]),
    form=st.sampled_from(list(FORMS)),
    name=st.sampled_from(ENGINES),
    cut=st.integers(1, 200),
)
def test_whole_flows_verify_though_nothing_is_told(seed, depth, levels, form, name, cut):
    flowing = generate(symbols=2, depth=depth, levels=levels, messages=400, seed=seed)
    lines = [FORMS[form](line) for line in flowing]
    e = make_engine(EngineOptions(), name)
    for first in range(0, len(lines), cut):
        e.feed(b"".join(line + b"\n" for line in lines[first : first + cut]), first, 0)
    assert sum(tally.ok for tally in e.tallies()) == 400
    assert not any(tally.findings for tally in e.tallies())


# Precision


def test_what_was_told_is_not_second_guessed(engine):
    e = engine(messages=True)
    e.set_symbol("A/USD", price_precision=1)
    right = crc("1000" + "200")  # two decimals of both
    result = feed(e, snapshot([order("b", "10.00", "2.00")], (), right))
    assert column(result, "verdict") == [Verdict.MISMATCH]
    e.set_symbol("A/USD", price_precision=2)
    result = feed(e, snapshot([order("b", "10", "2")], (), right))
    assert column(result, "verdict") == [Verdict.OK]
    assert inferred(result) == ["price_precision=2 qty_precision=2 depth=10"]


def test_without_a_checksum_numbers_are_as_written(engine):
    e = engine(messages=True)
    result = feed(e, snapshot([order("b", "10.000", "2.0")], (), None))
    assert inferred(result) == ["price_precision=3 qty_precision=1 depth=10"]


def test_a_snapshot_that_never_comes_out_is_as_written(engine):
    e = engine(messages=True)
    result = feed(e, snapshot([order("b", "10.00", "2.0")], (), 7))
    assert column(result, "verdict") == [Verdict.MISMATCH]
    assert column(result, "computed") == [crc("1000" + "20")]


def test_the_search_is_bounded(engine):
    e = engine(messages=True)
    for count, verdict in ((MAX_TRIED_ORDERS, Verdict.OK), (MAX_TRIED_ORDERS + 1, Verdict.MISMATCH)):
        many = [order(f"o{number}", "10", "2") for number in range(count)]
        assert column(feed(e, snapshot(many, (), crc("100020" * count))), "verdict") == [verdict]


def test_too_many_digits_as_written(engine):
    """Eighteen decimals of a price over 9.2 do not fit int64; the two that it needs do."""
    e = engine(messages=True)
    result = feed(e, snapshot([order("b", "10.25" + "0" * 16, "2.0")], (), crc("1025" + "20")))
    assert column(result, "verdict") == [Verdict.OK]
    result = feed(e, snapshot([order("b", "10.25" + "0" * 16, "2.0")], (), 7))
    assert column(result, "computed") == [crc("1025" + "2")]
    result = feed(e, snapshot([order("b", "1." + "0" * 18 + "1", "2.0")], (), 7))
    assert column(result, "verdict") == [Verdict.MALFORMED]


def test_a_precision_stays_open_while_no_order_was_seen(engine):
    e = engine(messages=True)
    nothing = feed(e, snapshot(checksum=0), update(checksum=0))
    assert column(nothing, "verdict") == [Verdict.OK] * 2
    assert inferred(nothing) == []
    assert e.tallies()[0].price_precision is None
    gone = update([order("x", "1.00", "0.000", event="add"), order("x", "1.00", "0.000", event="delete")], (), 0)
    first = update([order("b", "10.0", "2.00000", event="add")], (), crc("100" + "200000"))
    result = feed(e, gone, first, update(checksum=crc("100" + "200000")))
    assert column(result, "verdict") == [Verdict.OK] * 3
    assert inferred(result)[-1] == "price_precision=1 qty_precision=5 depth=10"
    finer = update([order("c", "10.05", "2.0", event="add")], (), 7)
    assert column(feed(e, finer), "reason") == [Reason.PRECISION]


def test_what_was_told_bounds_the_first_numbers_too(engine):
    e = engine(messages=True)
    e.set_symbol("A/USD", price_precision=1)
    result = feed(e, snapshot(checksum=0), update([order("b", "10.05", "2", event="add")], (), 7))
    assert column(result, "reason") == [Reason.NONE, Reason.PRECISION]


def test_each_snapshot_tells_its_own(engine):
    e = engine(messages=True)
    for price, digits in (("10.00", "1000"), ("10.0", "100"), ("10.000", "10000")):
        result = feed(e, snapshot([order("b", price, "2.0")], (), crc(digits + "20")))
        assert column(result, "verdict") == [Verdict.OK]
        assert len(inferred(result)) == 1


# Depth


def ask(number, **more):
    return order(f"o{number:02}", f"{number}.0", "1.0", **more)


def book_text(*numbers):
    return crc("".join(f"{number}010" for number in sorted(numbers)[:10]))


TEN = snapshot((), [ask(number) for number in range(10, 20)], book_text(*range(10, 20)))
BETTER = update((), [ask(9, event="add")], book_text(*range(9, 19)))  # 19 is now the eleventh


def test_an_eleventh_level_that_comes_back_by_itself_tells_a_larger_window(engine):
    e = engine(messages=True, events=True)
    result = feed(e, TEN, BETTER, update((), [ask(9, event="delete")], book_text(*range(10, 20))))
    assert column(result, "verdict") == [Verdict.OK] * 3
    assert inferred(result) == [f"price_precision=1 qty_precision=1 depth={depth}" for depth in (10, 100)]
    actions = column(result, "action")
    assert Action.EVICT in actions
    assert actions[-11:] == [Action.CLEAR] + [Action.SNAPSHOT] * 10
    assert e.tallies()[0].orders == 10


def test_a_delete_of_a_level_cut_off_tells_a_larger_window(engine):
    e = engine(messages=True)
    result = feed(e, TEN, BETTER, update((), [ask(19, event="delete")], book_text(*range(9, 19))))
    assert column(result, "verdict") == [Verdict.OK] * 3
    assert e.tallies()[0].findings == {}
    assert e.tallies()[0].depth == 100


def test_an_order_sent_again_tells_that_the_window_is_no_larger(engine):
    e = engine(messages=True)
    back = update((), [ask(9, event="delete"), ask(19, event="add")], book_text(*range(10, 20)))
    result = feed(e, TEN, BETTER, back, BETTER, update((), [ask(19, event="delete")], book_text(*range(9, 19))))
    assert column(result, "verdict") == [Verdict.OK] * 5
    assert e.tallies()[0].findings == {"unknown_id": 1}
    assert e.tallies()[0].depth == 10


def test_an_order_that_went_unseen_tells_that_the_window_is_no_larger(engine):
    """Order 19 was cancelled while it was outside; a book of 100 levels would still show it."""
    e = engine(messages=True)
    back = update((), [ask(9, event="delete"), ask(20, event="add")], book_text(*range(10, 19), 20))
    result = feed(e, TEN, BETTER, back)
    assert column(result, "verdict") == [Verdict.OK] * 3
    assert e.tallies()[0].depth == 10


def test_a_depth_that_was_told_is_kept(engine):
    e = engine(messages=True)
    e.set_symbol("A/USD", depth=10)
    result = feed(e, TEN, BETTER, update((), [ask(9, event="delete")], book_text(*range(10, 20))))
    assert column(result, "verdict") == [Verdict.OK, Verdict.OK, Verdict.MISMATCH]
    assert not e.tallies()[0].depth_inferred


# Quantities past 64 bits


def test_a_quantity_past_int64_is_exact_in_the_book_and_saturates_in_columns(engine):
    e = engine(messages=True, events=True)
    large = "98765432109876543210.5"
    right = crc("100" + large.replace(".", ""))
    result = feed(e, snapshot([order("b", "10.0", large)], (), right))
    assert column(result, "verdict") == [Verdict.OK]
    assert column(result, "qty") == column(result, "change") == [0, 2**63 - 1]
    assert large.encode() in e.export_book("A/USD").message
    less = update([order("b", "10.0", "1.5", event="modify")], (), crc("100" + "15"))
    result = feed(e, less)
    assert column(result, "verdict") == [Verdict.OK]
    assert (column(result, "qty"), column(result, "change")) == ([15], [-(2**63 - 1)])
    over = update([order("c", "10.0", "1" + "0" * 37, event="add")], (), 7)
    assert column(feed(e, over), "verdict") == [Verdict.MALFORMED]


@pytest.mark.parametrize("large", ["922337203685477580.7", "98765432109876543210.5", "1e30"])
def test_a_price_past_int64_is_unverifiable_and_the_book_lives_on(engine, large):
    e = engine(messages=True, events=True)
    e.set_symbol("A/USD", price_precision=1, qty_precision=1, depth=100)
    feed(e, SNAPSHOT)
    result = feed(e, update((), [order("c", large, "1.0", event="add")], 7))
    assert (column(result, "verdict"), column(result, "reason")) == ([Verdict.UNVERIFIABLE], [Reason.TOO_LARGE])
    assert column(result, "price") == [2**63 - 1]
    assert (e.tallies()[0].unverifiable, e.tallies()[0].malformed) == ({"too_large": 1}, 0)
    gone = update((), [order("c", large, "0.0", event="delete")], crc("11030" + "10020"))
    assert column(feed(e, gone), "verdict") == [Verdict.OK]


def test_a_price_past_int64_below_the_tenth_level_is_not_in_the_checksum(engine):
    e = engine(messages=True)
    asks = [order(f"a{n}", f"{11 + n}.0", "3.0") for n in range(10)]
    text = "".join(f"{11 + n}030" for n in range(10))
    e.set_symbol("A/USD", price_precision=1, qty_precision=1, depth=100)
    result = feed(e, snapshot((), [*asks, order("c", "1e30", "1.0")], crc(text)))
    assert column(result, "verdict") == [Verdict.OK]
    assert e.load_book(e.export_book("A/USD"))
    result = feed(e, update((), [order("a0", "11.0", "3.0", event="delete")], 7))
    assert column(result, "reason") == [Reason.TOO_LARGE]


def test_a_price_past_int64_leaves_the_precision_as_few_as_hold_the_numbers(engine):
    e = engine(messages=True)
    result = feed(e, snapshot([order("b", "10.50", "1.0")], [order("c", "1e25", "1.0")], 7))
    assert column(result, "reason") == [Reason.TOO_LARGE]
    assert e.tallies()[0].parameters() == (1, 0, 10)
