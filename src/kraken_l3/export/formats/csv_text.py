"""Lines of CSV files from columns, exact decimals included, without a Python object a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kraken_l3.export.records import Records
from kraken_l3.model.decimals import format_scaled

__all__ = ["csv_lines", "decimals", "multiplied"]

_MOST = (1 << 63) - 1


def decimals(values: Records, scale: int) -> pa.Array:
    """Texts of scaled integers with every decimal written out, as `model.decimals.format_scaled` writes them."""
    if values.dtype == object or (values < 0).any():
        return pa.array([format_scaled(int(value), scale) for value in values], pa.string())
    if scale == 0:
        return pa.array(values).cast(pa.string())
    whole, fraction = np.divmod(values, 10**scale)
    padded = pc.utf8_lpad(pa.array(fraction).cast(pa.string()), scale, "0")
    return pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), padded, ".")


def multiplied(values: Records, factor: int) -> Records:
    """Exact products: as Python integers where 64 bits do not hold them."""
    fits = not len(values) or int(np.abs(values).max()) <= _MOST // factor
    return values * factor if fits else values.astype(object) * factor


def csv_lines(columns: Sequence[Union[pa.Array, Records, str]]) -> bytes:
    """Lines with the columns' cells between commas: texts, or NumPy integers; a single text stands in every line."""
    cells = [_cells(column) for column in columns]
    length = next(len(column) for column, given in zip(cells, columns) if not isinstance(given, str))
    if not length:
        return b""
    rows = pc.binary_join_element_wise(*cells, _text(","))
    _, ends, text = pc.binary_join_element_wise(rows, _text(""), _text("\n")).buffers()
    return bytes(text[: np.frombuffer(ends, np.int64)[length]])


def _cells(column: Union[pa.Array, Records, str]) -> Union[pa.Array, pa.Scalar]:
    if isinstance(column, str):
        return _text(column)
    if isinstance(column, np.ndarray):
        column = pa.array(column).cast(pa.string())
    return column.cast(pa.large_binary())


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text.encode(), pa.large_binary())
