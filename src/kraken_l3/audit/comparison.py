"""A book that changes message by message, compared with one that stands still. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from kraken_l3.audit.rest_book import Order, OrderKey

__all__ = ["Comparison", "Nearest"]


class Nearest(NamedTuple):
    """The moment at which the changing book was most like the other one.

    Attributes:
        recv_ns: when its last message was received.
        recorded: the orders that differ, as they were in it; None for one that it did not have.
    """

    recv_ns: int
    recorded: dict[OrderKey, Optional[Order]]


class Comparison:
    """What differs is kept as the changes come: a message costs what it changes, however large the books are.

    Args:
        still: the orders of the book that stands still.
    """

    def __init__(self, still: Mapping[OrderKey, Order]) -> None:
        self._still = still
        self._changing: dict[OrderKey, Order] = {}
        self._different = set(still)
        self.nearest: Optional[Nearest] = None

    def clear(self) -> None:
        """The changing book lost all its orders."""
        self._changing.clear()
        self._different = set(self._still)

    def put(self, key: OrderKey, order: Optional[Order]) -> None:
        """An order came or changed; None: it is gone."""
        if order is None:
            self._changing.pop(key, None)
        else:
            self._changing[key] = order
        if self._still.get(key) == order:
            self._different.discard(key)
        else:
            self._different.add(key)

    def compare(self, recv_ns: int) -> bool:
        """The changing book stands as of a message received at this time: whether both are the same now."""
        if self.nearest is None or len(self._different) < len(self.nearest.recorded):
            recorded = {key: self._changing.get(key) for key in self._different}
            self.nearest = Nearest(recv_ns, recorded)
        return not self._different

    def put_all(self, changes: Iterable[tuple[OrderKey, Optional[Order]]]) -> None:
        """Several changes, in order."""
        for key, order in changes:
            self.put(key, order)
