"""Collects rows until a symbol has a row group of them, within bounded memory.

The bound is for all symbols together: beyond it the largest heaps are written to a temporary file and read back when
they are complete. So where row groups end depends on a symbol's own rows only, never on what else is in the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

__all__ = ["Rows", "Spool"]

_Piece = Union["np.ndarray[Any, Any]", tuple[int, int]]  # in memory, or (offset, rows) in the file


class _Heap:
    def __init__(self) -> None:
        self.pieces: list[_Piece] = []
        self.rows = 0
        self.bytes_in_memory = 0


class Rows:
    """Records in one or more pieces, read by columns."""

    def __init__(self, pieces: Sequence[np.ndarray[Any, Any]]) -> None:
        self._pieces = pieces
        self._length = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return np.concatenate([piece[name] for piece in self._pieces])


class Spool:
    """Heaps of records by key.

    Args:
        dtype: of a record.
        group_rows: rows of a complete heap.
        memory_bytes: bound of all heaps in memory.
        directory: for the temporary file (None: the system's own).
    """

    def __init__(
        self, dtype: np.dtype[Any], group_rows: int, memory_bytes: int, directory: Optional[Path] = None
    ) -> None:
        self._dtype, self._group_rows = dtype, group_rows
        self._memory_bytes = memory_bytes
        self._heaps: dict[Hashable, _Heap] = {}
        self._bytes = 0
        self._directory = directory
        self._file: Optional[Any] = None

    def add(self, key: Hashable, records: np.ndarray[Any, Any]) -> Iterator[Rows]:
        """Add rows to a heap; gives the row groups that are complete now."""
        heap = self._heaps.setdefault(key, _Heap())
        while heap.rows + len(records) >= self._group_rows:
            room = self._group_rows - heap.rows
            self._put(heap, records[:room])
            records = records[room:]
            yield self._take(key)
            heap = self._heaps.setdefault(key, _Heap())
        if len(records):
            self._put(heap, records)
        if self._bytes > self._memory_bytes:
            self._spill()

    def rest(self, key: Hashable) -> Rows:
        """The rows left in a heap, which is removed."""
        return self._take(key)

    def close(self) -> None:
        """Drop all rows and the temporary file."""
        self._heaps.clear()
        self._bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, heap: _Heap, records: np.ndarray[Any, Any]) -> None:
        heap.pieces.append(records)
        heap.rows += len(records)
        heap.bytes_in_memory += records.nbytes
        self._bytes += records.nbytes

    def _take(self, key: Hashable) -> Rows:
        heap = self._heaps.pop(key, None)
        if heap is None or not heap.pieces:
            return Rows([np.zeros(0, self._dtype)])
        self._bytes -= heap.bytes_in_memory
        return Rows([self._read(*piece) if isinstance(piece, tuple) else piece for piece in heap.pieces])

    def _read(self, offset: int, rows: int) -> np.ndarray[Any, Any]:
        assert self._file is not None
        self._file.seek(offset)
        return np.frombuffer(self._file.read(rows * self._dtype.itemsize), self._dtype)

    def _spill(self) -> None:
        """Write the largest heaps out, until half of the bound is free."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, prefix=".spool-")  # noqa: SIM115 - closed in close
        offset = self._file.seek(0, 2)
        for heap in sorted(self._heaps.values(), key=lambda heap: -heap.bytes_in_memory):
            if self._bytes <= self._memory_bytes // 2 or not heap.bytes_in_memory:
                break
            pieces: list[_Piece] = []
            for piece in heap.pieces:
                if isinstance(piece, tuple):
                    pieces.append(piece)
                    continue
                offset += self._file.write(piece.tobytes())
                pieces.append((offset - piece.nbytes, len(piece)))
            self._bytes -= heap.bytes_in_memory
            heap.pieces, heap.bytes_in_memory = pieces, 0
