"""What a recording has come to, for the moment when it ends."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple, Optional

from kraken_l3.app.recorder import Recorder
from kraken_l3.config.settings import Settings
from kraken_l3.monitor.units import age, size

__all__ = ["RecordingSummary", "summary_of"]

#: So many symbols are named, the rest is counted.
NAMED = 5


class RecordingSummary(NamedTuple):
    """A recording that has ended.

    Attributes:
        directory: of the archive.
        seconds: how long it ran.
        symbols: how many were to be recorded.
        recorded: how many of them were whole at least once.
        rejected: those that Kraken had rejected when it ended.
        messages: messages of all channels that were written.
        written_bytes: their size.
        gaps: gaps of all symbols, without the end of the recording itself.
        verified: messages whose checksum agreed (None: no verifier ran).
        mismatched: messages whose checksum did not.
    """

    directory: str
    seconds: float
    symbols: int
    recorded: int
    rejected: Sequence[str]
    messages: int
    written_bytes: int
    gaps: int
    verified: Optional[int]
    mismatched: int

    def lines(self) -> list[str]:
        """For people: what there is, what is not, and what to do next."""
        lines = []
        if self.recorded:
            checked = f", {self.verified:,} verified" if self.verified is not None else ""
            checked += f", {self.mismatched:,} MISMATCHED" if self.mismatched else ""
            lines.append(
                f"Recorded {self.messages:,} messages of {self.recorded} of {self.symbols} symbols in "
                f"{age(self.seconds)}: {size(self.written_bytes)} in {self.directory}, "
                f"{self.gaps:,} gap{'' if self.gaps == 1 else 's'}{checked}."
            )
        if self.rejected:
            names = ", ".join(self.rejected[:NAMED])
            names += f" and {len(self.rejected) - NAMED} more" if len(self.rejected) > NAMED else ""
            lines.append(f"Kraken rejected {names}. Check the names (BTC/USD, not XBT/USD or BTC/USDD).")
        if not self.recorded:
            reason = "" if self.rejected else f": no snapshot came within {age(self.seconds)}. The log above says why"
            lines.append(f"Nothing was recorded{reason}.")
        else:
            lines.append(f"Next: kraken-l3 verify {shlex.quote(self.directory)}")
        return lines


def summary_of(recorder: Recorder, settings: Settings, seconds: float) -> RecordingSummary:
    """The summary of a recorder that has run."""
    sink, gaps, supervisor, verifier = recorder.sink, recorder.gaps, recorder.supervisor, recorder.verifier
    return RecordingSummary(
        directory=str(settings.output_dir),
        seconds=seconds,
        symbols=len(recorder.symbols),
        recorded=len(gaps.recorded) if gaps is not None else 0,
        rejected=supervisor.rejected if supervisor is not None else [],
        messages=sink.written_frames if sink is not None else 0,
        written_bytes=sink.written_bytes if sink is not None else 0,
        gaps=sum(gaps.counts.values()) if gaps is not None else 0,
        verified=verifier.progress.ok if verifier is not None else None,
        mismatched=verifier.progress.mismatched if verifier is not None else 0,
    )
