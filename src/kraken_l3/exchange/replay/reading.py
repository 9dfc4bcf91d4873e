"""Reads a recording ahead of the moment that is shown, in pieces of lines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator
from typing import Any, Callable, NamedTuple, Optional

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine, Result
from kraken_l3.errors import DamageFound
from kraken_l3.exchange.replay.times import LineTimes, ReplayClock
from kraken_l3.rebuild.division import Cut, divide
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import Step, play
from kraken_l3.rebuild.seams import begin_at

__all__ = ["Piece", "pieces_of"]


class Piece(NamedTuple):
    """Lines that follow one another in a file, with the times at which they are due, which never fall."""

    lines: list[bytes]
    times: list[int]
    first_line: int
    offset: int


class _FedLater:
    """Stands for an engine in a playback that only reads; the lines are fed to the engine when they are shown."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        return Result(lines=block.count(b"\n") + (block[-1:] != b"\n"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def pieces_of(
    archive: Archive,
    engine: Engine,
    metadata: list[SymbolMetadata],
    *,
    begin_ns: Optional[int],
    end_ns: Optional[int],
    on_damage: Callable[[DamageFound], None],
) -> Generator[Piece, None, None]:
    """What was received from `begin_ns` until `end_ns`, both optional.

    The engine is told of books and precisions as each piece is reached, and is given all that was received before
    `begin_ns`; the lines of a piece are the caller's to feed.
    """
    cut = _latest_cut(archive, metadata, begin_ns) if begin_ns is not None else None
    if cut is not None:
        begin_at(engine, metadata, cut)
    reading: Any = _FedLater(engine)
    played = play(
        reading,
        archive,
        metadata,
        begin=cut.place if cut is not None else None,
        clock=ReplayClock(engine.name),
        on_damage=on_damage,
    )
    for step in played:
        if not isinstance(step, Step) or not step.block.data:
            continue
        assert isinstance(step.times, LineTimes)
        times, block = step.times.times, step.block
        lines = block.data.split(b"\n")[: len(times)]
        skipped = bisect_left(times, begin_ns) if begin_ns is not None else 0
        offset = block.offset
        if skipped:
            head = b"\n".join(lines[:skipped]) + b"\n"
            engine.feed(head, block.first_line, offset)
            offset += len(head)
        end = bisect_left(times, end_ns) if end_ns is not None else len(times)
        if skipped < end:
            yield Piece(lines[skipped:end], times[skipped:end], block.first_line + skipped, offset)
        if end < len(times):
            return


def _latest_cut(archive: Archive, metadata: list[SymbolMetadata], begin_ns: int) -> Optional[Cut]:
    """The last place before a moment where the books of all symbols are known."""
    for part in reversed(divide(archive, metadata)):
        if part.begin is not None:
            path, position = part.begin.place
            with DataFile(path) as file:
                if file.receipts is not None and file.receipts[position.line].recv_ns <= begin_ns:
                    return part.begin
    return None
