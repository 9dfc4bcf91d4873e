"""Lines of CSV files from columns, exact decimals included, without a Python object a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kraken_l3.export.arrow import to_doubles
from kraken_l3.export.records import Records
from kraken_l3.model.decimals import format_scaled

__all__ = ["csv_lines", "decimals", "multiplied", "shortest"]

_MOST = (1 << 63) - 1
_EXACT_END = 10**15


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


def shortest(values: Records, scale: int) -> pa.Array:
    """The shortest decimals whose nearest doubles are those of scaled integers: as `repr`, but without an exponent."""
    if scale == 0:
        texts = pc.binary_join_element_wise(decimals(values, 0), "0", ".")
    else:
        texts = pc.utf8_rtrim(decimals(values, scale), "0")
        texts = pc.if_else(pc.ends_with(texts, "."), pc.binary_join_element_wise(texts, "0", ""), texts)
    if not (values >= _EXACT_END).any():  # decimals of so many digits are the shortest of their doubles
        return texts
    doubles = to_doubles(values, np.int8(scale)).tolist()
    return pa.array(
        [
            text if value < _EXACT_END else _without_exponent(double)
            for value, double, text in zip(values.tolist(), doubles, texts.to_pylist())
        ],
        pa.string(),
    )


def _without_exponent(number: float) -> str:
    text = repr(number)
    return text if "e" not in text else f"{number:.18f}".rstrip("0") + ("0" if number.is_integer() else "")


def csv_lines(columns: Sequence[Union[pa.Array, Records, str]]) -> bytes:
    """Lines with the columns' cells between commas: texts, or NumPy integers; a single text stands in every line."""
    cells = [_cells(column) for column in columns]
    length = next(len(column) for column, given in zip(cells, columns) if not isinstance(given, str))
    if not length:
        return b""
    # the end of a line stands before the next: so the longest column need not be copied for it
    cells[0] = pc.binary_join_element_wise(_text("\n"), cells[0], _text(""))
    _, ends, text = pc.binary_join_element_wise(*cells, _text(",")).buffers()
    return b"".join([memoryview(text)[1 : np.frombuffer(ends, np.int64)[length]], b"\n"])


def _cells(column: Union[pa.Array, Records, str]) -> Union[pa.Array, pa.Scalar]:
    if isinstance(column, str):
        return _text(column)
    if isinstance(column, np.ndarray):
        column = pa.array(column).cast(pa.string())
    return column.cast(pa.large_binary())


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text.encode(), pa.large_binary())
