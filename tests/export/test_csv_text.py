"""Cells and lines of CSV files made in columns, against the texts that Python makes one by one."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.export.formats.csv_text import csv_lines, decimals, multiplied
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


@pytest.mark.parametrize(("width", "factor"), [(16, 10**15), (16, 1), (8, 10)])
def test_fixed_point_numbers_are_little_endian_products(width, factor):
    from kraken_l3.export.formats.nautilus import fixed_point

    values = [0, 1, 12_345_678_901, (1 << 32) - 1, (1 << 63) - 1 if width == 16 else 1 << 50]
    encoded = fixed_point(np.array(values, np.int64), factor, pa.binary(width))
    assert [int.from_bytes(each, "little") for each in encoded.to_pylist()] == [value * factor for value in values]


def test_snapshot_numbers_are_the_shortest_texts_of_their_doubles():
    from kraken_l3.export.formats.tardis import _shortest

    numbers = [(0, 8), (1, 8), (12345, 8), (100, 2), (10**15, 0), (123_456_789_012_345_678, 8)]
    mantissas, scales = (np.array(each) for each in zip(*numbers))
    texts = _shortest(mantissas.astype(np.int64), scales.astype(np.int8))
    assert [float(text) for text in texts] == [m / 10**s for m, s in numbers]
    assert texts[:4] == ["0.0", "0.00000001", "0.00012345", "1.0"]
    assert not [text for text in texts if "e" in json.loads(f'"{text}"')]
