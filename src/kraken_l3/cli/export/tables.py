"""`kraken-l3 export snapshots`, `events`, `orders`, `features`, `trades`: verified data as Parquet tables."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from kraken_l3.api.arguments import bar_ns, span_ns
from kraken_l3.cli.console import Screen, Table, number, size
from kraken_l3.cli.export.request import ExportRequest, counts_text, export_command, hidden_texts
from kraken_l3.cli.json_output import print_result
from kraken_l3.errors import DataMissing
from kraken_l3.model.timestamps import format_rfc3339

if TYPE_CHECKING:
    from kraken_l3.export.result import ExportResult
    from kraken_l3.export.table import Table as ExportTable

__all__ = ["events", "features", "orders", "snapshots", "trades"]

_SHOWN_FILES = 12
_SHOWN_ROWS = 5


@export_command
def snapshots(request: ExportRequest, every: str, levels: int, wide: bool, keep_gaps: bool) -> int:
    """Run `kraken-l3 export snapshots`; gives its exit code back."""
    from kraken_l3.export.snapshots import SnapshotsTable

    return _export_table(request, SnapshotsTable(levels, span_ns(every), wide, keep_gaps, request.symbols))


@export_command
def events(request: ExportRequest) -> int:
    """Run `kraken-l3 export events`; gives its exit code back."""
    from kraken_l3.export.events import EventsTable

    return _export_table(request, EventsTable(request.symbols))


@export_command
def orders(request: ExportRequest) -> int:
    """Run `kraken-l3 export orders`; gives its exit code back."""
    from kraken_l3.export.bulk import export_orders

    return _export(request, "orders", partial(export_orders, request.source, request.out, request.symbols))


@export_command
def features(request: ExportRequest, every: str) -> int:
    """Run `kraken-l3 export features`; gives its exit code back."""
    from kraken_l3.export.features import FeaturesTable

    return _export_table(request, FeaturesTable(bar_ns(every), request.symbols))


@export_command
def trades(request: ExportRequest) -> int:
    """Run `kraken-l3 export trades`; gives its exit code back."""
    from kraken_l3.export.trades import export_trades

    request.begin()
    with request.progress(None) as step:
        result = export_trades(
            request.source,
            request.out,
            request.symbols,
            jobs=request.jobs_for(None),
            windows=request.windows,
            progress=step,
        )
    if request.as_json:
        return print_result({"out": request.out, **dataclasses.asdict(result)}, result.exit_code())
    screen = Screen()
    _print_files(screen, request.out, result)
    for text in hidden_texts(result):
        screen.line(text, "red")
    if not result.files and not result.hidden:
        screen.line("No trades were recorded there (`kraken-l3 record --trades` records them)", "yellow")
    if result.unverified:
        screen.line(f"{result.unverified:,} trades or messages could not be read", "red")
    return result.exit_code()


def _export_table(request: ExportRequest, wanted: ExportTable) -> int:
    from kraken_l3.export.bulk import export_table

    return _export(request, wanted.name, partial(export_table, request.source, request.out, wanted))


def _export(request: ExportRequest, name: str, export: Callable[..., ExportResult]) -> int:
    unread = request.begin()
    total = request.total()
    with request.progress(total) as step:
        result = export(
            jobs=request.jobs_for(total),
            cluster=request.cluster,
            windows=request.windows,
            engine=request.engine,
            instruments=request.instruments,
            progress=step,
        )
    exit_code = result.exit_code() or (DataMissing.exit_code if unread else 0)
    if request.as_json:
        return print_result({"out": request.out, **dataclasses.asdict(result)}, exit_code)
    _print_result(request.out, name, result)
    return exit_code


def _print_result(out: str, name: str, result: ExportResult) -> None:
    screen = Screen()
    shown = Path(out) / result.files[0].name if name == "snapshots" and result.files else None
    _print_files(screen, out, result, shown if "://" not in out else None)
    for text in hidden_texts(result):
        screen.line(text, "red")
    screen.line(counts_text(result))


def _print_files(screen: Screen, out: str, result: ExportResult, shown: Optional[Path] = None) -> None:
    """What was written; of the file `shown` the first rows too."""
    table = Table("symbol", "date", ">rows", ">left out", ">suspect", ">size")
    for file in result.files[:_SHOWN_FILES]:
        counts = (number(file.rows or 0), number(file.left_out), number(file.suspect), size(file.bytes))
        table.add(file.symbol, file.date or "", *counts, style="red" if file.suspect else "")
    screen.table(table)
    if len(result.files) > _SHOWN_FILES:
        screen.line(f"... {len(result.files) - _SHOWN_FILES:,} more files; --json lists them")
    if shown is not None:
        _print_rows(screen, shown)
    before = f" ({result.already_there:,} made before)" if result.already_there else ""
    first = f", the first is {result.files[0].name}" if result.files else ""
    rows = sum(file.rows or 0 for file in result.files)
    screen.line(f"{rows:,} rows in {len(result.files):,} files{before} under {out}{first}")


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
