"""Feeds an archive to an engine: days in order, facts at their moment, books of checkpoints where a day begins without
its own.

What is fed is cut where a fact changes, so that the engine knows it from the right line on. A symbol's first facts are
told before its first line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.checkpoints import Checkpoint, read_checkpoints
from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES, Block, DataFile, Position
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import BookImage, Engine, Result
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["Place", "Step", "load_checkpoint", "make_known", "recv_times", "walk"]


class Place(NamedTuple):
    """The beginning of a line in one of an archive's files."""

    path: Path
    position: Position


class Step(NamedTuple):
    """One feed: what was fed and what came of it."""

    path: Path
    block: Block
    result: Result


def make_known(engine: Engine, facts: Sequence[SymbolMetadata]) -> list[SymbolMetadata]:
    """Tell the engine each symbol's first fact of each kind; the changes that come later are given back."""
    later: list[SymbolMetadata] = []
    told: dict[str, SymbolMetadata] = {}
    for fact in facts:
        first = told.get(fact.symbol)
        contradicts = first is not None and any(old is not None and old != new for old, new in zip(first[2:], fact[2:]))
        if contradicts:
            later.append(fact)
        else:
            told[fact.symbol] = fact
            tell(engine, fact)
    return later


def tell(engine: Engine, fact: SymbolMetadata) -> None:
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


def walk(
    engine: Engine,
    archive: Archive,
    facts: Sequence[SymbolMetadata],
    *,
    times: bool = False,
    begin: Optional[Place] = None,
    end: Optional[Place] = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Step]:
    """Feed the level3 data of an archive.

    Args:
        engine: a new one.
        archive: what to feed.
        facts: see `facts.metadata_in`.
        times: hand the engine the receive times too.
        begin: where to begin (the caller has loaded the books); else at the first line, with the books of checkpoints.
        end: the line before which to end.
        block_bytes: about how much to feed at a time.
    """
    later = make_known(engine, facts)
    day: Optional[dt.date] = None
    for path in _between(archive.files(), begin, end):
        with DataFile(path) as file:
            is_begin = begin is not None and path == begin.path
            if not is_begin:
                _begin_day(engine, file, day, archive.directory)
            day = file.day
            start = begin.position if begin is not None and is_begin else BEGINNING
            line = start.line
            blocks = _until(end, file.blocks(start, size=block_bytes, numbered=False))
            for block in _one_ahead(blocks):
                for piece in _cut_at_facts(engine, file, block._replace(first_line=line), later):
                    recv_ns = recv_times(file, piece) if times else None
                    result = engine.feed(piece.data, piece.first_line, piece.offset, recv_ns)
                    line += result.lines
                    yield Step(path, piece, result)


def _between(files: Sequence[Path], begin: Optional[Place], end: Optional[Place]) -> list[Path]:
    first = files.index(begin.path) if begin is not None else 0
    last = files.index(end.path) if end is not None else len(files) - 1
    return list(files[first : last + 1])


def _one_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The next block is read while the engine, which may have released the interpreter lock, is at work on this one."""
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(next, blocks, None)
        while (block := ahead.result()) is not None:
            ahead = reader.submit(next, blocks, None)
            yield block


def _until(end: Optional[Place], blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks before a place, the last one cut there."""
    for block in blocks:
        if end is None or block.file.path != end.path:
            yield block
            continue
        left = end.position.offset - block.offset
        if left > 0:
            yield block._replace(data=block.data[:left])
        if left <= len(block.data):
            return


def _begin_day(engine: Engine, file: DataFile, last_day: Optional[dt.date], directory: Path) -> None:
    """Books go on from the day before; after a missing day, or with none before, those of checkpoints do."""
    if last_day is not None and file.day is not None and (file.day - last_day).days == 1:
        return
    if last_day is not None:
        engine.invalidate()
    if file.day is None:
        return
    for checkpoint in read_checkpoints(DayPaths(directory, file.day).checkpoints):
        if checkpoint.line == 0:
            load_checkpoint(engine, checkpoint)


def load_checkpoint(engine: Engine, checkpoint: Checkpoint) -> bool:
    """Give an engine a checkpoint's book; whether there was one and it is whole."""
    message = checkpoint.snapshot
    if message is None:
        return False
    engine.set_symbol(checkpoint.symbol, depth=checkpoint.depth)
    return engine.load_book(BookImage(checkpoint.symbol, message, checkpoint.newest_ns, tuple(checkpoint.amending)))


def _cut_at_facts(engine: Engine, file: DataFile, block: Block, later: list[SymbolMetadata]) -> Iterator[Block]:
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
