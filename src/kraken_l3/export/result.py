"""What an export made, for the command's report and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from kraken_l3.engine.port import Engine, SymbolTally
from kraken_l3.errors import KrakenL3Error

__all__ = ["EngineCounts", "ExportResult", "ExportedFile", "SymbolCounts"]


@dataclass
class ExportedFile:
    """One file that was written.

    Attributes:
        symbol: the pair.
        date: UTC day of a table's file, or "unknown"; None for other tools' files, whose names have it.
        name: below the output directory.
        rows: of a table; None for other tools' files.
        bytes: size.
        left_out: rows over gaps that are not in it.
        suspect: rows whose book may be wrong.
    """

    symbol: str
    date: Optional[str]
    name: str
    rows: Optional[int]
    bytes: int
    left_out: int = 0
    suspect: int = 0


@dataclass
class ExportResult:
    """Files written, and what was read for them; messages are counted as in `verify`.

    Attributes:
        already_there: how many of `files` an earlier export had written.
        notes: what a person should know of the files, a sentence each.
        hidden: damage that hides the rest of a source file; the files behind it were read.
    """

    files: list[ExportedFile] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    messages: int = 0
    ok: int = 0
    bad: int = 0
    unverified: int = 0
    already_there: int = 0
    notes: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    def add(self, other: ExportResult) -> None:
        """Add another result's files and counts."""
        self.files += other.files
        self.notes += other.notes
        self.hidden += [each for each in other.hidden if each not in self.hidden]
        for name in ("lines", "bytes", "messages", "ok", "bad", "unverified", "already_there"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def hide(self, damage: KrakenL3Error) -> None:
        """Some of the source cannot be read."""
        self.hidden.append(". ".join(filter(None, [f"{damage.where}: {damage.what}", damage.hint])))

    def exit_code(self) -> int:
        """2: some of the data is wrong (its rows are marked suspect) or hidden. 3: some not verified. 0: all well."""
        if self.bad or self.hidden:
            return 2
        return 3 if self.unverified or not self.files else 0


class EngineCounts:
    """An engine's tallies, from one file's end to the next, and lines that it could not be given.

    Where several engines have a share of the symbols each, the first `share` counts those lines.
    """

    def __init__(self, engine: Engine, share: int = 0) -> None:
        self._engine, self._share = engine, share
        self._left_out = 0
        self._last: Sequence[int] = (0, 0, 0, 0)

    def leave_out(self, lines: int) -> None:
        """Some more lines that the engine could not be given."""
        if self._share == 0:
            self._left_out += lines

    def since_last(self) -> tuple[int, int, int, int]:
        """(messages, ok, bad, unverified)."""
        now = _counts(self._engine.tallies(), self._engine.totals().malformed, self._left_out)
        messages, ok, bad, unverified = (a - b for a, b in zip(now, self._last))
        self._last = now
        return messages, ok, bad, unverified


class SymbolCounts:
    """As `EngineCounts`, for each symbol; lines that have none count for all."""

    def __init__(self, engine: Engine, symbols: Sequence[str]) -> None:
        self._engine, self._symbols = engine, symbols
        self._left_out = 0
        self._last: dict[str, tuple[int, int, int, int]] = {}

    def leave_out(self, lines: int) -> None:
        """See `EngineCounts.leave_out`."""
        self._left_out += lines

    def since_last(self) -> dict[str, tuple[int, int, int, int]]:
        """(messages, ok, bad, unverified) of each."""
        tallies = {tally.symbol: [tally] for tally in self._engine.tallies()}
        malformed = self._engine.totals().malformed
        now = {symbol: _counts(tallies.get(symbol, ()), malformed, self._left_out) for symbol in self._symbols}
        found = {}
        for symbol, counts in now.items():
            messages, ok, bad, unverified = (a - b for a, b in zip(counts, self._last.get(symbol, (0, 0, 0, 0))))
            found[symbol] = messages, ok, bad, unverified
        self._last = now
        return found


def _counts(tallies: Sequence[SymbolTally], malformed: int, left_out: int) -> tuple[int, int, int, int]:
    bad = malformed + sum(t.mismatched + t.malformed + sum(t.findings.values()) for t in tallies)
    unverified = left_out + sum(t.before_snapshot + sum(t.unverifiable.values()) for t in tallies)
    return sum(t.messages for t in tallies), sum(t.ok for t in tallies), bad, unverified
