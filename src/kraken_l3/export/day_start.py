"""The books that a day begins with, or a window within it, as events, so that each day's files can be read alone.

They are `clear` and `snapshot` rows like those of Kraken's own snapshots, at midnight, which no line brought: theirs is
`NO_LINE`. A symbol whose book is not known at midnight has none: it has no book yet, or midnight lies in a gap. Nor has
a file without receipts, since nothing tells where its midnight is. So it is with the first moment of a window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kraken_l3.archive.datafile import Block
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import Engine, EngineOptions
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import RecordBuilder, Records
from kraken_l3.export.schema import MAYBE_BAD_BOOK
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.playback import FileBegin, Step

__all__ = ["NO_LINE", "begins_known_day", "begins_with_day", "books_at_begin"]

NO_LINE = -1


def begins_known_day(begin: FileBegin) -> bool:
    """Whether a file is the first of its day, and its receipts tell when."""
    return begin.day is not None and not begin.file.part and begin.file.receipts is not None


def begins_with_day(begin: FileBegin, window: Window) -> bool:
    """Whether midnight is in the window too, and not only some later part of the day."""
    return begin.day is None or window.within(begin.day).start_ns == 0


def books_at_begin(
    begin: FileBegin, engine: Engine, builder: RecordBuilder, gaps: GapRows, window: Window = EVERYTHING
) -> Iterator[tuple[str, Records]]:
    """Each symbol that has a book with its rows, which `builder` could have made of a snapshot: at midnight, or where a
    window begins.
    """
    if begin.day is None or not begins_known_day(begin):
        return
    at_ns = max(day_start_ns(begin.day), window.start_ns)
    builder.look()
    for tally in engine.tallies():
        image = engine.export_book(tally.symbol)
        if image is None or gaps.over(tally.symbol, np.array([at_ns])).any():
            continue
        # An engine of its own reads the image as a message: the rows are what an engine makes of a snapshot.
        reader = make_engine(EngineOptions(messages=True, events=True), engine.name)
        price_precision, qty_precision, depth = tally.parameters()
        reader.set_symbol(tally.symbol, price_precision=price_precision, qty_precision=qty_precision, depth=depth)
        result = reader.feed(image.message + b"\n", 0, 0)
        step = Step(begin.path, begin.day, Block(image.message, 0, 0, begin.file), result)
        for symbol, records in RecordBuilder(reader, overflow_ids=builder.overflow_ids).build(step).events():
            records["line"], records["ts_recv"], records["ts_event"] = NO_LINE, at_ns, 0
            if builder.is_suspect(symbol):
                records["flags"] |= MAYBE_BAD_BOOK
            yield symbol, records
