"""The Python API: an archive opened for research.

    import kraken_l3

    archive = kraken_l3.open("data")
    archive.symbols                                           # ["BTC/USD", "ETH/USD"]
    archive.coverage()                                        # how much of each day was recorded and verified
    archive.gaps("BTC/USD")                                   # what is missing, and why
    book = archive.book("BTC/USD", at="2026-11-22T14:30:00Z")  # every order, exact
    book.mid, book.spread, book.order("OQCLML-BW3P3-BUCMWZ").qty_ahead
    archive.events("BTC/USD").to_polars()                     # or to_pandas(), read_all(), scan()
    archive.orders("BTC/USD").scan()                          # the life of each order
    archive.trades("BTC/USD").to_pandas()
    archive.features("BTC/USD", every="1s")                   # spread, depth, order flow, trades, ...
    archive.snapshots("BTC/USD", every="1s", levels=10).scan()

A moment is an RFC 3339 text, a date or datetime (naive: UTC), a time stamp of pandas, polars, numpy or pyarrow, or
integer nanoseconds since 1970 UTC, on the receive clock. An integer that lies before the year 2000 is refused: it is
probably in seconds or milliseconds.

`events`, `orders`, `trades`, `features` and `snapshots` return a `Table`. Nothing is read until it is used, and each
use reads it anew, in bounded memory. `scan()` gives a polars LazyFrame; polars, DuckDB and pyarrow take a table as it
is (the Arrow PyCapsule interface). `polars.scan_parquet("tables/events", hive_partitioning=True)` scans exported files.
Each row names its pair in `symbol`. `decimals` and `doubles` turn scaled integers into prices and quantities:

    kraken_l3.decimals(archive.events("BTC/USD"))             # exact
    kraken_l3.doubles(archive.events("BTC/USD")).to_pandas()

A notebook shows a book as a ladder, an archive as a bar of its coverage, a table by its first rows, and a progress bar
during long reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kraken_l3.api.archive import Archive, open_for_research
from kraken_l3.api.arguments import Moment
from kraken_l3.api.books import Book, BookLevel, BookOrder, Ladder, PlacedOrder
from kraken_l3.api.coverage import DayCoverage, Gap
from kraken_l3.api.numbers import decimals, doubles, pandas_types
from kraken_l3.api.tables import Rows, Table

if TYPE_CHECKING:
    from kraken_l3.api.replays import RunningReplay, replay
    from kraken_l3.api.simulation import simulate

__all__ = [
    "Archive",
    "Book",
    "BookLevel",
    "BookOrder",
    "DayCoverage",
    "Gap",
    "Ladder",
    "Moment",
    "PlacedOrder",
    "Rows",
    "RunningReplay",
    "Table",
    "decimals",
    "doubles",
    "open_for_research",
    "pandas_types",
    "replay",
    "simulate",
]

#: Servers and made-up trading, which no reader of an archive needs, by the modules that have them.
_LAZY = {"RunningReplay": "replays", "replay": "replays", "simulate": "simulation"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
