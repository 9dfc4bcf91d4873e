"""Which days may be removed here: none that was not verified, none that is not proved to be elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

__all__ = ["KeptDay", "Limits", "held_back", "to_remove"]

#: What the manifest must say of a day's level3 data.
_VERIFIED = ("verified", "verified, with gaps")


class Limits(NamedTuple):
    """How much is kept here; None: no limit. The days of today and yesterday always stay."""

    days: Optional[int] = None
    bytes: Optional[int] = None


class KeptDay(NamedTuple):
    """One day of the archive directory.

    Attributes:
        day: the UTC day.
        bytes: of all its files.
        is_sealed: it has a manifest, and its files are as that says.
        verdict: of its level3 data, as in the manifest; None where there is none.
        is_elsewhere: every file of it was read back from the store with the right SHA-256.
    """

    day: dt.date
    bytes: int
    is_sealed: bool = False
    verdict: Optional[str] = None
    is_elsewhere: bool = False


def held_back(kept: KeptDay) -> Optional[str]:
    """Why a day must stay, in words; None if it may go."""
    if not kept.is_sealed:
        return "is not sealed, or not as it was sealed"
    if kept.verdict not in _VERIFIED:
        return f"was not verified ({kept.verdict or 'no level3 data'})"
    return None if kept.is_elsewhere else "is not proved to be in the store"


def to_remove(days: Iterable[KeptDay], limits: Limits, today: dt.date) -> tuple[list[KeptDay], list[KeptDay]]:
    """The days to remove, and those that the limits would remove and that must stay; oldest first.

    A day that must stay counts against the limit of bytes, and younger ones that may go go in its place.
    """
    ordered: Sequence[KeptDay] = sorted(days)
    total = sum(each.bytes for each in ordered)
    removed, held = [], []
    for each in ordered:
        is_old = limits.days is not None and (today - each.day).days > limits.days
        is_much = limits.bytes is not None and total > limits.bytes
        if (today - each.day).days <= 1 or not (is_old or is_much):
            continue
        if held_back(each) is None:
            removed.append(each)
            total -= each.bytes
        else:
            held.append(each)
    return removed, held
