"""Places for the updates of sources whose timestamps are their own: other sources tell them, by content."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Callable

from kraken_l3.merge.run import Run
from kraken_l3.merge.source import Source
from kraken_l3.protocol.alignment import anchors

__all__ = ["Places"]


class Places:
    """Of one symbol.

    Args:
        symbol: whose.
        sources: by rank.
        runs: of the sources.
        key: what tells that two lines are the same message.
    """

    def __init__(
        self, symbol: str, sources: Sequence[Source], runs: Sequence[Run], key: Callable[[bytes], Hashable]
    ) -> None:
        self._symbol = symbol
        self._sources = sources
        self._runs = runs
        self._key = key

    def place(self, passed_ns: int) -> None:
        """Give the updates of a source whose timestamps are its own the places that others have for them.

        What lies behind the last update that is found there waits.

        Args:
            passed_ns: the place of the last update that was taken.
        """
        for source, run in zip(self._sources, self._runs):
            if not run.is_untimed and not run.held:
                continue
            lines = source.pending[self._symbol]
            lines += run.held
            lines.sort()
            run.held = []
            if lines and lines[0] in source.snapshots and lines[0] != run.untimed_from:
                run.is_untimed = False  # a run of its own, about which nothing is known yet
            if not run.is_untimed or not lines:
                continue
            begin = next((at for at, line in enumerate(lines) if line > run.placed_until), len(lines))
            begin += lines[begin : begin + 1] == [run.untimed_from]
            end = next((at for at in range(begin, len(lines)) if lines[at] in source.snapshots), len(lines))
            known = self._by_content(source, lines[begin:end], passed_ns)
            if known or not all(other.is_over for other in self._sources if other is not source):
                run.held = lines[begin + known :]
                del lines[begin + known :]

    def _by_content(self, source: Source, lines: Sequence[int], passed_ns: int) -> int:
        """Set the places of lines as far as another source tells them; how many."""
        others = (other for other, run in zip(self._sources, self._runs) if other is not source and not run.is_untimed)
        other = next((each for each in others if each.pending.get(self._symbol)), None)
        if other is None or not lines:
            return 0
        theirs = other.pending[self._symbol]
        found = anchors(list(map(self._key, source.lines_of(lines))), list(map(self._key, other.lines_of(theirs))))
        at, before_ns = 0, passed_ns
        for own, its in found:
            place = other.ns[theirs[its] - other.first]
            for line in lines[at:own]:  # which the other has not: before it, and before its snapshot there
                source.ns[line - source.first] = max(before_ns, place - 1)
            source.ns[lines[own] - source.first] = before_ns = place
            at = own + 1
        if at:
            self._runs[source.rank].placed_until = lines[at - 1]
        return at
