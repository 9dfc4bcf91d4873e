"""Gaps folded from journals, and what is in one."""

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.gaps import FAR_FUTURE_NS, Gap, fold_gaps
from kraken_l3.archive.journal import GapClosed, GapOpened, HandedOver, JournalState


def opened(symbol, left_ns, cause="network", channel="level3"):
    return GapOpened(at_ns=left_ns, channel=channel, symbol=symbol, cause=cause, left_ns=left_ns)


def closed(symbol, left_ns, right_ns, cause="network", channel="level3"):
    edges = {"left_ns": left_ns, "right_ns": right_ns}
    return GapClosed(at_ns=right_ns, channel=channel, symbol=symbol, cause=cause, **edges)


def test_both_edges_lie_outside():
    gap = Gap("level3", "BTC/USD", "network", 100, 200)
    assert [gap.holds(at) for at in (99, 100, 101, 199, 200, 201)] == [False, False, True, True, False, False]


def test_an_open_gap_has_no_end():
    gap = Gap("level3", "BTC/USD", "network", 100)
    assert gap.end_ns == FAR_FUTURE_NS
    assert gap.holds(10**18)
    assert not gap.holds(100)


def test_of_several_openings_the_first_cause_and_edge_count():
    records = [opened("A", 100, "stop"), opened("A", 150, "crash"), closed("A", 150, 200, "crash")]
    (gap,) = fold_gaps(records)
    assert (gap.cause, gap.left_ns, gap.right_ns, gap.seconds) == ("stop", 100, 200, 1e-7)


def test_a_closing_without_its_opening_is_a_gap():
    (gap,) = fold_gaps([closed("A", 100, 200, "disk")])
    assert (gap.cause, gap.left_ns, gap.right_ns) == ("disk", 100, 200)


def test_a_gap_that_reaches_further_back_is_closed_where_it_began_and_opened_again():
    gaps = fold_gaps([opened("A", 100), closed("A", 100, 100), opened("A", 60, "disk"), closed("A", 60, 200, "disk")])
    assert [(gap.cause, gap.left_ns, gap.right_ns) for gap in gaps] == [("disk", 60, 200), ("network", 100, 100)]
    assert [gap.holds(80) for gap in gaps] == [True, False]


def test_a_handover_takes_an_open_gap_back_and_no_other():
    over = HandedOver(at_ns=3, channel="level3", symbol="A", connection=7, matched="bytes", bridged=2)
    records = [opened("A", 1, "stop"), opened("B", 2, "stop"), opened("A", 1, "stop", "trade"), over]
    assert [(gap.channel, gap.symbol) for gap in fold_gaps(records)] == [("level3", "B"), ("trade", "A")][::-1]
    assert set(JournalState(records).gaps) == {("level3", "B"), ("trade", "A")}
    (before, *_) = fold_gaps([opened("A", 1), closed("A", 1, 2), over])
    assert (before.left_ns, before.right_ns) == (1, 2)


def test_channels_and_symbols_are_apart():
    gaps = fold_gaps([opened("A", 1), opened("A", 2, channel="trade"), opened("B", 3), closed("A", 1, 9)])
    assert [(g.channel, g.symbol, g.left_ns, g.right_ns) for g in gaps] == [
        ("level3", "A", 1, 9),
        ("trade", "A", 2, None),
        ("level3", "B", 3, None),
    ]


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 50), st.integers(1, 50)), max_size=12))
def test_a_moment_is_in_the_folded_gaps_when_it_is_in_one_as_written(steps):
    """Gaps one after the other, each with its opening restated as at midnight; the last one may be open."""
    records, written, now = [], [], {"A": 0, "B": 0}
    for number, (symbol, wait, length) in enumerate(steps):
        left, right = now[symbol] + wait, now[symbol] + wait + length
        records += [opened(symbol, left), opened(symbol, left)]
        if number + 1 < len(steps):
            records.append(closed(symbol, left, right))
        else:
            right = FAR_FUTURE_NS
        written.append((symbol, left, right))
        now[symbol] = right
    gaps = fold_gaps(records)
    for symbol in "AB":
        for at in range(0, 120):
            expected = any(s == symbol and left < at < right for s, left, right in written)
            assert any(gap.symbol == symbol and gap.holds(at) for gap in gaps) == expected
