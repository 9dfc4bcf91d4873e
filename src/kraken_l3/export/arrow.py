"""NumPy columns to Arrow arrays: buffers as they are, words by their numbers, doubles made once and last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import MAX_PRECISION
from kraken_l3.export.records import OVERFLOW_ID, Records
from kraken_l3.export.schema import TIME

__all__ = ["array_of", "bitmap_of", "bools_of", "ids_of", "times_of", "to_doubles", "words_of"]

#: Below this every integer is a double, and a division by a power of ten rounds once: to the nearest double.
_EXACT = 1 << 53
#: Letters of an order id of Kraken's: "OQCLML-BW3P3-BUCMWZ".
_ID_BYTES = 19
_POWERS = np.array([float(10**digits) for digits in range(MAX_PRECISION + 1)])


def bitmap_of(valid: Records) -> Optional[pa.Buffer]:
    """The bitmap of an array that is null where not `valid`; None where all of it is."""
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def array_of(kind: pa.DataType, values: Records, bitmap: Optional[pa.Buffer] = None) -> pa.Array:
    """An array over the values' own memory; `bitmap` (see `bitmap_of`) tells where it is null."""
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def bools_of(values: Records) -> pa.Array:
    """A column of booleans."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def words_of(words: pa.Array, numbers: Records) -> pa.Array:
    """A dictionary array: `numbers` are indices into `words`."""
    return pa.DictionaryArray.from_arrays(array_of(pa.int8(), numbers), words)


def times_of(values: Records) -> pa.Array:
    """Nanoseconds since 1970 UTC; 0 is null."""
    return array_of(TIME, values, bitmap_of(values != 0))


def to_doubles(mantissas: Records, scales: Records) -> Records:
    """The doubles nearest to mantissa / 10**scale."""
    doubles = mantissas / _POWERS[scales]
    if mantissas.size and not -_EXACT < mantissas.min() <= mantissas.max() < _EXACT:
        wide = np.flatnonzero(np.abs(mantissas) >= _EXACT)
        scales = np.broadcast_to(scales, mantissas.shape)
        # two roundings (to a double, then the division) may miss the nearest; Python divides integers with one
        doubles.flat[wide] = [int(m) / 10 ** int(s) for m, s in zip(mantissas.flat[wide], scales.flat[wide])]
    return doubles


def ids_of(ids: Records, overflow_ids: Sequence[str], valid: Optional[Records] = None) -> pa.Array:
    """Order ids without their padding, null where not `valid`. `overflow_ids`: see `records.OVERFLOW_ID`."""
    bitmap = bitmap_of(valid) if valid is not None else None
    ids = np.ascontiguousarray(ids)
    letters = ids.view(np.uint8).reshape(len(ids), ids.dtype.itemsize)
    if overflow_ids and (letters[:, 0] == OVERFLOW_ID[0]).any():
        whole = [
            overflow_ids[int(text[1:])] if text.startswith(OVERFLOW_ID) else text.decode() for text in ids.tolist()
        ]
        is_there = valid if valid is not None else np.ones(len(ids), bool)
        return pa.array([text if there else None for text, there in zip(whole, is_there)], pa.string())
    ends = np.zeros(len(ids) + 1, np.int32)
    if (letters[:, _ID_BYTES - 1] != 0).all() and not letters[:, _ID_BYTES:].any():  # as all of Kraken's are
        ends[:] = np.arange(len(ids) + 1) * _ID_BYTES
        used = np.ascontiguousarray(letters[:, :_ID_BYTES])
    else:
        is_letter = letters != 0
        np.cumsum(is_letter.sum(axis=1), out=ends[1:])
        used = letters[is_letter]
    return pa.Array.from_buffers(pa.string(), len(ids), [bitmap, pa.py_buffer(ends), pa.py_buffer(used)])
