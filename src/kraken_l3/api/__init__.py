"""The Python API: an archive opened for research.

    import kraken_l3

    archive = kraken_l3.open("data")
    archive.symbols                                           # ["BTC/USD", "ETH/USD"]
    archive.book("BTC/USD", at="2026-11-22T14:30:00Z")        # every order, exact
    archive.events("BTC/USD").read_all()                      # an Arrow table
    polars.from_arrow(archive.snapshots("BTC/USD", every="1s", levels=10))

A moment is an RFC 3339 text, a date or datetime (naive: UTC), a `numpy.datetime64`, or integer nanoseconds since
1970 UTC, on the receive clock. An integer that would lie before 2000 is refused, since it is a time in seconds or
milliseconds.

`events` and `snapshots` are `pyarrow.RecordBatchReader`s: they are read as they are used, in bounded memory, and
polars, pandas and DuckDB take them by the Arrow PyCapsule interface. A reader is read once.
"""

from kraken_l3.api.archive import Archive, open_for_research
from kraken_l3.api.arguments import Moment
from kraken_l3.api.books import Book, BookLevel, BookOrder, Ladder
from kraken_l3.api.simulation import simulate

__all__ = ["Archive", "Book", "BookLevel", "BookOrder", "Ladder", "Moment", "open_for_research", "simulate"]
