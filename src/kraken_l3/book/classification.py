"""What a change of the book most likely was, told from the book alone.

Kraken's wire says add, modify, delete; what they mean was inferred from genuine recordings (docs/verification.md):

- delete: quantity 0 is a fill; a time later than the order's own is a cancel; the order's own time is an amend, whose
  add follows.
- add: of an id being amended (or still resting): an amend. Of an order no newer than what was already seen: it rested
  outside the depth window and is back, a re-entry. Else it is new.
- modify in place to less: a partial fill if the same message fills other orders of that side, else a reduction, which
  may be a partial fill or the owner's doing: only the trades tell. Requeued or to more: an amend.
"""

from __future__ import annotations

from kraken_l3.model.events import Classification

__all__ = ["MAX_AMENDING", "Memory", "classify_delete", "classify_modify"]

#: Ids of amends under way that are remembered: Kraken adds such an order again at once, so that older ones never come.
MAX_AMENDING = 4_096


def classify_delete(stated_qty: int, stated_ns: int, order_ns: int) -> Classification:
    """The classification of a delete of a resting order."""
    if stated_qty == 0:
        return Classification.FILL
    if stated_ns == order_ns:
        return Classification.AMEND if stated_ns else Classification.UNKNOWN
    return Classification.CANCEL if stated_ns > order_ns > 0 else Classification.UNKNOWN


def classify_modify(*, change: int, requeued: bool, array_fills: bool) -> Classification:
    """The classification of a modify of a resting order."""
    if requeued or change > 0:
        return Classification.AMEND
    if change == 0:
        return Classification.UNKNOWN
    return Classification.PARTIAL_FILL if array_fills else Classification.REDUCTION


class Memory:
    """What earlier messages of a symbol leave behind for the classification of later adds."""

    __slots__ = ("amending", "newest_ns")

    def __init__(self, newest_ns: int = 0, amending: tuple[str, ...] = ()) -> None:
        self.newest_ns = newest_ns
        self.amending: dict[str, None] = dict.fromkeys(amending)

    def remember_amend(self, order_id: str) -> None:
        """An order was deleted in order to be added again; the oldest beyond `MAX_AMENDING` are forgotten."""
        self.amending.pop(order_id, None)
        self.amending[order_id] = None
        if len(self.amending) > MAX_AMENDING:
            del self.amending[next(iter(self.amending))]

    def classify_add(self, order_id: str, order_ns: int, *, replaces: bool) -> Classification:
        """The classification of an add; an amend is over with it."""
        if order_id in self.amending:
            del self.amending[order_id]
            return Classification.AMEND
        if replaces:
            return Classification.AMEND
        if order_ns == 0:
            return Classification.UNKNOWN
        return Classification.REENTRY if order_ns <= self.newest_ns else Classification.NEW
