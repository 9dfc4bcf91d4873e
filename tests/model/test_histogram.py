"""Histograms: what Prometheus and people read out of them."""

import math

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.histogram import LAG_BOUNDS_S, Histogram


def test_values_on_a_bound_count_below_it():
    histogram = Histogram.of([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, math.inf):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.quantile(0.5) == 2.0
    assert histogram.quantile(1) == math.inf


def test_without_values_there_is_no_quantile():
    assert math.isnan(Histogram.of(LAG_BOUNDS_S).quantile(0.5))


@given(st.lists(st.tuples(st.floats(-1, 100), st.integers(1, 50)), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_lowest_bound_with_that_share_below(values, share):
    histogram = Histogram.of(LAG_BOUNDS_S)
    for value, weight in values:
        histogram.add(value, weight)
    everything = [value for value, weight in values for _ in range(weight)]
    assert histogram.count == len(everything)
    assert math.isclose(histogram.sum, sum(everything), rel_tol=1e-9, abs_tol=1e-9)
    bound = histogram.quantile(share)
    assert sum(value <= bound for value in everything) >= share * len(everything) - 1e-6
    copy = histogram.copy()
    histogram.add(1.0)
    assert copy.count == len(everything)
