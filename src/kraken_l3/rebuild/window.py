"""A chain of files played for a window of time alone: from the nearest checkpoint before it, and no further than it.

What comes of the window is what comes of it when the whole chain is played: books, verdicts, classifications, rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Union, cast

from kraken_l3.archive.checkpoints import read_heads
from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES, Block, DataFile, Position
from kraken_l3.archive.gaps import Gap
from kraken_l3.archive.layout import DayPaths, Stream, parse_name
from kraken_l3.archive.opening import existing
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine
from kraken_l3.errors import DamageFound
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.division import Cut
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import (
    Chain,
    FileBegin,
    FileEnd,
    GridClock,
    LineClock,
    Place,
    Played,
    Step,
    play,
    reached_by,
)
from kraken_l3.rebuild.seams import begin_at

__all__ = ["files_in", "play_window"]


def files_in(archive: Archive, chain: Chain, window: Window) -> list[str]:
    """The files of a chain that may have lines of a window, oldest first.

    Without receipts a file by somebody else may be called after any day.
    """
    if window == EVERYTHING:
        return list(chain.files)
    names = {name: parse_name(name) for name in chain.files}
    return [
        name
        for name, parsed in names.items()
        if parsed is None
        or existing(DayPaths(archive.directory, parsed.day).receipts(Stream.LEVEL3)) is None
        or window.touches(parsed.day)
    ]


def play_window(
    engine: Engine,
    archive: Archive,
    metadata: Sequence[SymbolMetadata],
    chain: Chain,
    window: Window = EVERYTHING,
    *,
    gaps: Sequence[Gap] = (),
    clock: LineClock,
    grid: bool = False,
    through_midnight: bool = False,
    hashed: bool = False,
    block_bytes: int = BLOCK_BYTES,
    only: Optional[frozenset[str]] = None,
    on_damage: Optional[Callable[[DamageFound], None]] = None,
) -> Iterator[Played]:
    """As `playback.play`, of a chain and for a window.

    Steps before the first `FileBegin` lead up to the window: they are told so that what the caller keeps of symbols
    stays right, and hold no row of it. The first file's `FileBegin` is told at the window's beginning, its `FileEnd` at
    the window's end. A file whose lines have no receive times is played whole: the caller leaves rows out by their
    times, as it does at the edges of blocks.

    Args:
        engine: a new one.
        archive: holds the chain.
        metadata: see `metadata.metadata_in`.
        chain: what the window is looked for in.
        window: what is wanted.
        gaps: see `playback.play`.
        clock: likewise.
        grid: likewise.
        through_midnight: likewise; the instant at which the window ends is shown as well, with what came just then.
        hashed: have `FileEnd` tell the SHA-256 of each file that was read whole.
        block_bytes: about how much to feed at a time.
        only: the symbols that the engine follows; None for all.
        on_damage: see `playback.play`.
    """
    feed = partial(
        play,
        engine,
        archive,
        metadata,
        clock=clock,
        grid=grid,
        through_midnight=through_midnight,
        block_bytes=block_bytes,
        on_damage=on_damage,
    )
    if window == EVERYTHING:
        yield from feed(gaps=gaps, chain=chain, hashed=hashed)
        return
    wanted = files_in(archive, chain, window)
    if not wanted:
        return
    begin, end = chain.files.index(wanted[0]), chain.files.index(wanted[-1]) + 1
    first: Optional[Place] = _begin_in(archive.directory / wanted[0], window)
    assert first is not None
    lead = Chain(chain.files[: begin + (first.position != BEGINNING)], goes_on=True)
    if lead.files:
        cut = _load(engine, archive, metadata, lead, first, only)
        if (yield from _lead_up(feed, lead, cut, first)):
            # damage hides the rest of this file, and what is wanted of it; the next one follows no other
            engine.invalidate()
            begin += 1
    else:
        first = None
    if begin == end:
        return
    yield from (gap for gap in gaps if window.end_ns is None or gap.left_ns < window.end_ns)
    stop = _end_in(archive.directory / chain.files[end - 1], window, closed=through_midnight)
    if first is not None and first.path.name != chain.files[begin]:
        first = None
    part = Chain(chain.files[begin:end], chain.goes_on or end < len(chain.files))
    reached = yield from _play_part(partial(feed, chain=part, hashed=hashed), first, stop)
    if stop is not None and reached is not None:
        yield from _end_of_window(engine, stop, reached, cast("GridClock", clock) if grid else None)


def _play_part(
    feed: Callable[..., Iterator[Played]], first: Optional[Place], stop: Optional[_Stop]
) -> Generator[Played, None, Optional[Place]]:
    """The window's own files; where the line behind those played begins, None where damage hides it."""
    reached = first
    cut = first if first is not None and first.position != BEGINNING else None
    if cut is not None:
        with DataFile(cut.path) as file:
            yield FileBegin(cut.path, file.day, file)
    for each in feed(begin=first, end=stop and stop.place):
        if isinstance(each, FileEnd):
            yield each._replace(sha256="") if cut is not None and each.path == cut.path else each
            if stop is not None and each.path == stop.place.path:
                return None
            continue
        reached = reached_by(each) or reached
        yield each
    return reached


def _end_of_window(
    engine: Engine, stop: _Stop, reached: Place, clock: Optional[GridClock]
) -> Iterator[Union[Step, FileEnd]]:
    """On a grid (with its clock) it is as far as the line behind the window lets the clock run on."""
    with DataFile(stop.place.path) as file:
        if clock is not None:
            rest = Block(b"", *reached.position, file)
            until_ns = max(stop.next_ns, clock.now_ns)
            for at_ns in (*clock.waits(until_ns), until_ns):
                yield Step(file.path, file.day, rest, engine.advance(at_ns))
        yield FileEnd(file.path, file.day, *reached.position)


def _lead_up(
    feed: Callable[..., Iterator[Played]], lead: Chain, cut: Optional[Place], first: Place
) -> Generator[Played, None, bool]:
    """The steps up to the window's first line; whether damage in the same file hides it."""
    chain = lead if cut is None else Chain(lead.files[lead.files.index(cut.path.name) :], goes_on=True)
    for each in feed(chain=chain, begin=cut, end=first if first.position != BEGINNING else None):
        if isinstance(each, Step):
            yield each
        elif isinstance(each, FileEnd) and each.path == first.path:
            return True
    return False


def _begin_in(path: Path, window: Window) -> Place:
    """The first line of a file that is in a window; the beginning where its lines have no receive times."""
    with DataFile(path) as file:
        if file.day is None or window.within(file.day).start_ns == 0:
            return Place(path, BEGINNING)
        return Place(path, file.at_time(window.start_ns))


class _Stop(NamedTuple):
    """The first line behind a window, and when it was received."""

    place: Place
    next_ns: int


def _end_in(path: Path, window: Window, *, closed: bool) -> Optional[_Stop]:
    """None where a file ends before the window does, or its lines have no receive times.

    `closed`: what was received at the very end is in it.
    """
    with DataFile(path) as file:
        end_ns = window.within(file.day).end_ns if file.day is not None else None
        if end_ns is None or file.receipts is None:
            return None
        place = Place(path, file.at_time(end_ns + closed))
        is_there = place.position.line < len(file.receipts)
        return _Stop(place, file.receipts[place.position.line].recv_ns) if is_there else None


def _load(
    engine: Engine,
    archive: Archive,
    metadata: Sequence[SymbolMetadata],
    lead: Chain,
    first: Place,
    only: Optional[frozenset[str]],
) -> Optional[Place]:
    """Load the books of the checkpoints from which to play up to a place; None: play the chain from its beginning.

    They are those of the nearest checkpoint but one: the first row after a checkpoint is told whether or not it differs
    from the one before, so each symbol has to have a message in front of the window.
    """
    cuts = [cut for name in lead.files for cut in _cuts(archive.directory / name, metadata, only)]
    is_before = [cut for cut in cuts if cut.place.path != first.path or cut.place.position <= first.position]
    for cut in reversed(is_before[:-1]):
        if begin_at(engine, metadata, cut).keys() >= {head.symbol for head in cut.heads}:
            return cut.place
        engine.invalidate()
    return None


def _cuts(path: Path, metadata: Sequence[SymbolMetadata], only: Optional[frozenset[str]]) -> Iterator[Cut]:
    """Lines of a file at which all symbols of an engine have checkpoints with books, and were told completely."""
    told: dict[str, set[int]] = {}
    for each in metadata:
        values = (each.price_precision, each.qty_precision, each.depth)
        told.setdefault(each.symbol, set()).update(kind for kind, value in enumerate(values) if value is not None)
    complete = {symbol for symbol, kinds in told.items() if len(kinds) == len(SymbolMetadata._fields) - 2}
    needed = complete if only is None else only
    with DataFile(path) as file:
        if file.day is None or file.part or file.receipts is None or not needed <= complete:
            return
        heads = [
            head
            for head in read_heads(DayPaths(path.parent, file.day).checkpoints)
            if only is None or head.symbol in only
        ]
        for line, group in groupby(sorted(heads, key=attrgetter("line")), key=attrgetter("line")):
            latest = {head.symbol: head for head in group}  # the last record of a symbol counts
            books = tuple(head for head in latest.values() if not head.reason)
            offset = file.receipts.start_of(line)
            if latest.keys() == needed and len(books) == len(needed) and all(b.end_offset == offset for b in books):
                yield Cut(Place(path, Position(line, offset)), books)
