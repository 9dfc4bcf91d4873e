"""Goes through an archive's level3 data as an export needs it: times with the lines, and nothing carried over that a
job working on one part alone would not know.

Chains: a day whose books are told by checkpoints of its first line begins anew; one without them goes on from the day
before, in the same chain. A missing day ends a chain. Chains are independent: any of them alone gives the same rows as
all of them in turn.

Grid, at the edges: an instant belongs to the day that it lies in. A day that another file follows is shown to midnight;
the last one to the time of its last line. The first instant is the first one not before the first line, or midnight
where books are told by checkpoints. Without receipts the messages' own times are the clock.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.archive.datafile import Block, DataFile
from kraken_l3.archive.layout import DayPaths, parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.receipts import RECEIPT_BYTES, RECEIVE_TIME_UNKNOWN
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import MESSAGE_COLUMNS, Engine, EngineOptions, Result
from kraken_l3.export.records import Times, columns_of
from kraken_l3.model.events import MessageKind
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import load_checkpoint

__all__ = ["Chain", "FileEnd", "Piece", "chains_in", "walk_chain"]

_MESSAGE_BYTES = 300  # most are longer
_BLOCKS_AHEAD = 6
_RECEIPT = np.dtype([("recv_ns", "<i8"), ("mono_ns", "<i8"), ("end", "<u8"), ("connection", "<u4"), ("flags", "<u4")])


class Chain(NamedTuple):
    """Files that have to be gone through in turn, since books go on from one to the next.

    Attributes:
        files: their names, oldest first.
        follows: for each file, whether the archive goes on with the next day.
        checkpointed: whether the first file's books are told by checkpoints.
    """

    files: tuple[str, ...]
    follows: tuple[bool, ...]
    checkpointed: bool


class Piece(NamedTuple):
    """What came of feeding one block, or of letting the clock run on at the edge of a file."""

    path: Path
    day: Optional[dt.date]
    result: Result
    times: Times
    size: int
    new_snapshots: bool


class FileEnd(NamedTuple):
    """A file is through."""

    path: Path
    day: Optional[dt.date]
    bytes: int
    lines: int
    sha256: str


def chains_in(archive: Archive) -> list[Chain]:
    """The chains of an archive, oldest first."""
    chains: list[Chain] = []
    last_day: Optional[dt.date] = None
    names = [path.name for path in archive.files()]
    days = [parsed.day if parsed else None for parsed in map(parse_name, names)]
    for name, day, after in zip(names, days, [*days[1:], None]):
        told = day is not None and _has_checkpoints(archive.directory, day)
        goes_on = _is_next(day, after)
        if chains and not told and _is_next(last_day, day):
            chains[-1] = Chain((*chains[-1].files, name), (*chains[-1].follows, goes_on), chains[-1].checkpointed)
        else:
            chains.append(Chain((name,), (goes_on,), told))
        last_day = day
    return chains


def _is_next(day: Optional[dt.date], after: Optional[dt.date]) -> bool:
    return day is not None and after is not None and (after - day).days == 1


def _has_checkpoints(directory: Path, day: dt.date) -> bool:
    first = next(read_checkpoints(DayPaths(directory, day).checkpoints), None)
    return first is not None and first.line == 0


def walk_chain(
    engine: Engine,
    archive: Archive,
    chain: Chain,
    facts: Sequence[SymbolMetadata],
    *,
    grid_ns: Optional[int] = None,
    block_bytes: int = 1024 * 1024,
) -> Iterator[Piece | FileEnd]:
    """Feed a chain to a new engine.

    Args:
        engine: a new one, made with `messages`.
        archive: whose chain it is.
        chain: what to feed.
        facts: all of the archive, oldest first.
        grid_ns: of the rows the engine was asked for, if any.
        block_bytes: how much to feed at once.
    """
    later = _tell_first(engine, facts, chain)
    clock = _Clock(engine.name, needs_times=grid_ns is not None)
    for name, follows in zip(chain.files, chain.follows):
        path = archive.directory / name
        with DataFile(path) as file, _ReadAhead(path, block_bytes) as ahead:
            if name == chain.files[0] and chain.checkpointed and file.day is not None:
                _load_books(engine, archive.directory, file.day)
                if grid_ns is not None:
                    engine.advance(day_start_ns(file.day))
            lines = offset = 0
            for block in _cut(engine, file, later, ahead):
                block = block._replace(first_line=lines)
                times = clock.times(file, block)
                recv = times.recv_ns.tobytes() if times.recv_ns is not None else None
                result = engine.feed(block.data, block.first_line, block.offset, recv)
                news = offset == 0 or MessageKind.SNAPSHOT in result.messages["kind"]
                lines, offset = block.first_line + result.lines, block.offset + len(block.data)
                yield Piece(path, file.day, result, clock.shown(times, file), len(block.data), news)
            if grid_ns is not None:
                until = day_start_ns(file.day) + NS_PER_DAY if follows and file.day is not None else clock.now_ns + 1
                yield Piece(path, file.day, engine.advance(until), Times(0, None, None), 0, False)
            yield FileEnd(path, file.day, offset, lines, ahead.sha256.hexdigest())


def _tell_first(engine: Engine, facts: Sequence[SymbolMetadata], chain: Chain) -> list[SymbolMetadata]:
    """Tell what is known when the chain begins; each symbol's first fact is told ahead of its time."""
    name = parse_name(chain.files[0])
    start_ns = day_start_ns(name.day) if name is not None else 0
    later: list[SymbolMetadata] = []
    told: set[str] = set()
    for fact in facts:
        if fact.at_ns < start_ns or fact.symbol not in told:
            told.add(fact.symbol)
            _tell(engine, fact)
        else:
            later.append(fact)
    return later


def _tell(engine: Engine, fact: SymbolMetadata) -> None:
    precisions = {"price_precision": fact.price_precision, "qty_precision": fact.qty_precision}
    engine.set_symbol(fact.symbol, **precisions, depth=fact.depth)


def _load_books(engine: Engine, directory: Path, day: dt.date) -> None:
    for checkpoint in read_checkpoints(DayPaths(directory, day).checkpoints):
        if checkpoint.line == 0:
            load_checkpoint(engine, checkpoint)


def _cut(engine: Engine, file: DataFile, later: list[SymbolMetadata], blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks, with the facts told between the lines where they begin to hold."""
    for block in blocks:
        while later and file.receipts is not None:
            begins = file.receipts.start_of(file.receipts.line_at_time(later[0].at_ns)) - block.offset
            if begins > len(block.data):
                break
            begins = max(begins, 0)
            if begins:
                yield block._replace(data=block.data[:begins])
            block = block._replace(data=block.data[begins:], offset=block.offset + begins)
            _tell(engine, later.pop(0))
        if block.data:
            yield block


def _lines_in(block: Block) -> int:
    return block.data.count(b"\n") + (not block.data.endswith(b"\n"))


def _receipts(file: DataFile, first: int, count: int) -> Any:
    data = file.receipt_bytes(first, count)
    return np.frombuffer(data[: len(data) - len(data) % RECEIPT_BYTES], _RECEIPT)


class _Clock:
    """The receive times of lines, never falling."""

    def __init__(self, engine_name: str, *, needs_times: bool) -> None:
        self.now_ns = 0
        self._engine_name = engine_name
        self._needs_times = needs_times
        self._reader: Optional[Engine] = None

    def times(self, file: DataFile, block: Block) -> Times:
        """Of the lines of a block, as the engine takes them."""
        if file.receipts is not None:
            return self._of_receipts(file, block)
        count = _lines_in(block)
        if not self._needs_times:
            return Times(block.first_line, None, None)
        return Times(block.first_line, self._rising(self._of_messages(block, count)), None)

    def shown(self, times: Times, file: DataFile) -> Times:
        """What rows may call receive times: a message's own time is none."""
        return times if file.receipts is not None else Times(times.first_line, None, None)

    def _of_receipts(self, file: DataFile, block: Block) -> Times:
        end = block.offset + len(block.data)
        count = max(len(block.data) // _MESSAGE_BYTES, 1)
        receipts = _receipts(file, block.first_line, count)
        while len(receipts) == count and receipts["end"][-1] < end:
            count *= 2
            receipts = _receipts(file, block.first_line, count)
        receipts = receipts[: int(np.searchsorted(receipts["end"], end, side="right"))]
        told = len(receipts) and receipts["end"][-1] == end
        count = len(receipts) if told else _lines_in(block)
        receipts = receipts[:count]
        raw = np.zeros(count, np.int64)  # lines without a receipt keep 0: their time is that of the line before
        raw[: len(receipts)] = receipts["recv_ns"]
        doubtful = np.ones(count, bool)
        doubtful[: len(receipts)] = receipts["flags"] & RECEIVE_TIME_UNKNOWN != 0
        recv_ns = self._rising(raw)
        return Times(block.first_line, recv_ns, doubtful | (raw < recv_ns))

    def _of_messages(self, block: Block, count: int) -> Any:
        if self._reader is None:
            self._reader = make_engine(EngineOptions(messages=True), self._engine_name)
        result = self._reader.feed(block.data, block.first_line, block.offset)
        columns = columns_of(result.messages, MESSAGE_COLUMNS)
        times = np.zeros(count, np.int64)
        np.maximum.at(times, columns["line"] - block.first_line, columns["msg_ns"])
        return times

    def _rising(self, raw: Any) -> Any:
        if not self.now_ns:  # what comes before the first known time counts as of then
            self.now_ns = int(raw[np.flatnonzero(raw)[:1]].sum())
        rising = np.maximum(np.maximum.accumulate(raw), self.now_ns)
        self.now_ns = int(rising[-1]) if len(rising) else self.now_ns
        return rising


class _ReadAhead:
    """A file's blocks (lines not counted) and its SHA-256, in a thread of its own: together they take half as long
    as the engine.
    """

    def __init__(self, path: Path, block_bytes: int) -> None:
        self.sha256 = hashlib.sha256()
        self._file = DataFile(path)  # not the caller's: two threads cannot share a place in a file
        self._blocks = self._file.blocks(size=block_bytes, numbered=False)
        self._read: queue.Queue[Union[Block, BaseException, None]] = queue.Queue(_BLOCKS_AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        while self._thread.is_alive():  # it may be waiting for room
            with contextlib.suppress(queue.Empty):
                self._read.get(timeout=0.01)
        self._file.close()

    def __iter__(self) -> Iterator[Block]:
        while True:
            read = self._read.get()
            if read is None:
                return
            if isinstance(read, BaseException):
                raise read
            yield read

    def _run(self) -> None:
        try:
            for block in self._blocks:
                self.sha256.update(block.data)
                self._read.put(block)
                if self._is_over.is_set():
                    return
            self._read.put(None)
        except Exception as error:  # noqa: BLE001 - raised where the blocks are wanted
            self._read.put(error)
