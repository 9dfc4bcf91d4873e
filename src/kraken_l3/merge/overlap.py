"""Whether a run of a symbol that begins is of the same stream as those beside it: it shares a message with them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Callable, Optional

from kraken_l3.merge.run import Run, untimed
from kraken_l3.merge.source import Source
from kraken_l3.protocol.alignment import anchors, identity_of

__all__ = ["Overlap"]

#: Updates behind a snapshot that are looked for in the other sources; so many without a match belong to no common
#: stream.
_COMPARED = 64
_ENOUGH = 8
#: So many in a row that differ in their timestamps alone are the same messages.
_ENOUGH_CONTENT = 3


class Overlap:
    """Of one symbol.

    Args:
        symbol: whose.
        sources: by rank.
        runs: of the sources.
        key: what tells that two lines are the same message.
        align: told where a source has the messages of another with timestamps of its own: which, whose, and how many
            were compared.
    """

    def __init__(
        self,
        symbol: str,
        sources: Sequence[Source],
        runs: Sequence[Run],
        key: Callable[[bytes], Hashable],
        align: Callable[[int, int, int], None],
    ) -> None:
        self._symbol = symbol
        self._sources = sources
        self._runs = runs
        self._key = key
        self._align = align

    def shared(self, rank: int, beside: Sequence[int], limits: Sequence[int], forced: bool) -> Optional[bool]:
        """Whether the run that begins shares a message with the others; None: not to be told yet."""
        source = self._sources[rank]
        depth = source.depth_of(self._symbol)
        if any(self._sources[other].depth_of(self._symbol) != depth for other in beside):
            return False
        lines = self._lines(rank)
        end = next((n for n, line in enumerate(lines) if n and line in source.snapshots), len(lines))
        updates = lines[1:end][:_COMPARED]
        texts = source.lines_of(updates)
        times = {source.ns[line - source.first] for line in updates}
        if not updates and end < len(lines):
            return True
        ends = []
        for other in beside:
            ns, first = self._sources[other].ns, self._sources[other].first
            at_once = [line for line in self._lines(other) if ns[line - first] in times]
            if not set(texts).isdisjoint(self._sources[other].lines_of(at_once)):
                return True
            theirs = self._sources[other].lines_of(self._lines(other))
            key = self._key if self._runs[rank].is_untimed or self._runs[other].is_untimed else identity_of
            if not set(map(key, texts)).isdisjoint(map(key, theirs)):
                return True
            if self._is_same_content(rank, texts, theirs, other):
                self._align(rank, other, len(texts))
                return None  # and once more, with its places
            its_end = self._sources[other].ns[self._lines(other)[-1] - self._sources[other].first]
            ends.append(max(its_end, limits[other]))
        comparable = sum(source.ns[line - source.first] < max(ends) for line in updates)
        if comparable >= _ENOUGH:
            return False
        heads = [self._sources[other].line(self._lines(other)[0]) for other in beside]
        if source.line(lines[0]) in heads and (source.is_over or len(updates) >= _ENOUGH_CONTENT):
            return True
        if forced or source.is_over or all(self._sources[other].is_over for other in beside):
            return comparable < _ENOUGH and not (comparable and self._is_contradicted(updates, source, beside))
        return None

    def _is_same_content(self, rank: int, texts: Sequence[bytes], theirs: Sequence[bytes], other: int) -> bool:
        """Whether the run has the other's messages with timestamps of its own."""
        if self._runs[rank].is_untimed or self._runs[other].is_untimed:
            return False
        return len(anchors(list(map(untimed, texts)), list(map(untimed, theirs)))) >= _ENOUGH_CONTENT

    def _is_contradicted(self, updates: Sequence[int], source: Source, beside: Sequence[int]) -> bool:
        """Whether the others have updates of the same time, and none of them is one of these."""
        begin, end = (source.ns[line - source.first] for line in (updates[0], updates[-1]))
        return any(
            begin <= self._sources[other].ns[line - self._sources[other].first] <= end
            for other in beside
            for line in self._lines(other)
        )

    def _lines(self, rank: int) -> list[int]:
        return self._sources[rank].pending[self._symbol]
