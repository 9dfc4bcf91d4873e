"""Whether a day is usable: one letter by a rule that everybody can check.

The rule for a minute is the one of the table `verdicts` (`export.verdicts.judge_minutes`).
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["GRADES", "RULE", "grade_of", "poorest"]

#: Letter and the least share of the day's 1,440 minutes that can be used.
GRADES = (("A", 0.999), ("B", 0.99), ("C", 0.95), ("D", 0.5), ("F", 0.0))
RULE = (
    "A minute is usable if all of it was recorded, without a gap, every message in it agreed with Kraken's checksum, "
    "and no earlier one failed it since the last snapshot. A: 99.9 % of the day's 1,440 minutes are usable, B: 99 %, "
    "C: 95 %, D: half, F: less. The day's grade is that of its poorest symbol."
)


def grade_of(usable: float) -> str:
    """The letter for a share of usable minutes, 0 to 1."""
    return next(letter for letter, least in GRADES if usable >= least)


def poorest(grades: Iterable[str]) -> str:
    """The poorest of several; F of none."""
    return max(grades, default="F")
