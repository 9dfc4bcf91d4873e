"""The book of one symbol as of a moment or a line, from the nearest checkpoint before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from kraken_l3.archive.checkpoints import Checkpoint, read_checkpoints
from kraken_l3.archive.datafile import BEGINNING, DataFile, Position
from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, EngineOptions, SymbolTally
from kraken_l3.errors import DamageFound, DataMissing, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.checkpointing import load_checkpoint
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import FileBegin, Place, Step, play

__all__ = ["BookAt", "book_at"]


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
    path: Path,
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
    archive = open_archive(path)
    if line is not None and archive.is_directory:
        raise UsageError("a line number needs a single file", hint="Give the l3-*.ndjson file instead of the directory")
    end = _find_end(archive, symbol, at_ns, line)
    begin, checkpoint = _find_begin(archive, symbol, end)
    engine = make_engine(EngineOptions(only=frozenset([symbol])), engine_name)
    if checkpoint is not None and not load_checkpoint(engine, checkpoint):
        begin = None
    damage: list[DamageFound] = []
    damaged_files = 0
    for played in play(
        engine,
        archive,
        metadata_in(archive, instruments, {symbol: depth} if depth is not None else None),
        begin=begin,
        end=end,
        on_damage=damage.append,
    ):
        if isinstance(played, FileBegin):
            damaged_files = len(damage)
    image = engine.export_book(symbol)
    # Behind damage the next file begins with books of its own; in the last file there is no book of the moment.
    if len(damage) > damaged_files or (damage and image is None):
        raise damage[-1]
    tally = next((t for t in engine.tallies() if t.symbol == symbol), None)
    if image is None or tally is None:
        raise DataMissing(
            f"there is no book of {symbol} there", where=f"{end.path}, line {end.position.line}", hint=_hint(tally)
        )
    cause = ""
    if at_ns is not None:
        gaps = gaps_in(archive, channel=Stream.LEVEL3, symbols=[symbol])
        cause = next((gap.cause for gap in gaps if gap.holds(at_ns)), "")
    return BookAt(image, tally, end.path.name, end.position.line, _received(end), cause)


def _hint(tally: Optional[SymbolTally]) -> str:
    if tally is None or not tally.messages:
        return "It has no message up to there; `kraken-l3 info` lists the recorded symbols"
    return "Its messages up to there wait for a snapshot"


def _received(end: Place) -> Optional[int]:
    with DataFile(end.path) as file:
        if file.receipts is None or not end.position.line:
            return None
        return file.receipts[end.position.line - 1].recv_ns


def _find_end(archive: Archive, symbol: str, at_ns: Optional[int], line: Optional[int]) -> Place:
    files = archive.files()
    if not files:
        raise DataMissing("there is no level3 data", where=str(archive.path))
    for path in reversed(files):
        with DataFile(path) as file:
            if at_ns is None:
                return Place(path, file.at_line(line if line is not None else 1 << 62))
            if file.receipts is None:
                return _end_by_timestamps(archive, path, at_ns)
            position = file.at_time(at_ns + 1)
            if position.line or path == files[0]:
                return Place(path, position)
    raise AssertionError("the first file always ends the loop")


def _end_by_timestamps(archive: Archive, last: Path, at_ns: int) -> Place:
    """The line of the first message, of any pair, that Kraken made later; the end of the last file when there is none.

    All pairs share the clock of their file, which never falls: exported rows stand on the same one.
    """
    engine = make_engine(EngineOptions(messages=True))
    place = Place(last, BEGINNING)
    for step in play(engine, archive, (), end=Place(last, Position(1 << 62, 1 << 62))):
        if not isinstance(step, Step):
            continue
        times = memoryview(step.result.messages["msg_ns"]).cast("q")
        lines = memoryview(step.result.messages["line"]).cast("q")
        late = next((number for number, ns in zip(lines, times) if ns > at_ns), None)
        if late is not None:
            with DataFile(step.path) as file:
                return Place(step.path, file.at_line(late))
        end = Position(step.block.first_line + step.result.lines, step.block.offset + len(step.block.data))
        place = Place(step.path, end)
    return place


def _find_begin(archive: Archive, symbol: str, end: Place) -> tuple[Optional[Place], Optional[Checkpoint]]:
    """The nearest checkpoint, also of days before as long as they follow one another."""
    files = archive.files()
    for index in range(files.index(end.path), -1, -1):
        path = files[index]
        best = None
        for checkpoint in _checkpoints(path):
            within = path != end.path or checkpoint.line <= end.position.line
            if checkpoint.symbol == symbol and checkpoint.snapshot is not None and within:
                best = checkpoint
        if best is not None:
            return Place(path, Position(best.line, best.end_offset)), best
    return None, None


def _checkpoints(path: Path) -> Iterator[Checkpoint]:
    with DataFile(path) as file:
        if file.day is not None and not file.part:
            yield from read_checkpoints(DayPaths(path.parent, file.day).checkpoints)
