"""Cells and lines of CSV files made in columns, against the texts that Python makes one by one."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from kraken_l3.export.formats.csv_text import csv_lines, decimals, multiplied, shortest
from kraken_l3.model.decimals import format_scaled

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(INT64), st.integers(0, 18))
def test_decimals_are_written_out(values, scale):
    expected = [format_scaled(value, scale) for value in values]
    assert decimals(np.array(values, np.int64), scale).to_pylist() == expected
    positive = [abs(value) for value in values if value > -(1 << 63)]
    assert decimals(np.array(positive, np.int64), scale).to_pylist() == [format_scaled(v, scale) for v in positive]


def test_larger_numbers_are_exact_too():
    values = multiplied(np.array([1 << 62, 5]), 10**4)
    assert values.tolist() == [(1 << 62) * 10**4, 50_000]
    assert decimals(values, 2).to_pylist() == [format_scaled((1 << 62) * 10**4, 2), "500.00"]
    assert multiplied(np.array([7]), 10**4).dtype == np.int64


@given(st.lists(st.tuples(INT64, st.text("ab", max_size=3))))
def test_lines_have_the_cells_between_commas(rows):
    numbers = np.array([number for number, _ in rows], np.int64)
    texts = pa.array([text for _, text in rows], pa.string())
    expected = "".join(f"{number},x,{text}\n" for number, text in rows)
    assert csv_lines([numbers, "x", texts]) == expected.encode()


@given(st.lists(st.integers(0, (1 << 63) - 1)), st.integers(0, 18))
@example([0, 1, 12345, 100, 10**15 - 1, 10**15, 123_456_789_012_345_678, 9 * 10**18], 8)
@example([10**15 - 1, 10**15, 10**17, 9 * 10**18], 0)
def test_snapshot_numbers_are_the_shortest_texts_of_their_doubles(values, scale):
    texts = shortest(np.array(values, np.int64), scale).to_pylist()
    assert [float(text) for text in texts] == [value / 10**scale for value in values]
    assert not [text for text in texts if "e" in text or "." not in text or text.endswith(".")]
    for value, text in zip(values, texts):
        assert Decimal(text).as_tuple()[1] == Decimal(repr(value / 10**scale)).as_tuple()[1] or "e" in repr(
            value / 10**scale
        )
