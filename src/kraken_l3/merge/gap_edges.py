"""The edges of the gaps that remain in one symbol's merged stream, from the journals of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from kraken_l3.archive.gaps import Gap
from kraken_l3.merge.findings import Findings
from kraken_l3.merge.run import Run
from kraken_l3.merge.source import Source

__all__ = ["GapEdges"]


class GapEdges:
    """Tells the findings of gaps.

    Args:
        symbol: whose.
        sources: by rank.
        runs: of the sources.
        findings: are told.
    """

    def __init__(self, symbol: str, sources: Sequence[Source], runs: Sequence[Run], findings: Findings) -> None:
        self._symbol = symbol
        self._sources = sources
        self._runs = runs
        self._findings = findings

    def before(
        self, source: Source, right_ns: int, cause: str, holders: Sequence[int], last_recv_ns: Optional[int]
    ) -> None:
        """What is missing before a snapshot that is written, if the journals or the sources themselves tell it.

        Args:
            source: whose snapshot it is.
            right_ns: when it was received.
            cause: known from the sources themselves ("": it is not).
            holders: the sources that had the last update.
            last_recv_ns: when that was received; None where nothing was written yet.
        """
        own = source.gap_before(self._symbol, right_ns)
        if last_recv_ns is None or source.rank in holders:
            if own is None and not cause:
                return
            left_ns = own.left_ns if own is not None else last_recv_ns or 0
            left_ns = max([left_ns, *self._lefts(holders, right_ns)])
            self._findings.gap(own.cause if own is not None else cause, left_ns, right_ns)
            return
        gaps = self._of(holders)
        first = next((gap for gap in gaps if gap.left_ns < right_ns), gaps[0] if gaps else None)
        left_ns = max([first.left_ns if first is not None else last_recv_ns, *self._lefts(holders, right_ns)])
        self._findings.gap(cause or (first.cause if first is not None else "stop"), left_ns, right_ns)

    def open_at_end(self, holders: Sequence[int]) -> None:
        """What is open at the ends of all sources."""
        gaps = [gap for gap in self._of(holders) if gap.right_ns is None]
        if gaps:
            last = max(gaps, key=lambda gap: gap.left_ns)
            self._findings.gap_opened(last.cause, last.left_ns)

    def _of(self, holders: Sequence[int]) -> list[Gap]:
        """The gaps in which the sources that had the last update are now."""
        return [gap for gap in map(self._gap_of, holders) if gap is not None]

    def _gap_of(self, rank: int) -> Optional[Gap]:
        source = self._sources[rank]
        lines = source.pending[self._symbol]
        if lines and lines[0] in source.snapshots:  # which tells it for certain, whatever the clock did
            return source.gap_before(self._symbol, source.recv[lines[0] - source.first])
        return source.gap_after(self._symbol, self._runs[rank].left_ns)

    def _lefts(self, holders: Sequence[int], right_ns: int) -> list[int]:
        return [gap.left_ns for gap in self._of(holders) if gap.left_ns < right_ns]
