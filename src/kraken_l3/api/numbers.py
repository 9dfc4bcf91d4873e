"""From scaled integers to decimals and doubles, and to pandas without losing a digit.

Beside a table's integers, a column tells how many of their digits are decimals: `price_scale` for the columns with
`price` in their names, `qty_scale` for those with `qty`, `mid_scale` for those with `mid`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from kraken_l3.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["decimals", "doubles", "pandas_types"]

_SCALES = {"price": "price_scale", "qty": "qty_scale", "mid": "mid_scale"}


def decimals(table: pa.Table) -> pa.Table:
    """A table with its prices and quantities as exact decimals (decimal128), without the columns of scales.

    A column has as many decimals as any of its rows needs. Nulls stay null.

    Args:
        table: `events`, `trades`, ... as an Arrow table, or a `RecordBatchReader`.

    Raises:
        UsageError: the table has no scaled integers.
    """
    return _converted(table, _to_decimals)


def doubles(table: pa.Table) -> pa.Table:
    """A table with its prices and quantities as the nearest doubles, without the columns of scales.

    Args:
        table: as for `decimals`.

    Raises:
        UsageError: the table has no scaled integers.
    """
    return _converted(table, _to_doubles)


def pandas_types(kind: pa.DataType) -> Optional[Any]:
    """pandas' type for an Arrow type: `table.to_pandas(types_mapper=kraken_l3.pandas_types)`.

    pandas turns a column of integers with a null (the `clear` row of `events`) into float64, which loses digits beyond
    2^53. With this they become pandas' nullable integers, and decimals stay Arrow's.
    """
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).title().replace("Uint", "UInt"))
    return pd.ArrowDtype(kind) if pa.types.is_decimal(kind) else None


def _converted(table: Any, convert: Callable[[pa.ChunkedArray, pa.ChunkedArray], Any]) -> pa.Table:
    import pyarrow as pa

    if not isinstance(table, pa.Table):
        table = table.read_all() if hasattr(table, "read_all") else pa.table(table)
    scaled = {
        field.name: _SCALES[word]
        for field in table.schema
        for word in field.name.split("_")
        if word in _SCALES and pa.types.is_int64(field.type) and _SCALES[word] in table.schema.names
    }
    if not scaled:
        raise UsageError("no prices or quantities as integers here, with price_scale or qty_scale beside them")
    for name, scale in scaled.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, convert(table.column(name), table.column(scale)))
    return table.drop_columns(sorted(set(scaled.values())))


def _to_decimals(values: pa.ChunkedArray, scales: pa.ChunkedArray) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    numbers, there, scale = _as_numpy(values, scales)
    most = int(scale.max(initial=0))
    groups = [np.flatnonzero(scale == each) for each in np.unique(scale)]  # one, unless a precision changed
    found = [_decimals_of(numbers[rows], int(scale[rows[0]])).cast(pa.decimal128(38, most)) for rows in groups]
    if not found:
        return pa.nulls(0, pa.decimal128(38, most))
    back = np.argsort(np.concatenate(groups), kind="stable")
    array = found[0] if len(found) == 1 else pa.concat_arrays(found).take(pa.array(back))
    return _with_nulls(array, there)


def _decimals_of(numbers: Any, scale: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    words = np.stack([numbers, numbers >> 63], axis=1)  # 128 bits each, the low half first
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(numbers), [None, pa.py_buffer(words)])


def _to_doubles(values: pa.ChunkedArray, scales: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    from kraken_l3.export.arrow import to_doubles

    numbers, there, scale = _as_numpy(values, scales)
    return _with_nulls(pa.array(to_doubles(numbers, scale)), there)


def _as_numpy(values: pa.ChunkedArray, scales: pa.ChunkedArray) -> tuple[Any, Any, Any]:
    """Numbers (0 for null), which of them are there, and their scales."""
    import numpy as np

    there = values.is_valid().combine_chunks().to_numpy(zero_copy_only=False)
    numbers = values.fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
    scale = np.maximum(scales.fill_null(0).combine_chunks().to_numpy(zero_copy_only=False), 0)  # -1: of an empty book
    return numbers.astype(np.int64), there, scale


def _with_nulls(array: pa.Array, there: Any) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return array if there.all() else pc.if_else(pa.array(there), array, pa.scalar(None, array.type))
