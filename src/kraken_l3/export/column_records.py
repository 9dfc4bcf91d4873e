"""Records in the columns that they came in."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ColumnRecords"]


class ColumnRecords:
    """Records with an array a field, which may be the engine's own and read only; indexed as a structured array is.

    Args:
        dtype: of a record.
        columns: by the names of its fields.
    """

    def __init__(self, dtype: np.dtype[Any], columns: dict[str, Any]) -> None:
        self.dtype = dtype
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[self.dtype.names[0]]) if self.dtype.names else 0

    def __getitem__(self, key: Any) -> Any:
        """A field by its name; else those of the records that are asked for."""
        if isinstance(key, str):
            return self._columns[key]
        return ColumnRecords(self.dtype, {name: column[key] for name, column in self._columns.items()})

    def __setitem__(self, name: str, values: Any) -> None:
        self._columns[name] = np.array(np.broadcast_to(values, len(self)), self.dtype[name])

    @property
    def nbytes(self) -> int:
        """Of the records alone."""
        return len(self) * self.dtype.itemsize

    def packed(self) -> Any:
        """The same as a structured array."""
        records = np.empty(len(self), self.dtype)
        for name, column in self._columns.items():
            records[name] = column
        return records

    def tobytes(self) -> bytes:
        """As of a structured array."""
        data: bytes = self.packed().tobytes()
        return data
