"""A report as files: HTML, JSON and Parquet, each there whole or not at all."""

from __future__ import annotations

import io

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from kraken_l3.export.storage import open_store, write_file
from kraken_l3.report.figures import DayReport, SymbolFigures
from kraken_l3.report.page import html_of
from kraken_l3.report.reading import Day

__all__ = ["write_report"]

_QUANTILES = pa.struct([(name, pa.float64()) for name in ("p50", "p90", "p99", "p999")])
_WORDS = ("symbol", "grade")
_COUNTS = ["gaps", "messages", "mismatched", "busiest_minute", "early", "added", "reentered", "filled", "cancelled"]
_DISTRIBUTIONS = ("lag_ms", "filled_life_s", "cancelled_life_s", "order_size")


def write_report(day: Day, place: str) -> list[str]:
    """Write `report-DAY.html`, `.json` and `.parquet` (a row for each symbol) and say where they are.

    Args:
        day: see `report_day`.
        place: a directory, or a URL that fsspec knows.

    Raises:
        LocalFault: a file cannot be written.
    """
    store = open_store(place)
    name = f"report-{day.report.day}"
    contents = {
        f"{name}.html": html_of(day).encode(),
        f"{name}.json": msgspec.json.format(msgspec.json.encode(day.report), indent=1) + b"\n",
        f"{name}.parquet": _parquet(day.report),
    }
    return [write_file(store, name, content) for name, content in contents.items()]


def _parquet(report: DayReport) -> bytes:
    rows = [{"day": report.day, **msgspec.to_builtins(each)} for each in report.symbols]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), file)
    return file.getvalue()


def _schema() -> pa.Schema:
    kinds = dict.fromkeys(SymbolFigures.__struct_fields__, pa.float64())
    kinds.update(dict.fromkeys(_WORDS, pa.string()))
    kinds.update(dict.fromkeys(_COUNTS, pa.int64()))
    kinds.update(dict.fromkeys(_DISTRIBUTIONS, _QUANTILES))
    return pa.schema([("day", pa.date32()), *kinds.items()])
