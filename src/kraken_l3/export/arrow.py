"""NumPy columns to Arrow arrays: buffers as they are, words by their numbers, doubles made once and last."""

from __future__ import annotations

from typing import Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import MAX_PRECISION
from kraken_l3.export.records import Records
from kraken_l3.export.schema import TIME

__all__ = ["array_of", "bitmap_of", "times_of", "to_doubles", "words_of"]

#: Below this every integer is a double, and a division by a power of ten rounds once: to the nearest double.
_EXACT = 1 << 53
_POWERS = np.array([float(10**digits) for digits in range(MAX_PRECISION + 1)])


def bitmap_of(valid: Records) -> Optional[pa.Buffer]:
    """The bitmap of an array that is null where not `valid`; None where all of it is."""
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def array_of(kind: pa.DataType, values: Records, bitmap: Optional[pa.Buffer] = None) -> pa.Array:
    """An array over the values' own memory; `bitmap` (see `bitmap_of`) tells where it is null."""
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


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
