"""A feed that ends before the first line later than a moment: what was taken is what the lines before it give."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lines import SNAPSHOT, order, snapshot, update

from kraken_l3.exchange.flow import generate
from kraken_l3.model.timestamps import parse_rfc3339

T0_NS = parse_rfc3339("2026-01-02T03:04:05Z")


def fed(engine, lines, **options):
    made = engine(messages=True, **options)
    return made, made.feed(b"".join(line + b"\n" for line in lines), 0, 0)


def test_it_ends_before_the_line_and_counts_nothing_of_it(engine):
    lines = [SNAPSHOT, b"{}", update(ns=20), update(ns=31), update(ns=20)]
    made, result = fed(engine, lines, until_ns=T0_NS + 30)
    assert result.lines == made.totals().lines == 3
    assert made.tallies()[0].messages == 2
    assert made.feed(lines[4], 4, 0).lines == 1
    assert fed(engine, lines, until_ns=T0_NS + 31)[1].lines == 5


def test_any_message_of_a_line_ends_it(engine):
    first, second = json.loads(update(ns=1)), json.loads(update(ns=31))
    both = json.dumps({**first, "data": [*first["data"], *second["data"]]}).encode()
    made, result = fed(engine, [SNAPSHOT, both], until_ns=T0_NS + 30)
    assert (result.lines, made.tallies()[0].messages) == (1, 1)


def test_what_is_not_read_does_not_end_it(engine):
    """An update without a book; a snapshot does, and so does what cannot be read in another number."""
    lines = [update(ns=40), snapshot(ns=10), update([order("x", '"nonsense"', "1", event="add")], ns=40)]
    assert fed(engine, lines, until_ns=T0_NS + 30)[1].lines == 2
    assert fed(engine, [snapshot(ns=40)], until_ns=T0_NS + 30)[1].lines == 0


FLOW = list(generate(symbols=3, messages=200, seed=5))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(12)), at=st.integers(0, 194))
def test_what_was_taken_is_what_the_lines_before_it_give(engine, order, at):
    """Also where the times of messages fall."""
    lines = [*FLOW[:3], *(line for block in order for line in FLOW[3 + block * 16 : 19 + block * 16])]
    _, whole = fed(engine, lines)
    times = memoryview(whole.messages["msg_ns"]).cast("q")
    until_ns = times[at]
    made, result = fed(engine, lines, until_ns=until_ns)
    taken = next((number for number, ns in enumerate(times) if ns > until_ns), len(lines))
    assert result.lines == taken
    before, _ = fed(engine, lines[:taken])
    assert (made.tallies(), made.totals()) == (before.tallies(), before.totals())
