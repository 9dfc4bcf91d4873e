"""Views of DuckDB over exported tables: those of an exported directory, or of an archive, exported on the fly.

An archive's tables are exported to a cache beside it, "data.tables" for "data": only those that a query names, and of
them only what is not there yet or has changed, as the done markers tell (`resume`). A cache with days or lines that the
archive has no more is made anew.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from kraken_l3.archive.layout import stem
from kraken_l3.archive.opening import open_source
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.errors import DataMissing, LocalFault, UsageError
from kraken_l3.export.bulk import export_orders, export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.features import FeaturesTable
from kraken_l3.export.naming import printable, unescape_symbol
from kraken_l3.export.result import ExportResult
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import LocalStore, write_file
from kraken_l3.export.trades import export_trades

if TYPE_CHECKING:
    import duckdb

__all__ = ["TABLES", "cache_of", "connect", "tables_in"]

_SECOND_NS = 1_000_000_000
#: In a cache: the first line of each file that it is of.
_MADE_OF = "_jobs/source.json"
_FIRST_BYTES = 4096
_SNAPSHOTS = SnapshotsTable(levels=10, grid_ns=_SECOND_NS, wide=True)


def _trades(source: str, target: str, *, jobs: int = 1, **_how: Any) -> ExportResult:
    return export_trades(source, target, jobs=jobs)


def _of(table: Any) -> Callable[..., ExportResult]:
    return lambda source, target, **how: export_table(source, target, table, **how)


#: Every table there is, with what exports it on the fly. The last two are made beside any of the others.
TABLES: dict[str, Callable[..., ExportResult]] = {
    "snapshots": _of(_SNAPSHOTS),
    "events": _of(EventsTable()),
    "orders": export_orders,
    "features": _of(FeaturesTable(_SECOND_NS)),
    "trades": _trades,
    "gaps": _of(_SNAPSHOTS),
    "verdicts": _of(_SNAPSHOTS),
}
#: In one file, with a column that names the pair; all others lie in a directory for each pair and day.
_WHOLE = ("gaps",)


def tables_in(query: str) -> list[str]:
    """The tables that a query names."""
    return [name for name in TABLES if re.search(rf"\b{name}\b", query, re.IGNORECASE)]


def cache_of(source: Path) -> Path:
    """Where the tables of an archive are kept."""
    source = source.resolve()
    return source.with_name(f"{source.name}.tables")


def connect(
    source: str,
    tables: Optional[Iterable[str]] = None,
    *,
    jobs: int = 1,
    engine: str = "auto",
    cache: Optional[Path] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> duckdb.DuckDBPyConnection:
    """A connection with a view for each table.

    Args:
        source: an exported directory, an archive directory or an NDJSON file.
        tables: which (see `TABLES`); None for all that there are, or can be made.
        jobs: processes for the export, if there is one.
        engine: see `engine.choose`.
        cache: where to export; None for beside the archive.
        progress: called with the bytes done.

    Raises:
        DataMissing: a table has no rows there.
        UsageError: duckdb is not installed, or there is no such table.
    """
    try:
        import duckdb
    except ImportError:
        raise UsageError("SQL needs duckdb", hint="pip install duckdb") from None
    wanted = list(TABLES) if tables is None else list(tables)
    for name in wanted:
        if name not in TABLES:
            raise UsageError(f"no table {name!r}", hint=f"There are {', '.join(TABLES)}")
    directory = Path(source)
    if not any((directory / name).is_dir() for name in TABLES):
        directory = _exported(source, wanted, jobs, engine, cache, progress)
    connection = duckdb.connect()
    for name in wanted:
        if (directory / name).is_dir():
            connection.execute(f"create view {name} as {_view(directory / name)}")
        elif tables is not None:
            hint = f"kraken-l3 export {name} makes it" if directory == Path(source) else "The archive has none"
            raise DataMissing(f"no {name} here", where=str(directory), hint=hint)
    return connection


def _exported(
    source: str,
    wanted: Iterable[str],
    jobs: int,
    engine: str,
    cache: Optional[Path],
    progress: Optional[Callable[[int], None]],
) -> Path:
    if "://" in source and cache is None:
        raise UsageError(
            "SQL over an archive in an object store needs its tables", where=source, hint="Export them first"
        )
    directory = cache_of(Path(source)) if cache is None else cache
    _begin_cache(directory, open_archive(path_of(source)))
    done: list[Callable[..., ExportResult]] = []
    for name in wanted:
        export = TABLES[name]
        if name in ("gaps", "verdicts"):
            export = TABLES["snapshots"]
        if export not in done:
            done.append(export)
            export(source, str(directory), jobs=jobs, engine=engine, progress=progress)
    return directory


def _begin_cache(directory: Path, archive: Archive) -> None:
    """Remove a cache of other lines, whose rows would still be there, and write down what this one is of."""
    made_of = {stem(path): _first_line(path) for path in archive.files()}
    mark = directory / _MADE_OF
    if mark.exists():
        try:
            is_same = json.loads(mark.read_bytes()).items() <= made_of.items()
        except (ValueError, AttributeError):
            is_same = False
        if not is_same:
            shutil.rmtree(directory)
    elif directory.is_dir() and any(directory.iterdir()):
        return  # somebody's export, which is not ours to remove
    try:
        write_file(LocalStore(directory), _MADE_OF, json.dumps(made_of).encode())
    except LocalFault as error:
        hint = "Export the tables to a directory elsewhere (kraken-l3 export), and query that"
        raise LocalFault(error.what, where=str(directory), hint=hint) from None


def _first_line(path: Path) -> int:
    source = open_source(path)
    try:
        return zlib.crc32(source.read_at(0, _FIRST_BYTES).partition(b"\n")[0])
    finally:
        source.close()


def _view(directory: Path) -> str:
    files = _quoted(f"{directory}/**/*.parquet")
    if directory.name in _WHOLE:
        return f"select * from read_parquet({files})"
    names = sorted(path.name.partition("=")[2] for path in directory.glob("symbol=*"))
    cases = " ".join(f"when {_quoted(name)} then {_quoted(_symbol(name))}" for name in names)
    rows = f"read_parquet({files}, hive_partitioning = true, hive_types_autocast = true, union_by_name = true)"
    return f"select case symbol {cases} end as symbol, * exclude (symbol) from {rows}"


def _symbol(name: str) -> str:
    try:
        return printable(unescape_symbol(name))
    except ValueError:  # it was cut
        return name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
