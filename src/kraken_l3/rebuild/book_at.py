"""The book of one symbol as of a moment or a line, from the nearest checkpoint before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Union

from kraken_l3.archive.checkpoints import Checkpoint, checkpoints_of, latest_heads, read_checkpoint
from kraken_l3.archive.datafile import BEGINNING, DataFile, Position
from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, SymbolTally
from kraken_l3.errors import DamageFound, DataMissing, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.checkpointing import load_checkpoint
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import FileBegin, Place, Step, play, reached_by

__all__ = ["BookAt", "book_at", "latest_checkpoints"]


@dataclass(frozen=True)
class BookAt:
    """A book with where it comes from.

    Attributes:
        image: the book.
        tally: of the lines that were read for it (`state` says whether it agrees with Kraken's checksums).
        file: the file that holds the last line.
        line: lines of that file that are in the book.
        recv_ns: when the last of them was received, or None when nothing tells.
        gap: the cause of the gap in which the moment lies: then the book is what was known before it.
    """

    image: BookImage
    tally: SymbolTally
    file: str
    line: int
    recv_ns: Optional[int]
    gap: str = ""


def book_at(
    path: Union[Path, Archive],
    symbol: str,
    *,
    at_ns: Optional[int] = None,
    line: Optional[int] = None,
    instruments: Sequence[Instrument] = (),
    depth: Optional[int] = None,
    engine_name: str = "auto",
) -> BookAt:
    """The book after all that was received until a moment, or after `line` lines of a single file, or at the end.

    Where nothing tells the receive times, the latest of Kraken's own timestamps so far stands for them, of all pairs.

    Raises:
        DamageFound: the file cannot be read up to there, or no book is known behind one that cannot be.
        DataMissing: the symbol has no book there.
        UsageError: `line` was given for a directory.
    """
    archive = path if isinstance(path, Archive) else open_archive(path)
    if line is not None and archive.is_directory:
        raise UsageError("a line number needs a single file", hint="Give the l3-*.ndjson file instead of the directory")
    end = _find_end(archive, at_ns, line)
    metadata = metadata_in(archive, instruments, {symbol: depth} if depth is not None else None)
    engine, begin, reached = _begin(archive, symbol, end, engine_name)
    damage: list[DamageFound] = []
    damaged_files = 0
    for played in play(engine, archive, metadata, begin=begin, end=end.place, on_damage=damage.append):
        reached = reached_by(played) or reached
        if isinstance(played, FileBegin):
            damaged_files = len(damage)
        elif isinstance(played, Step) and end.until_ns is not None:
            data = played.block.data
            if played.result.lines < data.count(b"\n") + (data[-1:] != b"\n"):
                break
    image = engine.export_book(symbol)
    # Behind damage the next file begins with books of its own; in the last file there is no book of the moment.
    if len(damage) > damaged_files or (damage and image is None):
        raise damage[-1]
    tally = next((t for t in engine.tallies() if t.symbol == symbol), None)
    if image is None or tally is None:
        where = f"{reached.path}, line {reached.position.line}"
        raise DataMissing(f"there is no book of {symbol} there", where=where, hint=_hint(tally))
    cause = ""
    if at_ns is not None:
        gaps = gaps_in(archive, channel=Stream.LEVEL3, symbols=[symbol])
        cause = next((gap.cause for gap in gaps if gap.holds(at_ns)), "")
    return BookAt(image, tally, reached.path.name, reached.position.line, _received(reached), cause)


def _hint(tally: Optional[SymbolTally]) -> str:
    if tally is None or not tally.messages:
        return "It has no message up to there; `kraken-l3 info` lists the recorded symbols"
    return "Its messages up to there wait for a snapshot"


def _received(end: Place) -> Optional[int]:
    with DataFile(end.path) as file:
        if file.receipts is None or not end.position.line:
            return None
        return file.receipts[end.position.line - 1].recv_ns


class _End(NamedTuple):
    """Where to end.

    Attributes:
        file: the last file that is played.
        place: before its line; None: at the end of the archive.
        until_ns: before the first message, of any pair, that Kraken made later. All pairs share the clock of their
            file, which never falls: exported rows stand on the same one.
    """

    file: Path
    place: Optional[Place] = None
    until_ns: Optional[int] = None


def _find_end(archive: Archive, at_ns: Optional[int], line: Optional[int]) -> _End:
    files = archive.files()
    if not files:
        raise DataMissing("there is no level3 data", where=str(archive.path))
    for path in reversed(files):
        if at_ns is None and line is None:
            return _End(path)
        with DataFile(path) as file:
            if line is not None:
                return _End(path, Place(path, file.at_line(line)))
            assert at_ns is not None
            if file.receipts is None:
                return _End(path, Place(path, Position(1 << 62, 1 << 62)), at_ns)
            position = file.at_time(at_ns + 1)
            if position.line or path == files[0]:
                return _End(path, Place(path, position))
    raise AssertionError("the first file always ends the loop")


def _begin(archive: Archive, symbol: str, end: _End, engine_name: str) -> tuple[Engine, Optional[Place], Place]:
    """An engine, where it begins, and what it has reached then.

    It begins with the nearest checkpoint, also of days before as long as they follow one another.
    """
    files = archive.files()
    if end.until_ns is not None:
        return make_engine(EngineOptions(until_ns=end.until_ns), engine_name), None, Place(files[0], BEGINNING)
    options = EngineOptions(only=frozenset([symbol]))
    for path in reversed(files[: files.index(end.file) + 1]):
        last_line = end.place.position.line if end.place is not None and path == end.file else None
        for place, checkpoint in latest_checkpoints(path, symbol, last_line):
            engine = make_engine(options, engine_name)
            if load_checkpoint(engine, checkpoint):
                return engine, place, place
    return make_engine(options, engine_name), None, end.place or Place(files[0], BEGINNING)


def latest_checkpoints(path: Path, symbol: str, last_line: Optional[int]) -> Iterator[tuple[Place, Checkpoint]]:
    """A symbol's books in one file up to a line (None: its end), with their places, the last one first."""
    with DataFile(path) as file:
        if file.day is None or file.part:
            return
        companion = checkpoints_of(path)
        for head in latest_heads(companion, last_line):
            if head.symbol != symbol or head.reason:
                continue
            if file.receipts is not None and file.receipts.start_of(head.line) != head.end_offset:
                continue  # it lies, or the receipts do
            checkpoint = read_checkpoint(companion, head)
            if checkpoint is not None and checkpoint.snapshot is not None:
                yield Place(path, Position(head.line, head.end_offset)), checkpoint
