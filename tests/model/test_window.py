"""Windows of time: half open, whole and by UTC days."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window, windows_of

DAY = dt.date(2026, 11, 22)
BEGIN_NS = day_start_ns(DAY)
MOMENTS = st.integers(BEGIN_NS - 3 * NS_PER_DAY, BEGIN_NS + 3 * NS_PER_DAY)


def test_days_that_follow_one_another_are_one_window():
    days = [dt.date(2026, 11, day) for day in (24, 22, 23, 26)]
    midnight = {day: day_start_ns(dt.date(2026, 11, day)) for day in range(22, 28)}
    assert windows_of(Window(), days) == [(midnight[22], midnight[25]), (midnight[26], midnight[27])]
    assert windows_of(Window(midnight[23] + 5, midnight[26]), days) == [(midnight[23] + 5, midnight[25])]


def holds(window, at_ns):
    return window.start_ns <= at_ns and (window.end_ns is None or at_ns < window.end_ns)


@given(MOMENTS, st.none() | MOMENTS, MOMENTS, st.sets(st.dates(dt.date(2026, 11, 18), dt.date(2026, 11, 27))))
def test_a_moment_is_in_the_windows_of_days_when_it_is_in_the_window_and_on_one_of_the_days(start, end, at, days):
    window = Window(start, end)
    found = windows_of(window, days)
    assert any(holds(each, at) for each in found) == (holds(window, at) and day_of(at) in days)
    assert found == sorted(found)


@given(MOMENTS, st.none() | MOMENTS, st.integers(0, NS_PER_DAY - 1))
def test_within_a_day_a_window_is_what_it_was_and_open_towards_the_other_days(start, end, offset):
    window = Window(start, end)
    assert holds(window.within(DAY), BEGIN_NS + offset) == holds(window, BEGIN_NS + offset) or not window.touches(DAY)
    if holds(window, BEGIN_NS + offset):
        assert window.touches(DAY)


def test_a_window_touches_the_days_that_it_has_a_moment_of():
    assert EVERYTHING.touches(DAY)
    assert Window(BEGIN_NS, BEGIN_NS + 1).touches(DAY)
    assert not Window(BEGIN_NS - 5, BEGIN_NS).touches(DAY)
    assert not Window(BEGIN_NS + NS_PER_DAY).touches(DAY)
    assert EVERYTHING.within(DAY) == EVERYTHING
