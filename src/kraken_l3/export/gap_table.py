"""The table `gaps`: every gap of an archive in one small file, beside all other tables."""

from __future__ import annotations

import pyarrow as pa

from kraken_l3.archive.gaps import gaps_in, gaps_within, last_receive_ns
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.export.naming import printable
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.schema import TIME, WORD
from kraken_l3.export.storage import Store

__all__ = ["GAPS", "gap_table", "write_gaps"]

GAPS_VERSION = "1"

GAPS = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("channel", WORD, nullable=False),
        pa.field("cause", WORD, nullable=False),
        pa.field("ts_left", TIME, nullable=False),
        pa.field("ts_right", TIME),
    ]
)


def write_gaps(archive: Archive, store: Store) -> None:
    """Write it, of all pairs and days: so it is the same whatever else was asked for. No journal, no file."""
    if not any(DayPaths(archive.directory, day).journal.exists() for day in archive.days):
        return
    output = ParquetOutput(store.begin("gaps/part-0.parquet"), GAPS, {"table": "gaps", "schema_version": GAPS_VERSION})
    try:
        output.write(gap_table(archive))
        output.publish()
    except BaseException:
        output.abandon()
        raise


def gap_table(archive: Archive) -> pa.Table:
    """A row a gap, oldest first; `ts_right` is null while it is open."""
    gaps = [
        gap
        for stream in Stream
        for gap in gaps_within(gaps_in(archive, channel=stream), last_receive_ns(archive, stream))
    ]
    gaps.sort(key=lambda gap: (gap.left_ns, gap.channel, gap.symbol))
    columns = {
        "symbol": [printable(gap.symbol) for gap in gaps],
        "channel": [gap.channel for gap in gaps],
        "cause": [gap.cause for gap in gaps],
        "ts_left": [gap.left_ns for gap in gaps],
        "ts_right": [gap.right_ns for gap in gaps],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in GAPS], GAPS)
