"""Event batches of many pairs on their way from one reading to the files of one pair after the other.

What does not fit the memory bound lies in a temporary file, packed with LZ4, and is read back a batch at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.export.column_records import ColumnRecords
from kraken_l3.export.events import EventsDay
from kraken_l3.export.pairs import EventBatch, in_larger_batches
from kraken_l3.export.records import Records

__all__ = ["PairSpool"]

_CODEC = "lz4"


class _Place(NamedTuple):
    """Where records lie in the file, packed and unpacked bytes."""

    offset: int
    packed: int
    size: int
    dtype: Any


class _Piece(NamedTuple):
    """A batch; what of it is in the file instead stands beside it."""

    batch: EventBatch
    records: Optional[_Place] = None
    book: Optional[_Place] = None


class PairSpool:
    """Batches by pair.

    Args:
        memory_bytes: so much may wait in memory.
        directory: for the temporary file (None: the system's own).

    Attributes:
        events: how many it has, of all pairs.
    """

    def __init__(self, memory_bytes: int = 128 * 1024 * 1024, directory: Optional[Path] = None) -> None:
        self._memory_bytes, self._directory = memory_bytes, directory
        self._pieces: dict[str, list[_Piece]] = {}
        self._waiting: dict[str, list[EventBatch]] = {}
        self._waiting_bytes = self.events = 0
        self._file: Optional[Any] = None

    def add(self, batch: EventBatch) -> None:
        """Add to a pair's batches."""
        self._waiting.setdefault(batch.symbol, []).append(batch)
        self.events += len(batch.records)
        self._waiting_bytes += batch.records.nbytes + (batch.book.nbytes if batch.book is not None else 0)
        if self._waiting_bytes > self._memory_bytes:
            self._put_away()

    def _put_away(self) -> None:
        for symbol, batches in self._waiting.items():
            pieces = self._pieces.setdefault(symbol, [])
            for batch in in_larger_batches(batches):
                book = self._write(batch.book) if batch.book is not None else None
                pieces.append(_Piece(batch._replace(records=None, book=None), self._write(batch.records), book))
        self._waiting.clear()
        self._waiting_bytes = 0

    def _write(self, records: Records) -> _Place:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, prefix=".pairs-")  # noqa: SIM115 - see close
        data = (records.packed() if isinstance(records, ColumnRecords) else records).tobytes()
        packed = pa.compress(data, codec=_CODEC, asbytes=True)
        return _Place(self._file.seek(0, 2), self._file.write(packed), len(data), records.dtype)

    def _read(self, place: _Place) -> Records:
        assert self._file is not None
        self._file.seek(place.offset)
        packed = self._file.read(place.packed)
        return np.frombuffer(bytearray(pa.decompress(packed, place.size, codec=_CODEC)), place.dtype)

    def batches(self, symbol: str) -> Iterator[EventBatch]:
        """All of a pair's batches, from the first on; they can be asked for again."""
        return in_larger_batches(self._in_order(symbol))

    def _in_order(self, symbol: str) -> Iterator[EventBatch]:
        days: dict[int, EventsDay] = {}
        pieces = [*self._pieces.get(symbol, ()), *map(_Piece, self._waiting.get(symbol, ()))]
        for batch, records, book in pieces:
            if id(batch.rows) not in days:
                days[id(batch.rows)] = batch.rows.again()
            if records is not None:
                batch = batch._replace(records=self._read(records), book=self._read(book) if book is not None else None)
            yield batch._replace(rows=days[id(batch.rows)])

    def close(self) -> None:
        """Forget all of it."""
        self._pieces.clear()
        self._waiting.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
