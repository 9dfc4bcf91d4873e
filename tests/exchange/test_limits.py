"""The counters, held against plain recounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.exchange.limits import AttemptLimit, DecayingCounter, Limits, SlidingWindow, subscription_cost

S = 1_000_000_000
STEPS = st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 6)), max_size=40)


def test_the_costs_and_tiers_that_kraken_documents():
    assert [subscription_cost(depth) for depth in (10, 100, 1000)] == [5, 25, 100]
    assert Limits.of_tier("standard").subscriptions_per_s == 200
    assert Limits.of_tier("pro").subscriptions_per_s == 500
    with pytest.raises(KeyError):
        Limits.of_tier("vip")


@given(STEPS)
def test_no_window_holds_more_than_its_size(steps):
    window, taken, now = SlidingWindow(10, 1.0), [], 0
    for pause, cost in steps:
        now += pause
        used = sum(c for at, c in taken if at > now - S)
        assert window.take(cost, now) == (used + cost <= 10)
        if used + cost <= 10:
            taken.append((now, cost))


@given(STEPS)
def test_the_counter_decays_and_what_is_refused_does_not_count(steps):
    counter, value, now = DecayingCounter(10, 0.5), 0.0, 0
    for pause, cost in steps:
        now += pause
        value = max(0.0, value - pause / S * 0.5)
        if abs(value + cost - 10) < 1e-6:
            return  # on the edge, rounding decides
        assert counter.take(cost, now) == (value + cost < 10)
        if value + cost < 10:
            value += cost


def test_too_many_attempts_ban_one_address_for_one_window():
    limit = AttemptLimit(2, 600)
    assert [limit.take("a", 0), limit.take("a", S), limit.take("a", 2 * S)] == [True, True, False]
    assert limit.take("b", 2 * S)
    assert not limit.take("a", 601 * S), "the first two are forgotten, the ban is not"
    assert limit.take("a", 602 * S)
