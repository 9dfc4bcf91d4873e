"""Feeds an archive to an engine: days in order, facts at their moment, books of checkpoints where a day begins without
its own.

What is fed is cut where a fact changes, so that the engine knows it from the right line on. A symbol's first facts are
told before its first line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.checkpoints import Checkpoint, read_checkpoints
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import Archive, Block, DataFile
from kraken_l3.rebuild.engine import BookImage, Engine, Result
from kraken_l3.rebuild.facts import Fact

__all__ = ["Step", "image_of", "make_known", "recv_times", "walk"]


class Step(NamedTuple):
    """One feed: what was fed and what came of it."""

    path: Path
    block: Block
    result: Result


def make_known(engine: Engine, facts: Sequence[Fact]) -> list[Fact]:
    """Tell the engine each symbol's first fact of each kind; the changes that come later are given back."""
    later: list[Fact] = []
    told: dict[str, Fact] = {}
    for fact in facts:
        first = told.get(fact.symbol)
        contradicts = first is not None and any(old is not None and old != new for old, new in zip(first[2:], fact[2:]))
        if contradicts:
            later.append(fact)
        else:
            told[fact.symbol] = fact
            tell(engine, fact)
    return later


def tell(engine: Engine, fact: Fact) -> None:
    """Tell the engine one fact."""
    engine.set_symbol(
        fact.symbol, price_precision=fact.price_precision, qty_precision=fact.qty_precision, depth=fact.depth
    )


def recv_times(file: DataFile, block: Block) -> Optional[bytes]:
    """The receive time of each line of a block as an engine takes them, or None where they are not all known."""
    if file.receipts is None:
        return None
    count = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    times = file.receipts.recv_column(block.first_line, count)
    return times if len(times) == 8 * count else None


def walk(engine: Engine, archive: Archive, facts: Sequence[Fact], *, times: bool = False) -> Iterator[Step]:
    """Feed all level3 data of an archive.

    Args:
        engine: a new one.
        archive: what to feed.
        facts: see `facts.facts_in`.
        times: hand the engine the receive times too.
    """
    later = make_known(engine, facts)
    day: Optional[dt.date] = None
    for path in archive.files():
        with DataFile(path) as file:
            _begin_day(engine, file, day, archive.directory)
            day = file.day
            for block in file.blocks():
                for piece in _cut_at_facts(engine, file, block, later):
                    recv_ns = recv_times(file, piece) if times else None
                    yield Step(path, piece, engine.feed(piece.data, piece.first_line, piece.offset, recv_ns))


def _begin_day(engine: Engine, file: DataFile, last_day: Optional[dt.date], directory: Path) -> None:
    """Books go on from the day before; after a missing day, or with none before, those of checkpoints do."""
    if last_day is not None and file.day is not None and (file.day - last_day).days == 1:
        return
    if last_day is not None:
        engine.invalidate()
    if file.day is None:
        return
    for checkpoint in read_checkpoints(DayPaths(directory, file.day).checkpoints):
        if checkpoint.line == 0 and checkpoint.message:
            engine.load_book(image_of(checkpoint))


def image_of(checkpoint: Checkpoint) -> BookImage:
    """A checkpoint as an engine takes it."""
    return BookImage(
        checkpoint.symbol, bytes(checkpoint.message or b""), checkpoint.newest_ns, tuple(checkpoint.amending)
    )


def _cut_at_facts(engine: Engine, file: DataFile, block: Block, later: list[Fact]) -> Iterator[Block]:
    """The block in pieces, between which the facts that begin there are told."""
    while later and file.receipts is not None:
        line = file.receipts.line_at_time(later[0].at_ns)
        lines = block.data.count(b"\n")
        if line > block.first_line + lines:
            break
        first, block = _split(block, line - block.first_line)
        if first.data:
            yield first
        tell(engine, later.pop(0))
    if block.data:
        yield block


def _split(block: Block, lines: int) -> tuple[Block, Block]:
    at = 0
    for _ in range(max(lines, 0)):
        at = block.data.find(b"\n", at) + 1 or len(block.data)
    head = block._replace(data=block.data[:at])
    return head, block._replace(
        data=block.data[at:], first_line=block.first_line + max(lines, 0), offset=block.offset + at
    )
