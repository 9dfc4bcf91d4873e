"""Verifies an archive: every checksum, and whatever cannot be in a book in step, counted for each symbol.

"Verified" means consistent with Kraken's checksum, which covers price, quantity and queue order of the 10 best levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.datafile import BLOCK_BYTES
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, Note, SymbolTally, Totals
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import walk

__all__ = ["FilePart", "Findings", "Located", "SymbolReport", "verify_part"]

#: What threads share is larger, since they wait for each other at its end.
SHARED_BLOCK_BYTES = 2 * BLOCK_BYTES
#: Notes kept of one run; tallies count everything.
MAX_NOTES = 1_000

Progress = Callable[[int], None]


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
class Findings:
    """What one run over an archive, or over a part of its symbols, found."""

    engine: str
    totals: Totals
    symbols: dict[str, SymbolReport]
    files: list[FilePart]
    notes: list[Located] = field(default_factory=list)

    def exit_code(self) -> int:
        """2: something is wrong. 3: something could not be verified, or there was nothing to verify. 0: all is well."""
        reports = self.symbols.values()
        if self.totals.malformed or any(report.bad for report in reports):
            return DamageFound.exit_code
        nothing = not any(report.tally.ok for report in reports)
        if nothing or self.totals.too_many_symbols or any(report.unverified for report in reports):
            return DataMissing.exit_code
        return 0

    def replace(self, other: Findings) -> None:
        """Take over the symbols that another run saw better."""
        for symbol, report in other.symbols.items():
            if symbol not in self.symbols or report.bad < self.symbols[symbol].bad:
                self.symbols[symbol] = report
                self.notes = [located for located in self.notes if located.note.symbol != symbol]
                self.notes += [located for located in other.notes if located.note.symbol == symbol]

    def merge(self, other: Findings) -> None:
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
        self.notes += other.notes


def verify_part(
    path: Path,
    facts: Sequence[SymbolMetadata],
    options: EngineOptions,
    *,
    engine_name: str = "auto",
    threads: int = 1,
    progress: Optional[Progress] = None,
) -> Findings:
    """Run one engine over an archive; `options` may restrict it to some symbols."""
    engine = make_engine(options, engine_name, threads=threads)
    files: list[FilePart] = []
    notes: list[Located] = []
    blamed: dict[str, str] = {}
    block_bytes = BLOCK_BYTES if threads <= 1 else SHARED_BLOCK_BYTES
    for step in walk(engine, open_archive(path), facts, block_bytes=block_bytes):
        name = step.path.name
        if not files or files[-1].file != name:
            files.append(FilePart(name))
        files[-1].lines += step.result.lines
        files[-1].bytes += len(step.block.data)
        if step.result.notes:
            notes += [Located(name, note) for note in step.result.notes[: MAX_NOTES - len(notes)]]
            _blame(engine.tallies(), blamed, name)
        if progress is not None:
            progress(len(step.block.data))
    symbols = {t.symbol: SymbolReport(t, blamed.get(t.symbol, "")) for t in engine.tallies() if t.messages}
    return Findings(engine.name, engine.totals(), symbols, files, notes)


def _blame(tallies: Sequence[SymbolTally], blamed: dict[str, str], file: str) -> None:
    """The first bad message of a symbol stands in the file in which it turned up; a symbol's first is always noted."""
    for tally in tallies:
        if tally.first_bad is not None:
            blamed.setdefault(tally.symbol, file)
