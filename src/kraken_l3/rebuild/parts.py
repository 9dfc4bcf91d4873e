"""Reads an archive in parts (`division`), several at a time, and finds what one engine finds.

A part is played by an engine of its own, which begins with the books of the checkpoints at its first line. Checkpoints
can be wrong, so the *seam* between two parts is proved: the books at the end of one part are, order by order, those
that the next began with, and nothing is open that a checkpoint cannot tell (an incident, a lost book, a precision or
depth that nothing told). Where that is not so, the engine of the part before goes on through the next part, as one
engine alone does anyway. A checkpoint that holds another book than the data leads to is a finding.

`read_in_parts` plays the parts in threads, in processes or on a cluster, and gives what `work` made of each, in order.
`work` is a function of a module: it is given an engine, all that `playback.play` yields of the part, and a place to
tell its progress; what it gives back has to be pickled unless the engine is native and here. So verification, and
whatever else has to read an archive from end to end, is divided alike. A `FileBegin` or `FileEnd` is told in the part
that has that edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Callable, Generic, NamedTuple, Optional, TypeVar

from kraken_l3.archive.companions import CompanionDamage
from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import Engine, EngineOptions, SymbolTally, Totals
from kraken_l3.errors import DamageFound
from kraken_l3.rebuild.cluster import in_order_on_cluster
from kraken_l3.rebuild.division import Part
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress, in_order
from kraken_l3.rebuild.playback import FileEnd, Place, Played, begin_alone, play, reached_by
from kraken_l3.rebuild.seams import Books, are_same, begin_at, books_of, lies_in

__all__ = ["PartRead", "Reading", "read_in_parts"]

_Output = TypeVar("_Output")


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
    begun: Books
    ended: Books
    reached: Optional[Place]
    engine: Optional[Engine] = None


def read_in_parts(
    reading: Reading,
    parts: Sequence[Part],
    work: Work[_Output],
    *,
    jobs: int = 1,
    cluster: Optional[str] = None,
    progress: Optional[Progress] = None,
) -> Iterator[PartRead[_Output]]:
    """Read the parts of an archive, each as soon as it and those before it are proved.

    Args:
        reading: what to read and how.
        parts: see `divide`.
        work: see the module text.
        jobs: so many parts at a time, in threads where the engine is native, else in processes. One goes through all
            of them with one engine.
        cluster: address of a Dask scheduler, whose workers read the parts instead; they find the archive at the same
            path. The seams are proved here.
        progress: called with the bytes done.
    """
    archive = open_archive(reading.path)
    order = {path: number for number, path in enumerate(archive.files())}
    tasks = [_Task(reading, part, work) for part in parts]
    tell = progress if progress is not None else _say_nothing
    last: Optional[_Answer[_Output]] = None
    last_task = tasks[0]
    for task, answer in zip(tasks, _answers(tasks, jobs, cluster, progress)):
        cut, end = task.part
        if last is None:
            assert answer is not None  # the first part is always read from its own beginning
            current = answer
        elif last.reached is None or (end is not None and _key(order, end) <= _key(order, last.reached)):
            continue  # damage hides it
        else:
            assert cut is not None
            is_there = last.reached == cut.place
            lies = lies_in(cut, last.ended, reading.engine_name) if is_there else []
            if is_there and answer is not None and are_same(last.ended, answer.begun, reading.engine_name):
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


def _answers(
    tasks: Sequence[_Task], jobs: int, cluster: Optional[str], progress: Optional[Progress]
) -> Iterator[Optional[_Answer[Any]]]:
    """What came of each part by itself; None where it is to be read by the engine of the part before it."""
    if cluster is not None and len(tasks) > 1:
        return in_order_on_cluster(_read_part_for_others, tasks, cluster, progress)
    if jobs > 1 and len(tasks) > 1:
        is_native = tasks[0].reading.engine().name == "native"
        read = _read_part if is_native else _read_part_for_others
        return in_order(read, tasks, min(jobs, len(tasks)), progress, threads=is_native)
    tell = progress if progress is not None else _say_nothing
    return chain((_read_part(task, tell) for task in tasks[:1]), repeat(None))


def _say_nothing(_count: int) -> None:
    """The progress of what is done a second time."""


def _key(order: dict[Path, int], place: Place) -> tuple[int, int]:
    return order[place.path], place.position.offset


def _read_part(task: _Task, progress: Progress) -> _Answer[Any]:
    engine = task.reading.engine()
    cut = task.part.begin
    begun = begin_at(engine, task.reading.metadata, cut) if cut is not None else {}
    answer = _read(engine, task, cut and cut.place, progress)
    answer.begun = begun
    return answer


def _read_part_for_others(task: _Task, progress: Progress) -> _Answer[Any]:
    """In a process of its own, here or elsewhere: an engine is not handed to another."""
    answer = _read_part(task, progress)
    answer.engine = None
    return answer


def _go_on(engine: Engine, task: _Task, begin: Place, progress: Progress) -> _Answer[Any]:
    answer = _read(engine, task, begin, progress)
    answer.read.went_on = True
    return answer


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
    return _Answer(read, {}, books_of(engine) if reached is not None else {}, reached, engine)


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
            reached = reached_by(each)
            if reached is not None:
                self.path, self.reached, self.is_hidden = reached.path, reached, False
            elif isinstance(each, FileEnd):
                self.path, self.is_hidden = each.path, not each.is_whole
            yield each
