"""Tables of an archive, read when they are used; and short lists of rows that are there at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    NamedTuple,
    Optional,
    TypeVar,
    Union,
    get_args,
    get_type_hints,
    overload,
)

from kraken_l3.api.display import html_table, shown
from kraken_l3.api.numbers import pandas_types
from kraken_l3.api.progress import notebook_progress
from kraken_l3.errors import UsageError
from kraken_l3.rebuild.parallel import Progress

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Rows", "Table"]

_Row = TypeVar("_Row", bound=NamedTuple, covariant=True)

#: Shown of a table in a notebook, and of a list of rows.
_HEAD, _MOST_ROWS = 5, 20


class Table:
    """A table of an archive. Nothing is read until it is used, and each use reads it anew, in bounded memory.

    polars, pandas, DuckDB and pyarrow take it as it is (the Arrow PyCapsule interface): `pl.DataFrame(table)`,
    `duckdb.sql("select count(*) from table")`.

    Attributes:
        name: "events", "snapshots", ...
        schema: the Arrow schema; docs/export.md describes the columns.
    """

    def __init__(
        self,
        name: str,
        of: str,
        schema: pa.Schema,
        read: Callable[[Optional[Progress]], pa.RecordBatchReader],
        size: Callable[[], int],
    ) -> None:
        self.name = name
        self.schema = schema
        self._of = of
        self._read = read
        self._size = size

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def reader(self) -> pa.RecordBatchReader:
        """A `pyarrow.RecordBatchReader`, to be read once."""
        return self._read(None)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.reader())

    def read_all(self) -> pa.Table:
        """All of it as a `pyarrow.Table`. In a notebook, what takes longer than a second shows a bar."""
        with notebook_progress(f"{self.name} of {self._of}", self._size()) as progress:
            return self._read(progress).read_all()

    def to_polars(self) -> pl.DataFrame:
        """All of it as a polars DataFrame.

        Raises:
            UsageError: polars is not installed.
        """
        frame: pl.DataFrame = _polars().DataFrame(self.read_all())
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """All of it as a pandas DataFrame; integers stay integers beside nulls (see `pandas_types`).

        Raises:
            UsageError: pandas is not installed.
        """
        return _to_pandas(self.read_all())

    def scan(self) -> pl.LazyFrame:
        """A polars LazyFrame over it: a query reads batch by batch and keeps only the columns and rows it asks for.

        Raises:
            UsageError: polars is not installed.
        """
        polars = _polars()
        from polars.io.plugins import register_io_source

        def batches(
            columns: Optional[list[str]], predicate: Optional[pl.Expr], most: Optional[int], _size: Optional[int]
        ) -> Iterator[pl.DataFrame]:
            for batch in self.reader():
                frame = polars.DataFrame(batch)
                if most is not None:
                    frame = frame.head(most)
                    most -= len(frame)
                frame = frame.select(columns) if columns is not None else frame
                yield frame.filter(predicate) if predicate is not None else frame
                if most == 0:
                    return

        return register_io_source(batches, schema=polars.DataFrame(self.schema.empty_table()).schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        how = "to_polars(), to_pandas(), scan(), read_all()"
        return f"<Table {self.name} of {self._of}: {len(self.schema)} columns, read by {how}>"

    def _repr_html_(self) -> str:
        rows: list[dict[str, Any]] = []
        for batch in self.reader():
            rows += batch.slice(0, _HEAD - len(rows)).to_pylist()
            if len(rows) >= _HEAD:
                break
        cells = [[_cell(value) for value in row.values()] for row in rows]
        remark = f"{self.name} of {self._of}: the first {len(rows)} rows" if rows else f"{self.name}: no rows"
        return html_table(self.columns, cells, f"{remark}; to_polars(), to_pandas(), scan(), read_all() read it")


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise UsageError("polars is not installed", hint="pip install polars") from None
    return polars


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    try:
        return table.to_pandas(types_mapper=pandas_types)
    except ImportError:
        raise UsageError("pandas is not installed", hint="pip install pandas") from None


def _cell(value: object) -> str:
    if isinstance(value, list):
        shown_first = ", ".join(_cell(each) for each in value[:3])
        return f"[{shown_first}{', …' if len(value) > 3 else ''}]"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, dt.datetime):
        return str(value.replace(tzinfo=None))
    return "" if value is None else str(value)


class Rows(Sequence[_Row]):
    """A few rows, each a named tuple; `to_polars()` and the like have times as timestamps."""

    def __init__(self, what: str, row: type[_Row], rows: Sequence[_Row]) -> None:
        self._what = what
        self._row = row
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> _Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[_Row]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[_Row, Sequence[_Row]]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def to_arrow(self) -> pa.Table:
        """As a `pyarrow.Table`; columns that end in `_ns` become timestamps and lose that ending."""
        import pyarrow as pa

        hints = get_type_hints(self._row)
        types = {int: pa.int64(), float: pa.float64(), str: pa.string(), dt.date: pa.date32()}
        columns = {}
        for number, name in enumerate(self._row._fields):
            kind = next(each for each in (*get_args(hints[name]), hints[name]) if each in types)
            values = pa.array([row[number] for row in self._rows], types[kind])
            is_time = name.endswith("_ns")
            columns[name[:-3] if is_time else name] = values.cast(pa.timestamp("ns", "UTC")) if is_time else values
        return pa.table(columns)

    def to_polars(self) -> pl.DataFrame:
        """As a polars DataFrame.

        Raises:
            UsageError: polars is not installed.
        """
        frame: pl.DataFrame = _polars().DataFrame(self.to_arrow())
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        return _to_pandas(self.to_arrow())

    def _cells(self) -> list[list[str]]:
        return [[_field(name, value) for name, value in zip(row._fields, row)] for row in self._rows[:_MOST_ROWS]]

    def _heading(self) -> list[str]:
        return [name[:-3] if name.endswith("_ns") else name for name in self._row._fields]

    def _remark(self) -> str:
        more = len(self._rows) - _MOST_ROWS
        return f"{len(self._rows):,} {self._what}" + (f", the first {_MOST_ROWS} of them" if more > 0 else "")

    def __repr__(self) -> str:
        if not self._rows:
            return f"<no {self._what}>"
        lines = [self._heading(), *self._cells()]
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
        return f"{text}\n<{self._remark()}>"

    def _repr_html_(self) -> str:
        return html_table(self._heading(), self._cells(), self._remark())


def _field(name: str, value: object) -> str:
    if value is None:
        return ""
    if name.endswith("_ns") and isinstance(value, int):
        return shown(value)
    if name in ("covered", "verified") and isinstance(value, float):
        return f"{value:.4%}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
