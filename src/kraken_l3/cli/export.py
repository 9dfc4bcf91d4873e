"""`kraken-l3 export`: verified data as tables, and in other tools' formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from kraken_l3.api import Archive
from kraken_l3.api.arguments import span_ns, symbol_among
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.cli.console import Screen, Table, number, plain, print_error, progress, size, stoppable
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import warn_of_engine, warn_of_unread
from kraken_l3.errors import DataMissing, LocalFault, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.rebuild.metadata import read_instruments
from kraken_l3.rebuild.parallel import default_jobs

if TYPE_CHECKING:
    from kraken_l3.export.result import ExportResult
    from kraken_l3.export.table import Table as ExportTable

__all__ = ["events", "hftbacktest", "lobster", "nautilus", "snapshots", "tardis"]

#: A process that can export takes half a second to start.
_LEAST_BYTES_A_JOB = 64 * 1024 * 1024
_SHOWN_FILES = 12
_SHOWN_ROWS = 5


def snapshots(
    source: str,
    out: str,
    every: str,
    levels: int,
    wide: bool,
    keep_gaps: bool,
    symbols: Optional[str],
    jobs: Optional[int],
    cluster: Optional[str],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export snapshots`; gives its exit code back."""
    _need_research()
    from kraken_l3.export.snapshots import SnapshotsTable

    wanted = SnapshotsTable(levels, span_ns(every), wide, keep_gaps, _symbols(symbols))
    return _export_table(source, out, wanted, symbols, jobs, cluster, instruments, engine, as_json)


def events(
    source: str,
    out: str,
    symbols: Optional[str],
    jobs: Optional[int],
    cluster: Optional[str],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export events`; gives its exit code back."""
    _need_research()
    from kraken_l3.export.events import EventsTable

    return _export_table(
        source, out, EventsTable(_symbols(symbols)), symbols, jobs, cluster, instruments, engine, as_json
    )


def tardis(
    source: str,
    out: str,
    symbols: Optional[str],
    jobs: Optional[int],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export tardis`; gives its exit code back."""
    return _export_format(source, out, "tardis", {}, symbols, jobs, instruments, engine, as_json)


def lobster(
    source: str,
    out: str,
    levels: int,
    symbols: Optional[str],
    jobs: Optional[int],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export lobster`; gives its exit code back."""
    return _export_format(source, out, "lobster", {"levels": levels}, symbols, jobs, instruments, engine, as_json)


def hftbacktest(
    source: str,
    out: str,
    resync: str,
    symbols: Optional[str],
    jobs: Optional[int],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export hftbacktest`; gives its exit code back."""
    if resync not in _RESYNCS:
        raise UsageError(f"unknown mode {resync!r}", where="--resync", hint="Use diff or clear")
    return _export_format(source, out, "hftbacktest", {"resync": resync}, symbols, jobs, instruments, engine, as_json)


def nautilus(
    source: str,
    out: str,
    symbols: Optional[str],
    jobs: Optional[int],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    """Run `kraken-l3 export nautilus`; gives its exit code back."""
    if "://" in out:
        raise UsageError("the catalog can only be written to a local directory", where="--out")
    return _export_format(source, out, "nautilus", {}, symbols, jobs, instruments, engine, as_json)


def _all_symbols(source: str, engine: str) -> list[str]:
    from kraken_l3.export.storage import fetched

    with fetched(source, heads=True) as path:
        names = Archive(path, engine=engine).symbols
    if not names and "://" in source:  # no journal tells them, so the data has to come
        with fetched(source) as path:
            names = Archive(path, engine=engine).symbols
    return names


_RESYNCS = ("diff", "clear")


def _export_format(
    source: str,
    out: str,
    name: str,
    options: dict[str, Any],
    symbols: Optional[str],
    jobs: Optional[int],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    _need_research()
    from kraken_l3.export.bulk import export_format
    from kraken_l3.export.format_job import READINGS

    pairs, unread = _begin(source, out, symbols, instruments, engine)
    wanted = _symbols(symbols)
    names = sorted(wanted) if wanted is not None else _all_symbols(source, engine)
    total = _total(source, readings=len(names) * READINGS[name])
    with _progress(out, total) as step:
        result = export_format(
            source,
            out,
            name,
            names,
            options=options,
            jobs=jobs or default_jobs(total or 0, least_bytes=_LEAST_BYTES_A_JOB),
            engine=engine,
            instruments=pairs,
            progress=step,
        )
    for note in result.notes:
        click.echo(plain(note), err=True)
    exit_code = result.exit_code() or (DataMissing.exit_code if unread else 0)
    if as_json:
        return print_result({"out": out, **dataclasses.asdict(result)}, exit_code)
    for file in result.files:
        click.echo(plain(f"{out.rstrip('/')}/{file.name}"))
    for text in _hidden(result):
        click.echo(plain(text), err=True)
    click.echo(_counts(result), err=True)
    return exit_code


def _need_research() -> None:
    try:
        import numpy  # noqa: F401 - only whether it is there
        import pyarrow  # noqa: F401
    except ImportError:
        raise UsageError("exporting needs numpy and pyarrow", hint="pip install numpy pyarrow") from None


def _symbols(text: Optional[str]) -> Optional[frozenset[str]]:
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError("no symbol given", where="--symbols", hint="Use BTC/USD,ETH/USD")
    return names


def _begin(
    source: str, out: str, symbols: Optional[str], instruments: Optional[Path], engine: str
) -> tuple[list[Instrument], bool]:
    """Check what can be checked before the work.

    Returns:
        The precisions of `--instruments`, and whether there is data that is not looked at.
    """
    warn_of_engine(engine)
    pairs = read_instruments(instruments) if instruments is not None else []
    unread = False
    if "://" not in source:
        unread = warn_of_unread(Path(source))
        if not open_archive(Path(source)).files():
            raise UsageError("no level3 data here", where=source, hint="Its files are named l3-YYYY-MM-DD.ndjson")
        _check_symbols(Path(source), symbols, engine)
    if "://" not in out:
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write there: {error.strerror}", where=out, hint="Use another --out") from None
    return pairs, unread


def _check_symbols(path: Path, text: Optional[str], engine: str) -> None:
    """A mistyped symbol is an error that lists those there are, and not an empty table."""
    wanted = _symbols(text)
    if wanted is None:
        return
    known = Archive(path, engine=engine).symbols
    try:
        for symbol in sorted(wanted):
            symbol_among(symbol, known, "--symbols")
    except DataMissing as error:
        raise UsageError(error.what, where=error.where, hint=error.hint) from None


def _total(source: str, readings: int = 1) -> Optional[int]:
    """Bytes that will be read; None where asking would mean to list a bucket."""
    if "://" in source:
        return None
    return readings * sum(content_size(file) for file in open_archive(Path(source)).files())


@contextmanager
def _progress(out: str, total: Optional[int]) -> Iterator[Callable[[int], None]]:
    """A bar; Ctrl+C and SIGTERM stop the export where nothing is half done, and so does a full disk."""
    try:
        with progress("exporting", total) as on_bytes, stoppable(on_bytes) as step:
            yield step
    except KeyboardInterrupt:
        print_error("kraken-l3: interrupted. The same command goes on from here.")
        raise
    except OSError as error:
        hint = "The same command goes on from here, once there is room"
        raise LocalFault(f"cannot write: {error.strerror or error}", where=out, hint=hint) from error


def _export_table(
    source: str,
    out: str,
    wanted: ExportTable,
    symbols: Optional[str],
    jobs: Optional[int],
    cluster: Optional[str],
    instruments: Optional[Path],
    engine: str,
    as_json: bool,
) -> int:
    from kraken_l3.export.bulk import export_table

    pairs, unread = _begin(source, out, symbols, instruments, engine)
    total = _total(source)
    # A cluster is waited for without steps: there, and here where nothing is written, a signal may stop at once.
    with progress("exporting", total) if cluster is not None else _progress(out, total) as step:
        result = export_table(
            source,
            out,
            wanted,
            jobs=jobs or (1 if cluster is not None else default_jobs(total or 0, least_bytes=_LEAST_BYTES_A_JOB)),
            cluster=cluster,
            engine=engine,
            instruments=pairs,
            progress=step,
        )
    exit_code = result.exit_code() or (DataMissing.exit_code if unread else 0)
    if as_json:
        return print_result({"out": out, **dataclasses.asdict(result)}, exit_code)
    _print_result(out, wanted, result)
    return exit_code


def _print_result(out: str, wanted: ExportTable, result: ExportResult) -> None:
    screen = Screen()
    table = Table("symbol", "date", ">rows", ">left out", ">suspect", ">size")
    for file in result.files[:_SHOWN_FILES]:
        counts = (number(file.rows or 0), number(file.left_out), number(file.suspect), size(file.bytes))
        table.add(file.symbol, file.date or "", *counts, style="red" if file.suspect else "")
    screen.table(table)
    if len(result.files) > _SHOWN_FILES:
        screen.line(f"... {len(result.files) - _SHOWN_FILES:,} more files; --json lists them")
    if wanted.name == "snapshots" and result.files and "://" not in out:
        _print_rows(screen, Path(out) / result.files[0].name)
    before = f" ({result.already_there:,} made before)" if result.already_there else ""
    first = f", the first is {result.files[0].name}" if result.files else ""
    rows = sum(file.rows or 0 for file in result.files)
    screen.line(f"{rows:,} rows in {len(result.files):,} files{before} under {out}{first}")
    for text in _hidden(result):
        screen.line(text, "red")
    screen.line(_counts(result))


def _hidden(result: ExportResult) -> list[str]:
    return [f"Unreadable from here to the end of the file: {each}" for each in result.hidden]


def _counts(result: ExportResult) -> str:
    return (
        f"{result.messages:,} messages: {result.ok:,} verified, {result.bad:,} bad, {result.unverified:,} unverifiable"
    )


def _print_rows(screen: Screen, path: Path) -> None:
    """The first rows of a file of snapshots."""
    import pyarrow.parquet as pq

    batch = next(pq.ParquetFile(path).iter_batches(_SHOWN_ROWS, columns=list(_COLUMNS)), None)
    if batch is None:
        return
    names = batch.schema.names
    table = Table(*names, title=f"First rows of {path}")
    for row in zip(*(batch.column(name) for name in names)):
        table.add(*(_cell(value, name) for name, value in zip(names, row)))
    screen.table(table)


_COLUMNS = ("timestamp", "bid_prices", "bid_qtys", "ask_prices", "ask_qtys")


def _cell(scalar: Any, name: str) -> str:
    if name == "timestamp" and not scalar.is_valid:
        return "unknown"
    if name == "timestamp":
        # as a datetime it would lose digits, or need pandas; the day is in the title
        return format_rfc3339(scalar.value)[11:-1].rstrip("0").rstrip(".")
    values = [f"{value:.10g}" if name.endswith("prices") else f"{value:.6g}" for value in scalar.as_py()[:1]]
    return "[" + ", ".join(values + ["..."] * (len(scalar) > 1)) + "]"
