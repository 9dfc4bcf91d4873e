"""Where an archive can be divided by time, so that several engines go through it at once (`parts`).

A *cut* is a line at which every symbol that had a book so far has a checkpoint with a book, of exactly that line, and
the symbol's precisions and depth were told. What lies between two cuts is a *part*. How an archive is divided depends
on nothing but itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from operator import attrgetter
from typing import NamedTuple, Optional

from kraken_l3.archive.checkpoints import CheckpointHead, read_heads
from kraken_l3.archive.datafile import DataFile, Position
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import DamageFound
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import Place, follows_in

__all__ = ["Cut", "Part", "divide"]

#: A part is about a twenty-fourth of the data within these bounds, and so much larger than its first books that
#: loading and comparing them costs little.
_PARTS = 24
_LEAST_PART_BYTES = 4 * 1024 * 1024
_MOST_PART_BYTES = 64 * 1024 * 1024
_TIMES_ITS_BOOKS = 100


class Cut(NamedTuple):
    """A line at which an engine can begin, and the checkpoints that it begins with."""

    place: Place
    heads: tuple[CheckpointHead, ...]


class Part(NamedTuple):
    """A stretch of an archive: from a cut (None: its first line) to a place (None: its end)."""

    begin: Optional[Cut] = None
    end: Optional[Place] = None


def divide(
    archive: Archive, metadata: Iterable[SymbolMetadata] = (), *, part_bytes: Optional[int] = None
) -> list[Part]:
    """The parts of an archive, in order; one where nothing says where to cut.

    Args:
        archive: is divided the same way whatever is done with it.
        metadata: see `metadata.metadata_in`.
        part_bytes: how large a part is at least.
    """
    cuts = list(_cuts_in(archive, metadata))
    if not cuts:
        return [Part()]
    sizes = {path: content_size(path) for path in archive.files()}
    begins = dict(zip(sizes, accumulate(sizes.values(), initial=0)))
    total = sum(sizes.values())
    wanted = min(max(total // _PARTS, _LEAST_PART_BYTES), _MOST_PART_BYTES)
    chosen: list[Cut] = []
    last = 0
    for cut in cuts:
        path, position = cut.place
        if position.offset >= sizes[path]:
            continue  # the next file's beginning is a better place
        at = begins[path] + position.offset
        books = sum(head.length for head in cut.heads)
        least = part_bytes if part_bytes is not None else max(wanted, _TIMES_ITS_BOOKS * books)
        if at - last >= least and total - at >= least // 2 and _begins_line(cut.place):
            chosen.append(cut)
            last = at
    return [Part(begin, end and end.place) for begin, end in zip([None, *chosen], [*chosen, None])]


def _cuts_in(archive: Archive, metadata: Iterable[SymbolMetadata]) -> Iterator[Cut]:
    told: dict[str, set[str]] = {}
    for each in metadata:
        values = {"price": each.price_precision, "qty": each.qty_precision, "depth": each.depth}
        told.setdefault(each.symbol, set()).update(name for name, value in values.items() if value is not None)
    complete = {symbol for symbol, names in told.items() if len(names) == 3}
    had_book: set[str] = set()
    for path in archive.files():
        with DataFile(path) as file:
            if file.day is None or file.part or file.receipts is None:
                continue
            heads = sorted(read_heads(DayPaths(path.parent, file.day).checkpoints), key=attrgetter("line"))
            for line, group in groupby(heads, key=attrgetter("line")):
                # the last record of a symbol counts; one without a book is none
                latest = {head.symbol: head for head in group}
                books = [head for head in latest.values() if not head.reason]
                had_book.update(head.symbol for head in books)
                if not books or len(books) < len(had_book) or not had_book <= complete:
                    continue
                place = Place(path, Position(line, file.receipts.start_of(line)))
                if any(head.end_offset != place.position.offset for head in books):
                    continue
                if line or follows_in(archive, path):
                    yield Cut(place, tuple(books))


def _begins_line(place: Place) -> bool:
    offset = place.position.offset
    with DataFile(place.path) as file, contextlib.suppress(DamageFound):
        return offset == 0 or file.source.read_at(offset - 1, 1) == b"\n"
    return False
