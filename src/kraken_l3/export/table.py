"""What every table has: the port between the code that reads archives and writes files, and the tables there are
(`events.EventsTable`, `snapshots.SnapshotsTable`, `features.FeaturesTable`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Protocol

import pyarrow as pa

from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine, EngineOptions
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import RecordBuilder, Records, ResultRecords
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["SymbolDay", "Table", "records_in"]


class SymbolDay(Protocol):
    """One symbol's rows of one UTC day on their way from records to Arrow.

    Attributes:
        left_out: rows over gaps that were left out so far.
        suspect: kept rows so far whose book may be wrong.
    """

    left_out: int
    suspect: int

    def keep(self, records: Records) -> Records:
        """Count records, and mark or leave out those over a gap."""

    def to_arrow(self, records: Records, overflow_ids: Sequence[str]) -> pa.Table:
        """Rows of the table's schema. `overflow_ids` are those of the `RecordBuilder` that made the records."""


class Table(Protocol):
    """A kind of table, and what was asked of it."""

    @property
    def name(self) -> str:
        """As in the command and in paths: "events"."""

    @property
    def symbols(self) -> Optional[frozenset[str]]:
        """The symbols wanted; None for all."""

    @property
    def grid_ns(self) -> Optional[int]:
        """Spacing of rows that stand on a grid of time; None where changes make the rows."""

    @property
    def has_day_starts(self) -> bool:
        """Whether a day's rows begin with the books at midnight (`day_start`)."""

    @property
    def schema(self) -> pa.Schema:
        """Of the Arrow table."""

    @property
    def dtype(self) -> Any:
        """Of the records that the rows are made of."""

    def description(self) -> dict[str, str]:
        """For the metadata of the table's files: name, schema version, and what was asked for."""

    def options(self) -> dict[str, Any]:
        """Everything that was asked for, as JSON can hold it."""

    @property
    def has_bars(self) -> bool:
        """Whether a row tells of the time before it: then a row at midnight belongs to the day that ends there."""

    def engine_options(self, part: tuple[int, int] = (0, 1), metadata: Sequence[SymbolMetadata] = ()) -> EngineOptions:
        """For the engine whose results the records are made of.

        Args:
            part: (k, n) takes a share of the symbols.
            metadata: what is told of the symbols (see `metadata.metadata_in`).
        """

    def builder(self, engine: Engine) -> RecordBuilder:
        """Makes the records of an engine's results."""

    def records(self, results: ResultRecords) -> Iterator[tuple[str, Records]]:
        """Each symbol with its records of one result, in the order of time."""

    def times(self, records: Records) -> Records:
        """When each record happened, in nanoseconds since 1970 UTC."""

    def day(self, archive: Archive, day: Optional[dt.date], gaps: GapRows) -> Callable[[str], SymbolDay]:
        """Makes each symbol's `SymbolDay`, with what the archive says of that day beside its lines.

        `gaps` are those that the playback has reached; it gains more as the playback goes on.
        """

    def depends_on(self, archive: Archive, day: dt.date, before_ns: int) -> list[Any]:
        """What the rows of a day before a moment depend on besides lines, receipts and checkpoints; for JSON."""


def records_in(window: Window, table: Table, records: Records) -> Records:
    """The records of a table that are in a window."""
    if window == EVERYTHING or not len(records):
        return records
    times = table.times(records)
    # what leads up to a window may begin within a bar, whose sums are not complete then
    wanted = (records["timestamp"] - table.grid_ns if table.has_bars else times) >= window.start_ns
    if window.end_ns is not None:
        wanted &= times < window.end_ns
    return records if wanted.all() else records[wanted]
