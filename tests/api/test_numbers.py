"""Scaled integers as decimals, doubles and pandas' own types."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kraken_l3
from kraken_l3.errors import UsageError

VALUES = st.lists(
    st.tuples(st.none() | st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 18)), min_size=1, max_size=20
)


def table_of(values: list) -> pa.Table:
    return pa.table(
        {
            "line": pa.array(range(len(values)), pa.int64()),
            "price": pa.array([number for number, _ in values], pa.int64()),
            "price_scale": pa.array([scale for _, scale in values], pa.int8()),
            "qty_ahead": pa.array([number for number, _ in values], pa.int64()),
            "qty_scale": pa.array([8] * len(values), pa.int8()),
        }
    )


@given(VALUES)
def test_decimals_are_exact_and_doubles_the_nearest(values):
    table = table_of(values)
    exact = [None if number is None else Decimal(number).scaleb(-scale) for number, scale in values]
    found = kraken_l3.decimals(table)
    assert found.schema.names == ["line", "price", "qty_ahead"]
    assert found["price"].to_pylist() == exact
    assert kraken_l3.doubles(table)["price"].to_pylist() == [None if e is None else float(e) for e in exact]
    assert found["qty_ahead"].to_pylist() == [None if n is None else Decimal(n).scaleb(-8) for n, _ in values]


def test_an_empty_table_and_one_in_pieces():
    empty = kraken_l3.decimals(table_of([(1, 1)]).slice(0, 0))
    assert empty["price"].to_pylist() == []
    both = pa.concat_tables([table_of([(15, 1)]), table_of([(None, 3), (-25, 2)])])
    assert kraken_l3.decimals(both)["price"].to_pylist() == [Decimal("1.5"), None, Decimal("-0.25")]
    assert (
        kraken_l3.doubles(pa.RecordBatchReader.from_batches(both.schema, both.to_batches()))["price"][0].as_py() == 1.5
    )


def test_a_table_without_scaled_integers_is_refused():
    with pytest.raises(UsageError, match="no prices or quantities"):
        kraken_l3.decimals(pa.table({"mid": [1.5]}))


def test_pandas_keeps_integers_beside_a_null():
    pandas = pytest.importorskip("pandas")
    table = table_of([(2**62 + 1, 1), (None, 1)])
    assert table.to_pandas()["price"].dtype == float  # what happens without
    frame = table.to_pandas(types_mapper=kraken_l3.pandas_types)
    assert frame["price"].dtype == pandas.Int64Dtype()
    assert frame["price"][0] == 2**62 + 1
    assert frame["price"].isna().tolist() == [False, True]
    exact = kraken_l3.decimals(table).to_pandas(types_mapper=kraken_l3.pandas_types)
    assert exact["price"][0] == Decimal(2**62 + 1) / 10
