"""What a verification found, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kraken_l3.archive.companions import CompanionDamage
from kraken_l3.archive.unread import Unread, unread_lines
from kraken_l3.engine.port import Note, SymbolTally, Totals
from kraken_l3.errors import DamageFound, DataMissing

__all__ = ["FilePart", "HiddenRest", "Located", "SymbolReport", "Verification"]


@dataclass(frozen=True)
class HiddenRest:
    """Damage that hides the rest of a file: a compressed frame that cannot be unpacked."""

    where: str
    what: str
    hint: str


@dataclass(frozen=True)
class Located:
    """A note with the file it belongs to."""

    file: str
    note: Note


@dataclass
class SymbolReport:
    """A symbol's tally with the file of its first bad message."""

    tally: SymbolTally
    first_bad_file: str = ""

    @property
    def bad(self) -> int:
        """Things that are wrong: mismatches, unreadable messages, findings."""
        return self.tally.mismatched + self.tally.malformed + sum(self.tally.findings.values())

    @property
    def unverified(self) -> int:
        """Messages that could not be judged."""
        return self.tally.before_snapshot + sum(self.tally.unverifiable.values())


@dataclass
class FilePart:
    """How much of a file was read."""

    file: str
    lines: int = 0
    bytes: int = 0


@dataclass
class Verification:
    """What one run over an archive, or over a part of its symbols, found.

    Attributes:
        left_out: (file, offset of a block): lines of it with level3 messages that could not be read.
        unread_files: files beside the data that were not looked at.
        lies: checkpoints that hold another book than the data leads to.
        hidden: where files could not be read any further; the files behind them were.
    """

    engine: str
    totals: Totals
    symbols: dict[str, SymbolReport]
    files: list[FilePart]
    notes: list[Located] = field(default_factory=list)
    left_out: dict[tuple[str, int], int] = field(default_factory=dict)
    unread_files: list[Unread] = field(default_factory=list)
    hidden: list[HiddenRest] = field(default_factory=list)
    lies: list[CompanionDamage] = field(default_factory=list)

    @property
    def unread(self) -> list[Unread]:
        """What was not looked at: files, and lines in files."""
        lines: Counter[str] = Counter()
        for (file, _), count in self.left_out.items():
            lines[file] += count
        return [*self.unread_files, *(unread_lines(file, count) for file, count in lines.items())]

    def exit_code(self) -> int:
        """2: something is wrong. 3: something was not verified or not looked at, or nothing was. 0: all is well."""
        reports = self.symbols.values()
        if self.hidden or self.totals.malformed or any(report.bad for report in reports):
            return DamageFound.exit_code
        nothing = not any(report.tally.ok for report in reports)
        if self.unread or nothing or self.totals.too_many_symbols or any(report.unverified for report in reports):
            return DataMissing.exit_code
        return 0

    def merge(self, other: Verification) -> None:
        """Add another part of the same archive."""
        mine, others = self.totals, other.totals
        self.totals = Totals(
            mine.lines,
            mine.not_data + others.not_data,
            mine.malformed + others.malformed,
            mine.skipped + others.skipped - mine.lines,
            mine.too_many_symbols + others.too_many_symbols,
        )
        self.symbols.update(other.symbols)
        order = {part.file: number for number, part in enumerate(self.files)}
        self.notes += other.notes
        self.notes.sort(key=lambda located: (order[located.file], located.note.line, located.note.symbol))
        self.left_out.update(other.left_out)
        self.lies += other.lies
