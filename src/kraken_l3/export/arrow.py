"""NumPy columns to Arrow arrays: buffers as they are, words by their numbers, doubles made once and last."""

from __future__ import annotations

from typing import Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import MAX_PRECISION
from kraken_l3.export.records import Records
from kraken_l3.export.schema import TIME

__all__ = ["array_of", "times_of", "to_doubles", "words_of"]

#: Below this every integer is a double, and a division by a power of ten rounds once: to the nearest double.
_EXACT = 1 << 53
_POWERS = np.array([float(10**digits) for digits in range(MAX_PRECISION + 1)])


def array_of(kind: pa.DataType, values: Records, valid: Optional[Records] = None) -> pa.Array:
    """An array over the values' own memory; where not `valid` it is null."""
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def words_of(words: pa.Array, numbers: Records) -> pa.Array:
    """A dictionary array: `numbers` are indices into `words`."""
    return pa.DictionaryArray.from_arrays(array_of(pa.int8(), numbers), words)


def times_of(values: Records) -> pa.Array:
    """Nanoseconds since 1970 UTC; 0 is null."""
    return array_of(TIME, values, values != 0)


def to_doubles(mantissas: Records, scales: Records) -> Records:
    """The doubles nearest to mantissa / 10**scale."""
    doubles = mantissas / _POWERS[scales]
    wide = np.flatnonzero(np.abs(mantissas) >= _EXACT)
    if len(wide):
        scales = np.broadcast_to(scales, mantissas.shape)
        # two roundings (to a double, then the division) may miss the nearest; Python divides integers with one
        doubles.flat[wide] = [int(m) / 10 ** int(s) for m, s in zip(mantissas.flat[wide], scales.flat[wide])]
    return doubles
