"""What verification found, as one object for programs and for the table: `total` and `symbols` with the same keys.

messages        level3 messages seen
ok              consistent with Kraken's checksum
mismatched      not consistent
incidents       runs of mismatches: from the first to the next match or snapshot
before_snapshot came before the symbol's first snapshot, or while a gap was open: cannot be judged
unverifiable    cannot be judged for another reason (`why` counts the reasons)
malformed       lines that are no message
gaps            gaps of the journal that lie within the data
findings        changes that cannot be (`kinds` counts them: unknown_id, crossed, wrong_side, too_deep)
first_bad       None, or {kind, file, line, offset, expected, computed}; lines count from 0, offsets are bytes
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import msgspec

from kraken_l3.archive.companions import CompanionDamage, companion_damage
from kraken_l3.archive.gaps import gaps_in, gaps_within, last_receive_ns
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import Unread
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.rebuild.verification import HiddenRest, Located, SymbolReport, Verification

__all__ = ["Report"]

_SUMS = (
    "messages",
    "ok",
    "mismatched",
    "incidents",
    "before_snapshot",
    "unverifiable",
    "malformed",
    "gaps",
    "findings",
)
_VERDICTS = {0: "verified", DamageFound.exit_code: "damaged", DataMissing.exit_code: "not all verifiable"}
_WITHOUT_COMPLETENESS = "verified, with gaps"
_NOT_LOOKED_AT = "not all looked at"

Counts = dict[str, Any]


class Report:
    """The findings of one or several paths together.

    Args:
        require_complete: whether a gap counts as something missing.
    """

    def __init__(self, *, require_complete: bool) -> None:
        self._require_complete = require_complete
        self._code = 0
        self.symbols: dict[str, Counts] = {}
        self.notes: list[Located] = []
        self.unread: list[Unread] = []
        self.hidden: list[HiddenRest] = []
        self.companions: list[CompanionDamage] = []
        self.lines = self.bytes = self.not_data = self.malformed = 0
        self.engine = ""

    def add(self, path: Path, found: Verification, companions: Optional[Sequence[CompanionDamage]] = None) -> None:
        """One more path was verified; `companions`: what is wrong beside its data, where that is known already."""
        if companions is None:
            # a recorder may be at work: what is half written is no damage yet
            companions = companion_damage(open_archive(path), is_growing=True)
        gaps = _gaps_within(path)
        for symbol in sorted({*found.symbols, *gaps}):
            counts = _counts(found.symbols.get(symbol), gaps[symbol])
            earlier = self.symbols.get(symbol)
            self.symbols[symbol] = counts if earlier is None else _sum(earlier, counts)
        self._code = _graver(self._code, found.exit_code())
        self.notes += found.notes
        self.unread += found.unread
        self.hidden += found.hidden
        self.companions += [*companions, *found.lies]
        self.lines += found.totals.lines
        self.bytes += sum(file.bytes for file in found.files)
        self.not_data += found.totals.not_data
        self.malformed += found.totals.malformed
        self.engine = found.engine

    def exit_code(self) -> int:
        """2: something is wrong. 3: something could not be verified, or is missing where that counts. 0: all well."""
        gaps = any(counts["gaps"] for counts in self.symbols.values())
        # a journal that cannot be read whole may have told of gaps
        is_incomplete = self._require_complete and (gaps or any(each.is_journal for each in self.companions))
        return _graver(self._code, DataMissing.exit_code if is_incomplete else 0)

    def verdict(self) -> str:
        """The exit code in words."""
        code = self.exit_code()
        if self.unread and code == DataMissing.exit_code:
            return _NOT_LOOKED_AT
        has_gaps = any(counts["gaps"] for counts in self.symbols.values())
        return _WITHOUT_COMPLETENESS if code == 0 and has_gaps else _VERDICTS[code]

    def total(self) -> Counts:
        """The sums over all symbols, and the earliest bad line of all."""
        sums: Counts = {name: sum(counts[name] for counts in self.symbols.values()) for name in _SUMS}
        sums["malformed"] += self.malformed
        bad = [counts["first_bad"] for counts in self.symbols.values() if counts["first_bad"]]
        bad += [_bad_of_note(located) for located in self.notes if located.note.kind == "malformed"]
        return {**sums, "first_bad": min(bad, key=lambda b: (b["file"], b["line"]), default=None)}

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "verdict": self.verdict(),
            "engine": self.engine,
            "lines": self.lines,
            "bytes": self.bytes,
            "not_data": self.not_data,
            "total": self.total(),
            "symbols": self.symbols,
            "hidden": [dataclasses.asdict(each) for each in self.hidden],
            "companions": [msgspec.to_builtins(each) for each in self.companions],
            "unread": [msgspec.to_builtins(each) for each in self.unread],
            "notes": [{"file": at.file, **dataclasses.asdict(at.note)} for at in self.notes],
        }


def _graver(one: int, other: int) -> int:
    order = (0, DataMissing.exit_code, DamageFound.exit_code)
    return max(one, other, key=order.index)


def _gaps_within(path: Path) -> Counter[str]:
    """Gaps of level3 by symbol."""
    archive = open_archive(path)
    gaps = gaps_in(archive, channel=Stream.LEVEL3)
    return Counter(gap.symbol for gap in gaps_within(gaps, last_receive_ns(archive, Stream.LEVEL3)))


def _counts(report: Optional[SymbolReport], gaps: int) -> Counts:
    if report is None:
        return {**dict.fromkeys(_SUMS, 0), "gaps": gaps, "first_bad": None, "why": {}, "kinds": {}}
    tally = report.tally
    first_bad = (
        None if tally.first_bad is None else {"file": report.first_bad_file, **dataclasses.asdict(tally.first_bad)}
    )
    return {
        "messages": tally.messages,
        "ok": tally.ok,
        "mismatched": tally.mismatched,
        "incidents": tally.incidents,
        "before_snapshot": tally.before_snapshot,
        "unverifiable": sum(tally.unverifiable.values()),
        "malformed": tally.malformed,
        "gaps": gaps,
        "findings": sum(tally.findings.values()),
        "first_bad": first_bad,
        "why": dict(tally.unverifiable),
        "kinds": dict(tally.findings),
        "snapshots": tally.snapshots,
        "state": tally.state.name.lower(),
        "depth": tally.depth,
        "depth_inferred": tally.depth_inferred,
        "price_precision": tally.price_precision,
        "qty_precision": tally.qty_precision,
        "precision_inferred": tally.precision_inferred,
    }


def _sum(one: Counts, other: Counts) -> Counts:
    sums = {name: one[name] + other[name] for name in _SUMS}
    kinds: Counts = {name: dict(Counter(one[name]) + Counter(other[name])) for name in ("why", "kinds")}
    return {**one, **other, **sums, **kinds, "first_bad": one["first_bad"] or other["first_bad"]}


def _bad_of_note(located: Located) -> Counts:
    note = located.note
    where = {"kind": note.kind, "file": located.file, "line": note.line, "offset": note.offset}
    return {**where, "expected": note.expected, "computed": note.computed}
