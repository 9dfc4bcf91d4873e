"""The one way through an archive: its level3 data fed to an engine, and what happened on the way, in order.

`play` yields

    FileBegin        a file is about to be read from its first line; the engine has the books that it begins with
    SymbolMetadata   a precision or depth that was told, before the first line it holds for
    Gap              a gap, before the first piece with a line received after its left edge, and before a `FileBegin`
                     where it began before that day
    Step             one feed: what was fed and what came of it
    FileEnd          one file is read to its end

Readers of it are verification, the book at a moment and every export. An archive that grows is followed by `following`,
which tells metadata in the same way (`metadata.MetadataTeller`).

Books go on from a file to the next part of its day, and from a day to the next one. Where one is missing between, they
are lost, and those of the checkpoints at the next file's first line take their place; so they do at the first file. A
chain is a run of files that have to be played in turn because no such checkpoints stand between them; any chain alone
gives what all of them in turn give.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Protocol, Union, cast

from kraken_l3.archive.checkpoints import Checkpoint, read_checkpoints
from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES, Block, DataFile, Position
from kraken_l3.archive.gaps import Gap
from kraken_l3.archive.layout import DayPaths, FileName, parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine, Result
from kraken_l3.errors import DamageFound
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.rebuild.checkpointing import load_checkpoint
from kraken_l3.rebuild.metadata import MetadataTeller, SymbolMetadata
from kraken_l3.rebuild.readahead import ReadAhead

__all__ = [
    "Chain",
    "FileBegin",
    "FileEnd",
    "GridClock",
    "LineClock",
    "LineTimes",
    "Place",
    "Played",
    "Step",
    "begin_alone",
    "chains_in",
    "follows_in",
    "play",
    "reached_by",
]

#: The clock of an engine ends in 2262; names and damaged receipts can tell more.
_LAST_NS = (1 << 63) - 1


class Place(NamedTuple):
    """The beginning of a line in one of an archive's files."""

    path: Path
    position: Position


class LineTimes(Protocol):
    """When the lines of a block were received."""

    def packed(self) -> Optional[bytes]:
        """A time each line, never falling, as int64 nanoseconds: what `Engine.feed` takes. None: not known."""


class LineClock(Protocol):
    """Reads the receive times of lines; one for a whole playback, since times never fall from block to block."""

    @property
    def now_ns(self) -> int:
        """The latest time so far."""

    def look(self, block: Block) -> None:
        """Look at a block before its times are asked for, in the thread that reads ahead; its lines have no numbers."""

    def times(self, file: DataFile, block: Block) -> LineTimes:
        """Of the lines of the next block."""


class GridClock(LineClock, Protocol):
    """A clock for an engine that shows rows on a grid."""

    def pieces(self, file: DataFile, block: Block) -> Iterator[tuple[Sequence[int], Block, LineTimes]]:
        """The next block, cut where a long silence lies before a line: for each piece the moments up to which to let
        the clock run on before it (see `waits`), the piece, and the times of its lines.
        """

    def waits(self, until_ns: int) -> Sequence[int]:
        """Moments up to which to let the clock run on, one after the other, so that the rows that a silence up to a
        moment brings are not made all at once. None where they are few.
        """


class Step(NamedTuple):
    """What came of feeding a piece of a file, or (with no data) of letting the clock run on at the edge of a file.

    Attributes:
        path: the file.
        day: its UTC day, or None when its name tells none.
        block: what was fed.
        result: what the engine gave.
        times: of the block's lines, where a clock was asked for.
    """

    path: Path
    day: Optional[dt.date]
    block: Block
    result: Result
    times: Optional[LineTimes] = None

    @property
    def end(self) -> Position:
        """Where the line behind those that were fed begins."""
        block = self.block
        return Position(block.first_line + self.result.lines, block.offset + len(block.data))


class FileBegin(NamedTuple):
    """One file is about to be read from its first line; books at its start are in the engine."""

    path: Path
    day: Optional[dt.date]
    file: DataFile


class FileEnd(NamedTuple):
    """One file is read to its end, or to damage that hides the rest of it.

    Attributes:
        path: the file.
        day: its UTC day, or None when its name tells none.
        lines: how many it has, to where it was read.
        bytes: likewise.
        sha256: of its content, "" when it was not asked for.
        is_whole: whether it was read to its end.
    """

    path: Path
    day: Optional[dt.date]
    lines: int
    bytes: int
    sha256: str = ""
    is_whole: bool = True


class Chain(NamedTuple):
    """Files that have to be played in turn, since books go on from one to the next.

    Attributes:
        files: their names, oldest first.
        goes_on: whether the archive has the day after the last of them: then its clock runs on to midnight.
    """

    files: tuple[str, ...]
    goes_on: bool = False


def chains_in(archive: Archive) -> list[Chain]:
    """The chains of an archive, oldest first."""
    chains: list[Chain] = []
    last: Optional[FileName] = None
    for path in archive.files():
        name = parse_name(path.name)
        follows = _follows(archive, name, last)
        if chains and follows:
            chains[-1] = chains[-1]._replace(goes_on=True)
        if chains and follows and not _first_books(archive.directory, name):
            chains[-1] = Chain((*chains[-1].files, path.name))
        else:
            chains.append(Chain((path.name,)))
        last = name
    return chains


#: What `play` yields; see the module text.
Played = Union[Step, Gap, SymbolMetadata, FileBegin, FileEnd]


def reached_by(each: Played) -> Optional[Place]:
    """Where the next line begins; None for what reads no line."""
    if isinstance(each, FileBegin):
        return Place(each.path, BEGINNING)
    return Place(each.path, each.end) if isinstance(each, Step) and each.block.data else None


def follows_in(archive: Archive, path: Path) -> bool:
    """Whether the books of the file before it go on in a file."""
    files = archive.files()
    number = files.index(path)
    return number > 0 and _follows(archive, parse_name(path.name), parse_name(files[number - 1].name))


def _follows(archive: Archive, name: Optional[FileName], last: Optional[FileName]) -> bool:
    return name is not None and last is not None and archive.goes_on(last, name)


def _first_books(directory: Path, name: Optional[FileName]) -> list[Checkpoint]:
    """The checkpoints of a day's first line, its books as it begins (those without a book too)."""
    if name is None or name.part:
        return []
    # They stand first in their file, which may be a twentieth of the data: the rest of it is not read.
    return list(takewhile(lambda each: each.line == 0, read_checkpoints(DayPaths(directory, name.day).checkpoints)))


def play(
    engine: Engine,
    archive: Archive,
    metadata: Iterable[SymbolMetadata],
    *,
    gaps: Iterable[Gap] = (),
    chain: Optional[Chain] = None,
    begin: Optional[Place] = None,
    end: Optional[Place] = None,
    clock: Optional[LineClock] = None,
    grid: bool = False,
    through_midnight: bool = False,
    hashed: bool = False,
    block_bytes: int = BLOCK_BYTES,
    on_damage: Optional[Callable[[DamageFound], None]] = None,
) -> Iterator[Played]:
    """Feed the level3 data of an archive to an engine.

    Args:
        engine: a new one.
        archive: what to play.
        metadata: see `metadata.metadata_in`.
        gaps: to be told as they are reached, by their left edges (see `gaps.gaps_in`).
        chain: only these files; else all.
        begin: where to begin (the caller has loaded the books); else at the first line.
        end: the line before which to end; no `FileEnd` is told of a file that ends there.
        clock: hands the engine and the steps the receive times; with `grid` a `GridClock`.
        grid: let the clock run on at the edges of files, for an engine that was asked for rows on a grid. A day that
            another one follows is shown to midnight, the last one to the time of its last line.
        through_midnight: show midnight itself as well at the end of a day that another one follows.
        hashed: have `FileEnd` tell the SHA-256 of each file.
        block_bytes: about how much to feed at a time.
        on_damage: told of damage that hides the rest of a file; the next file is played as one that follows no other.
            None: the damage is raised.
    """
    turns = list(_turns(archive, chain, begin, end))
    first = turns[0].name if turns else None
    teller = MetadataTeller(engine, metadata, begin_ns=day_start_ns(first.day) if first is not None else 0)
    reached = _GapsReached(gaps)
    is_whole = True
    look = clock.look if clock is not None else None
    read_ahead = partial(ReadAhead, block_bytes=block_bytes, hashed=hashed, look=look)
    for number, turn in enumerate(turns):
        path = turn.path
        start = begin.position if begin is not None and number == 0 else BEGINNING
        until = end.position.offset if end is not None and end.path == path else None
        with DataFile(path) as file, read_ahead(path, start, until=until) as blocks:
            if not (turn.follows and is_whole) and (begin is None or number > 0):
                begin_alone(engine, path, is_first=number == 0, grid=grid)
                teller.tell_again()
            if start == BEGINNING:
                if file.day is not None:
                    yield from reached.before(day_start_ns(file.day))
                yield FileBegin(path, file.day, file)
            line, offset = start
            readable = _Readable(blocks, on_damage)
            for read in readable:
                for piece in teller.cut(file, read._replace(first_line=line)):
                    if isinstance(piece, SymbolMetadata):
                        yield piece
                        continue
                    for waits, part, times in _timed(clock, file, piece, grid=grid):
                        yield from _wait(engine, waits, reached, path, part._replace(data=b"", left_out=0))
                        result = engine.feed(
                            part.data, part.first_line, part.offset, times.packed() if times is not None else None
                        )
                        step = Step(path, file.day, part, result, times)
                        line, offset = step.end
                        # told before the step: a gap that began within the piece belongs to its rows
                        yield from reached.before_line(file, line, clock.now_ns if clock is not None else 0)
                        yield step
            is_whole = readable.is_whole
            if until is not None and is_whole:
                return
            if grid and clock is not None and not turn.has_more_parts:
                rest = Block(b"", line, offset, file)
                yield from _run_on(engine, turn, clock, reached, rest, through_midnight=through_midnight)
            yield FileEnd(path, file.day, line, offset, blocks.sha256, is_whole)


def _timed(
    clock: Optional[LineClock], file: DataFile, block: Block, *, grid: bool
) -> Iterable[tuple[Sequence[int], Block, Optional[LineTimes]]]:
    if clock is not None and grid:
        return cast("GridClock", clock).pieces(file, block)
    return [((), block, clock.times(file, block) if clock is not None else None)]


def _wait(
    engine: Engine, waits: Sequence[int], reached: _GapsReached, path: Path, place: Block
) -> Iterator[Union[Gap, Step]]:
    """Let the clock run on in several steps."""
    for at_ns in waits:
        yield from reached.before(at_ns)
        yield Step(path, place.file.day, place, engine.advance(at_ns))


class _Turn(NamedTuple):
    """One file of those to be played.

    Attributes:
        follows: whether the books of the file before it go on in it.
        goes_on: whether its own go on in the next one.
        has_more_parts: whether that is of the same day, and shows what is due at its first line.
    """

    path: Path
    name: Optional[FileName]
    follows: bool
    goes_on: bool = False
    has_more_parts: bool = False


def _turns(archive: Archive, chain: Optional[Chain], begin: Optional[Place], end: Optional[Place]) -> Iterator[_Turn]:
    turn: Optional[_Turn] = None
    for path in _between(archive, chain, begin, end):
        name = parse_name(path.name)
        # files of a chain follow one another by what it is, though others of the archive may not be here
        follows = turn is not None and (chain is not None or _follows(archive, name, turn.name))
        if turn is not None:
            is_part = name is not None and turn.name is not None and name.day == turn.name.day
            yield turn._replace(goes_on=follows, has_more_parts=is_part)
        turn = _Turn(path, name, follows)
    if turn is not None:
        # what follows a chain, the chain tells: its file may not be here
        yield turn._replace(goes_on=chain is not None and chain.goes_on)


def _run_on(
    engine: Engine, turn: _Turn, clock: LineClock, reached: _GapsReached, rest: Block, *, through_midnight: bool
) -> Iterator[Union[Gap, Step]]:
    """Let the clock run on at the end of a day: to midnight where another day follows, else to just behind its line."""
    day = turn.name.day if turn.name is not None else None
    until_ns = clock.now_ns + 1
    if day is not None and turn.goes_on:
        until_ns = day_start_ns(day) + NS_PER_DAY + through_midnight
    until_ns = min(until_ns, _LAST_NS)
    waits = cast("GridClock", clock).waits(until_ns)
    yield from _wait(engine, [*waits, until_ns], reached, turn.path, rest)


def _between(archive: Archive, chain: Optional[Chain], begin: Optional[Place], end: Optional[Place]) -> Sequence[Path]:
    if chain is not None:
        return [archive.directory / name for name in chain.files]
    files = archive.files()
    first = files.index(begin.path) if begin is not None else 0
    if end is None:
        return files[first:]
    last = files.index(end.path)
    is_in_it = end.position != BEGINNING or last == first
    return files[first : last + is_in_it]


def begin_alone(engine: Engine, path: Path, *, is_first: bool = False, grid: bool = False) -> None:
    """Begin a file that follows no other: with the books of the checkpoints at its first line.

    Args:
        engine: begins it.
        path: the file.
        is_first: it has no books of another.
        grid: show them from midnight on.
    """
    if not is_first:
        engine.invalidate()
    name = parse_name(path.name)
    checkpoints = _first_books(path.parent, name)
    for checkpoint in checkpoints:
        load_checkpoint(engine, checkpoint)
    if grid and checkpoints and name is not None:
        # books that are known from midnight on are shown from midnight on
        engine.advance(min(day_start_ns(name.day), _LAST_NS))


class _Readable:
    """Blocks up to damage, which is told to whoever wants to go on behind it."""

    def __init__(self, blocks: Iterable[Block], on_damage: Optional[Callable[[DamageFound], None]]) -> None:
        self._blocks = blocks
        self._on_damage = on_damage
        self.is_whole = True

    def __iter__(self) -> Iterator[Block]:
        try:
            yield from self._blocks
        except DamageFound as error:
            if self._on_damage is None:
                raise
            self.is_whole = False
            self._on_damage(error)


class _GapsReached:
    """Gives out gaps, each once, when the clock has passed its left edge."""

    def __init__(self, gaps: Iterable[Gap]) -> None:
        self._coming = sorted(gaps, key=lambda gap: gap.left_ns, reverse=True)

    def before_line(self, file: DataFile, line: int, now_ns: int) -> Iterator[Gap]:
        """Those that begin before `now_ns` or the receive time of the line before `line`; all where none is known."""
        if not self._coming:
            return
        receipts = file.receipts
        if receipts is not None and 0 < line <= len(receipts):
            yield from self.before(max(now_ns, receipts[line - 1].recv_ns))
        else:
            yield from self.before(self._coming[0].left_ns + 1)

    def before(self, at_ns: int) -> Iterator[Gap]:
        """Those that begin before a moment."""
        while self._coming and self._coming[-1].left_ns < at_ns:
            yield self._coming.pop()
