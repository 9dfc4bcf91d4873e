"""`kraken-l3 sql`: a query over the tables of an archive or of an exported directory."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.cli.console import Screen, Table, progress, stoppable
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import warn_of_engine
from kraken_l3.errors import UsageError
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.rebuild.parallel import default_jobs

__all__ = ["sql"]

_SHOWN_ROWS = 500


def sql(query: str, source: str, as_json: bool, as_csv: bool, jobs: Optional[int], engine: str) -> int:
    """Run `kraken-l3 sql`; gives its exit code back."""
    if as_json and as_csv:
        raise UsageError("--json and --csv cannot be combined")
    try:
        from kraken_l3.export.sql import connect, tables_in
    except ImportError as error:
        hint = "pip install duckdb numpy pyarrow"
        raise UsageError(f"SQL needs duckdb, numpy and pyarrow ({error})", hint=hint) from None
    warn_of_engine(engine)
    with _mistakes():
        _must_only_read(query)
    tables = tables_in(query)
    total = _bytes_of(source)
    with progress("exporting", len(tables) * total) as on_bytes, stoppable(on_bytes) as step:
        jobs = jobs or default_jobs(total)
        connection = connect(source, tables, jobs=jobs, engine=engine, progress=step)
    with _mistakes():
        relation: Any = connection.sql(query)
        reader = relation.to_arrow_reader() if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader()
        _print(reader.schema.names, _rows(reader), as_json=as_json, as_csv=as_csv)
    return 0


@contextmanager
def _mistakes() -> Iterator[None]:
    """What is wrong with the query, in DuckDB's words."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        text = str(error).partition("\n")[0]
        raise UsageError(text, where="the query", hint="The views are those of docs/export.md") from None


def _must_only_read(query: str) -> None:
    """Other statements write files (COPY, EXPORT, ATTACH) or change views that are gone a moment later."""
    import duckdb

    if [statement.type.name for statement in duckdb.extract_statements(query)] != ["SELECT"]:
        hint = "--csv and --json print all rows; archive.duckdb() in Python runs any statement"
        raise UsageError("the query must be one SELECT", hint=hint)


def _bytes_of(source: str) -> int:
    return sum(content_size(file) for file in open_archive(path_of(source)).files())


def _rows(reader: Any) -> Iterator[list[Any]]:
    import pyarrow as pa

    for batch in reader:
        columns = []
        for column in batch.columns:
            if pa.types.is_timestamp(column.type):
                factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
                stamps = column.cast(pa.int64()).to_pylist()
                columns.append([None if stamp is None else format_rfc3339(stamp * factor) for stamp in stamps])
            else:
                columns.append(column.to_pylist())
        yield from map(list, zip(*columns))


def _plain(value: Any) -> Any:
    """What JSON can hold; decimals and dates as texts."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _print(names: list[str], rows: Iterator[list[Any]], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_result({"columns": names, "rows": [[_plain(value) for value in row] for row in rows]})
        return
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([json.dumps(_plain(v)) if isinstance(v, list) else v for v in row] for row in rows)
        return
    table = Table(*names)
    count = 0
    for count, row in enumerate(rows, 1):
        if count <= _SHOWN_ROWS:
            table.add(
                *("" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value) for value in row)
            )
    screen = Screen()
    screen.table(table)
    if count > _SHOWN_ROWS:
        screen.line(f"{count - _SHOWN_ROWS:,} more rows; --csv and --json print all")
    elif not count:
        screen.line("No rows")
