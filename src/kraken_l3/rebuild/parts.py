"""Reads an archive in parts (`division`), several at a time, and finds what one engine finds.

A part is played by an engine of its own, which begins with the books of the checkpoints at its first line. Checkpoints
can be wrong, so the *seam* between two parts is proved: the books at the end of one part are, order by order, those
that the next began with, and nothing is open that a checkpoint cannot tell (an incident, a lost book, a precision or
depth that nothing told). Where that is not so, the engine of the part before goes on through the next part, as one
engine alone does anyway. A checkpoint that holds another book than the data leads to is a finding.

`read_in_parts` plays the parts in threads or processes and gives what `work` made of each, in order. `work` is a
function of a module: it is given an engine, all that `playback.play` yields of the part, and a place to tell its
progress; what it gives back has to be pickled where the engine needs processes. So verification, and whatever else has
to read an archive from end to end, is divided alike. A `FileBegin` or `FileEnd` is told in the part that has that edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Callable, Generic, NamedTuple, Optional, TypeVar

from kraken_l3.archive.checkpoints import read_checkpoint
from kraken_l3.archive.companions import CompanionDamage
from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES, DataFile, Position
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, SymbolTally, Totals
from kraken_l3.errors import DamageFound
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.rebuild.checkpointing import image_of
from kraken_l3.rebuild.division import Cut, Part
from kraken_l3.rebuild.metadata import MetadataTeller, SymbolMetadata
from kraken_l3.rebuild.parallel import Progress, in_order
from kraken_l3.rebuild.playback import FileBegin, FileEnd, Place, Played, Step, begin_alone, play

__all__ = ["PartRead", "Reading", "read_in_parts"]

_Output = TypeVar("_Output")


# What is known of a book at a seam


class _Book(NamedTuple):
    """All there is to a book in step whose precision and depth were told.

    Attributes:
        parameters: price precision, quantity precision and depth.
        image: the book.
    """

    parameters: tuple[Optional[int], Optional[int], Optional[int]]
    image: BookImage


#: By symbol; None stands for what an image cannot tell. A symbol that never had a book is left out.
_Books = dict[str, Optional[_Book]]


def _books_of(engine: Engine) -> _Books:
    books: _Books = {}
    for tally in engine.tallies():
        if tally.depth is not None:
            image = engine.export_book(tally.symbol) if _is_certain(tally) else None
            books[tally.symbol] = _Book(tally.parameters(), image) if image is not None else None
    return books


def _is_certain(tally: SymbolTally) -> bool:
    return tally.state is State.SYNCED and not tally.depth_inferred and not tally.precision_inferred


def _are_same(books: _Books, others: _Books, engine_name: str) -> bool:
    if books.keys() != others.keys():
        return False
    for symbol, one in books.items():
        other = others[symbol]
        if one is None or other is None or one.parameters != other.parameters:
            return False
        if not _is_image_of(other.image, one, engine_name):
            return False
    return True


def _is_image_of(image: BookImage, book: _Book, engine_name: str) -> bool:
    """Whether an image is of this book, whatever its text looks like."""
    if image == book.image:
        return True
    engine = make_engine(EngineOptions(), engine_name)
    price, qty, depth = book.parameters
    engine.set_symbol(image.symbol, price_precision=price, qty_precision=qty, depth=depth)
    return engine.load_book(image) and engine.export_book(image.symbol) == book.image


# Reading


class Reading(NamedTuple):
    """How an archive is read; the same for all its parts.

    Attributes:
        path: the archive, or one file.
        metadata: see `metadata.metadata_in`.
        options: of the engines.
        engine_name: see `engine.choose`.
        threads: of each engine (see `make_engine`).
        block_bytes: about how much to feed at a time.
    """

    path: Path
    metadata: Sequence[SymbolMetadata]
    options: EngineOptions
    engine_name: str = "auto"
    threads: int = 1
    block_bytes: int = BLOCK_BYTES

    def engine(self) -> Engine:
        """A new one."""
        return make_engine(self.options, self.engine_name, threads=self.threads)


Work = Callable[[Engine, Iterator[Played], Progress], _Output]


@dataclass
class PartRead(Generic[_Output]):
    """One part, read.

    Attributes:
        output: what `work` made of it.
        tallies: of the engine, since it began.
        totals: likewise.
        went_on: whether it was the engine of the part before: then its tallies hold those of that part too.
        damage: what hides the rest of a file.
        lies: checkpoints at its beginning that hold another book than the data leads to.
    """

    output: _Output
    tallies: list[SymbolTally]
    totals: Totals
    went_on: bool
    damage: list[DamageFound] = field(default_factory=list)
    lies: list[CompanionDamage] = field(default_factory=list)


class _Task(NamedTuple):
    reading: Reading
    part: Part
    work: Any


@dataclass
class _Answer(Generic[_Output]):
    """What is known at the end of a part.

    Attributes:
        read: what is told of it.
        begun: the books that it began with.
        ended: the books at its end.
        reached: where it ended, None at the end of the archive.
        engine: which read it; None where that stayed in another process.
    """

    read: PartRead[_Output]
    begun: _Books
    ended: _Books
    reached: Optional[Place]
    engine: Optional[Engine] = None


def read_in_parts(
    reading: Reading,
    parts: Sequence[Part],
    work: Work[_Output],
    *,
    jobs: int = 1,
    progress: Optional[Progress] = None,
) -> Iterator[PartRead[_Output]]:
    """Read the parts of an archive, each as soon as it and those before it are proved.

    Args:
        reading: what to read and how.
        parts: see `divide`.
        work: see the module text.
        jobs: so many parts at a time, in threads where the engine is native, else in processes. One goes through all
            of them with one engine.
        progress: called with the bytes done.
    """
    archive = open_archive(reading.path)
    order = {path: number for number, path in enumerate(archive.files())}
    tasks = [_Task(reading, part, work) for part in parts]
    tell = progress if progress is not None else _say_nothing
    answers: Iterator[Optional[_Answer[_Output]]]
    if jobs > 1 and len(parts) > 1:
        is_native = reading.engine().name == "native"
        read = _read_part if is_native else _read_part_for_others
        answers = in_order(read, tasks, min(jobs, len(parts)), progress, threads=is_native)
    else:
        answers = chain((_read_part(task, tell) for task in tasks[:1]), repeat(None))
    last: Optional[_Answer[_Output]] = None
    last_task = tasks[0]
    for task, answer in zip(tasks, answers):
        cut, end = task.part
        if last is None:
            assert answer is not None  # the first part is always read from its own beginning
            current = answer
        elif last.reached is None or (end is not None and _key(order, end) <= _key(order, last.reached)):
            continue  # damage hides it
        else:
            assert cut is not None
            is_there = last.reached == cut.place
            lies = _lies(last.ended, cut, reading.engine_name) if is_there else []
            if is_there and answer is not None and _are_same(last.ended, answer.begun, reading.engine_name):
                current = answer
            else:
                engine = last.engine
                if engine is None:  # it stayed in another process: have one like it
                    engine = _read_part(last_task, _say_nothing).engine
                assert engine is not None
                current = _go_on(engine, task, last.reached, tell if answer is None else _say_nothing)
            current.read.lies += lies
        yield current.read
        last, last_task = current, task


def _say_nothing(_count: int) -> None:
    """The progress of what is done a second time."""


def _key(order: dict[Path, int], place: Place) -> tuple[int, int]:
    return order[place.path], place.position.offset


def _lies(books: _Books, cut: Cut, engine_name: str) -> list[CompanionDamage]:
    lies = []
    path = _checkpoints_of(cut.place.path)
    for head in cut.heads:
        book = books.get(head.symbol)
        checkpoint = read_checkpoint(path, head) if book is not None else None
        if book is None or checkpoint is None:
            continue  # what cannot be read, `companion_damage` tells
        image = image_of(checkpoint)
        if image is not None and not _is_image_of(image, book, engine_name):
            what = f"not the book of {head.symbol} that the data leads to"
            lies.append(CompanionDamage(path.name, what, head.number, head.offset))
    return lies


def _checkpoints_of(path: Path) -> Path:
    paths = DayPaths.of(path)
    assert paths is not None  # a cut is in a file of ours
    return paths.checkpoints


def _read_part(task: _Task, progress: Progress) -> _Answer[Any]:
    engine = task.reading.engine()
    cut = task.part.begin
    begun = _begin(engine, task.reading.metadata, cut) if cut is not None else {}
    answer = _read(engine, task, cut and cut.place, progress)
    answer.begun = begun
    return answer


def _read_part_for_others(task: _Task, progress: Progress) -> _Answer[Any]:
    """In a process of its own: an engine is not handed to another."""
    answer = _read_part(task, progress)
    answer.engine = None
    return answer


def _go_on(engine: Engine, task: _Task, begin: Place, progress: Progress) -> _Answer[Any]:
    answer = _read(engine, task, begin, progress)
    answer.read.went_on = True
    return answer


def _begin(engine: Engine, metadata: Iterable[SymbolMetadata], cut: Cut) -> _Books:
    """Load the books of a cut as they stand in an engine that was told all up to there."""
    path, position = cut.place
    with DataFile(path) as file:
        begin_ns = day_start_ns(file.day) if file.day is not None else 0
        teller = MetadataTeller(engine, metadata, begin_ns=begin_ns)
        if file.receipts is not None:
            teller.tell_before_line(file.receipts, position.line)
    images: dict[str, BookImage] = {}
    for head in cut.heads:
        checkpoint = read_checkpoint(_checkpoints_of(path), head)
        image = image_of(checkpoint) if checkpoint is not None else None
        if image is not None and engine.load_book(image):
            images[head.symbol] = image
    return {
        tally.symbol: _Book(tally.parameters(), images[tally.symbol]) if _is_certain(tally) else None
        for tally in engine.tallies()
        if tally.symbol in images
    }


def _read(engine: Engine, task: _Task, begin: Optional[Place], progress: Progress) -> _Answer[Any]:
    reading, end = task.reading, task.part.end
    archive = open_archive(reading.path)
    damage: list[DamageFound] = []
    trail = _Trail(begin)
    played = play(
        engine,
        archive,
        reading.metadata,
        begin=begin,
        end=end,
        block_bytes=reading.block_bytes,
        on_damage=damage.append,
    )
    output = task.work(engine, trail.follow(played), progress)
    reached = trail.reached
    if trail.is_hidden:  # the file after it follows no other
        reached = _after(archive, trail.path)
        if reached is not None:
            begin_alone(engine, reached.path)
    elif end is None or end.position == BEGINNING:
        reached = end
    read = PartRead(output, engine.tallies(), engine.totals(), False, damage)
    return _Answer(read, {}, _books_of(engine) if reached is not None else {}, reached, engine)


def _after(archive: Archive, path: Optional[Path]) -> Optional[Place]:
    files = archive.files()
    following = files[files.index(path) + 1 :] if path is not None else []
    return Place(following[0], BEGINNING) if following else None


class _Trail:
    """Remembers how far a playback came.

    Attributes:
        reached: behind the last line that was fed.
        path: the file that was read last.
        is_hidden: whether damage hides the rest of it.
    """

    def __init__(self, begin: Optional[Place]) -> None:
        self.reached = begin
        self.path: Optional[Path] = begin.path if begin is not None else None
        self.is_hidden = False

    def follow(self, played: Iterator[Played]) -> Iterator[Played]:
        for each in played:
            if isinstance(each, FileBegin):
                self.path, self.is_hidden = each.path, False
                self.reached = Place(each.path, BEGINNING)
            elif isinstance(each, Step) and each.block.data:
                block = each.block
                end = Position(block.first_line + each.result.lines, block.offset + len(block.data))
                self.path, self.reached = each.path, Place(each.path, end)
            elif isinstance(each, FileEnd):
                self.path, self.is_hidden = each.path, not each.is_whole
            yield each
