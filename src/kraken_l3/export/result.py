"""What an export made, for the command's report and its exit code."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ExportResult", "TableFile"]


@dataclass
class TableFile:
    """One file that was written: `rows` in it, `left_out` over gaps, `suspect` (the book may be wrong)."""

    symbol: str
    date: str
    name: str
    rows: int
    bytes: int
    left_out: int = 0
    suspect: int = 0


@dataclass
class ExportResult:
    """Files written, and what was read for them; messages are counted as in `verify`.

    Attributes:
        already_there: how many of `files` an earlier export had written.
    """

    files: list[TableFile] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    messages: int = 0
    ok: int = 0
    bad: int = 0
    unverified: int = 0
    already_there: int = 0

    def add(self, other: ExportResult) -> None:
        """Add another result's files and counts."""
        self.files += other.files
        for name in ("lines", "bytes", "messages", "ok", "bad", "unverified", "already_there"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def exit_code(self) -> int:
        """2: some of the data is wrong (its rows are marked suspect). 3: some could not be verified. 0: all is well."""
        if self.bad:
            return 2
        return 3 if self.unverified or not self.files else 0
