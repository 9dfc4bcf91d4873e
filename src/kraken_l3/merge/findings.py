"""What a merge finds about one symbol, as records of the merged archive's journal, and counted."""

from __future__ import annotations

from typing import Protocol

from kraken_l3.archive.journal import AlignedByContent, Conflict, GapClosed, GapOpened, NotSpliced, Record, Repaired
from kraken_l3.archive.layout import Stream

__all__ = ["Findings", "Output"]


class Output(Protocol):
    """Where the findings of streams go."""

    def journal(self, record: Record) -> None:
        """One record, at the moment that the merge is at."""

    def conflict(self, record: Conflict, payload: bytes) -> None:
        """Keep a line that is not in the data, with the record that tells of it."""

    @property
    def now_ns(self) -> int:
        """The receive time that the merge is at."""


class Findings:
    """See the module.

    Args:
        symbol: whose.
        output: where the records go.

    Attributes:
        conflicts: how often sources had different content at one place.
        repairs: how many runs of lost messages were taken from another source.
        gaps: how many gaps remain.
        unspliced: how often a source was left out until its next snapshot.
    """

    def __init__(self, symbol: str, output: Output) -> None:
        self._symbol = symbol
        self._output = output
        self.conflicts = self.repairs = self.gaps = self.unspliced = 0

    def conflict(self, payload: bytes, *, source: int, other: int, msg_ns: int) -> None:
        """A line of `other` stands at the place of one of `source` that is in the data."""
        self.conflicts += 1
        record = Conflict(
            at_ns=self._output.now_ns,
            channel=Stream.LEVEL3.value,
            symbol=self._symbol,
            source=source,
            other=other,
            msg_ns=msg_ns,
        )
        self._output.conflict(record, payload)

    def repaired(
        self, cause: str, left_ns: int, right_ns: int, *, source: int, taken_from: int, lines: int, proof: str
    ) -> None:
        """See `journal.Repaired`."""
        self.repairs += 1
        self._output.journal(
            Repaired(
                at_ns=self._output.now_ns,
                symbol=self._symbol,
                cause=cause,
                left_ns=left_ns,
                right_ns=right_ns,
                source=source,
                taken_from=taken_from,
                lines=lines,
                proof=proof,
            )
        )

    def not_spliced(self, *, source: int, beside: int, reason: str) -> None:
        """See `journal.NotSpliced`."""
        self.unspliced += 1
        self._output.journal(
            NotSpliced(at_ns=self._output.now_ns, symbol=self._symbol, source=source, beside=beside, reason=reason)
        )

    def aligned_by_content(self, *, source: int, beside: int) -> None:
        """See `journal.AlignedByContent`."""
        self._output.journal(
            AlignedByContent(at_ns=self._output.now_ns, symbol=self._symbol, source=source, beside=beside)
        )

    def gap(self, cause: str, left_ns: int, right_ns: int) -> None:
        """A gap that remains; its left edge may be by another clock than its right one, and is not later than that."""
        self.gaps += 1
        left_ns = min(left_ns, right_ns)
        self.gap_opened(cause, left_ns)
        self._output.journal(
            GapClosed(
                at_ns=self._output.now_ns,
                channel=Stream.LEVEL3.value,
                symbol=self._symbol,
                cause=cause,
                left_ns=left_ns,
                right_ns=right_ns,
            )
        )

    def gap_opened(self, cause: str, left_ns: int) -> None:
        """A gap that is open at the end."""
        self._output.journal(
            GapOpened(
                at_ns=self._output.now_ns,
                channel=Stream.LEVEL3.value,
                symbol=self._symbol,
                cause=cause,
                left_ns=left_ns,
            )
        )
