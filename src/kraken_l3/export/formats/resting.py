"""The resting orders of a book, followed through events in columns: what each event found, and what rests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import ORDER_ID_BYTES
from kraken_l3.export.records import OVERFLOW_ID, Records
from kraken_l3.model.events import Action, Side

__all__ = ["Orders", "RestingOrders"]

_FIRST_SLOTS = 1024


class Orders(NamedTuple):
    """Orders in columns of one length.

    Attributes:
        order_id: index into `ids`.
        side, price, qty, order_ns: as in `records.EVENT`.
        rests: whether there is such an order; if not, the rest of its row says nothing.
        ids: UTF-8.
    """

    order_id: Records
    side: Records
    price: Records
    qty: Records
    order_ns: Records
    rests: Records
    ids: Sequence[bytes]


class RestingOrders:
    """All orders that rest, each in a slot of its own as long as it does."""

    def __init__(self) -> None:
        self._slots: dict[bytes, int] = {}
        self._free: list[int] = []
        self._ids: list[bytes] = []
        self._state = np.zeros(0, _SLOT)
        self._events = 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self._state["rests"]))

    def apply(self, records: Records, overflow_ids: Sequence[str]) -> Orders:
        """Follow events without a CLEAR; gives for each its order as it rested just before."""
        slots, index, ids = self._slots_of(records["order_id"], overflow_ids)
        gone = (records["action"] == Action.DELETE) | (records["action"] == Action.EVICT)
        order = np.argsort(slots, kind="stable")  # each order's events together, in turn
        slot = slots[order]
        first = np.ones(len(slot), bool)
        first[1:] = slot[1:] != slot[:-1]
        event = np.zeros(len(slot), _SLOT)
        for name in ("side", "price", "qty", "order_ns"):
            event[name] = records[_EVENT_NAMES.get(name, name)][order]
        event["rests"] = ~gone[order]
        before = np.empty_like(event)
        before[1:] = event[:-1]
        before[first] = self._state[slot[first]]

        stays = before["rests"] & (before["price"] == event["price"]) & (before["order_ns"] == event["order_ns"])
        starts = np.maximum.accumulate(np.where(first, np.arange(len(slot)), 0))
        for name, renews in (("arrival", ~stays), ("entry", ~before["rests"])):
            newest = np.maximum.accumulate(np.where(renews & event["rests"], np.arange(len(slot)), -1))
            event[name] = np.where(newest >= starts, self._events + order[newest], self._state[name][slot])
        self._events += len(slot)

        last = np.append(first[1:], True)
        self._state[slot[last]] = event[last]
        self._release(slot[last & ~event["rests"]].tolist())
        found = np.empty_like(before)
        found[order] = before
        return _orders(found, index, ids)

    def replace(self, records: Records, overflow_ids: Sequence[str]) -> tuple[Orders, Orders, Records]:
        """Take a whole new book, as a snapshot brings it.

        Returns:
            The orders that rested before, oldest entry first; for each new one its order as it rested before; and for
            each of those before, the index of the new one with its id (-1: none).
        """
        slots, index, ids = self._slots_of(records["order_id"], overflow_ids)
        found = _orders(self._state[slots], index, ids)
        rested = np.flatnonzero(self._state["rests"])
        rested = rested[np.argsort(self._state["entry"][rested], kind="stable")]
        before = self._of_slots(rested)
        successor = np.full(len(self._state), -1)
        successor[slots] = np.arange(len(slots))
        self._state["rests"][rested] = False
        self._release(rested[successor[rested] < 0].tolist())
        for name in ("side", "price", "qty", "order_ns"):
            self._state[name][slots] = records[_EVENT_NAMES.get(name, name)]
        self._state["rests"][slots] = True
        for name in ("arrival", "entry"):
            self._state[name][slots] = self._events + np.arange(len(slots))
        self._events += len(slots)
        return before, found, successor[rested]

    def in_order(self) -> Orders:
        """All orders: bids then asks, best level first, each level in the order in which it is served."""
        rested = np.flatnonzero(self._state["rests"])
        state = self._state[rested]
        is_ask = state["side"] == Side.ASK
        place = (state["arrival"], state["order_ns"], np.where(is_ask, state["price"], -state["price"]), is_ask)
        return self._of_slots(rested[np.lexsort(place)])

    def _of_slots(self, slots: Records) -> Orders:
        ids = [self._ids[slot] for slot in slots.tolist()]
        return _orders(self._state[slots], np.arange(len(slots)), ids)

    def _slots_of(self, order_ids: Records, overflow_ids: Sequence[str]) -> tuple[Records, Records, list[bytes]]:
        """Each event's slot, its index into the ids, and the ids."""
        order_ids = np.ascontiguousarray(order_ids)
        fixed = pa.Array.from_buffers(pa.binary(ORDER_ID_BYTES), len(order_ids), [None, pa.py_buffer(order_ids)])
        encoded = fixed.dictionary_encode()  # hashes: many times as fast as sorting texts
        index = encoded.indices.to_numpy()
        ids = [key.rstrip(b"\0") for key in encoded.dictionary.to_pylist()]
        if overflow_ids:  # there, the same id stands in several places
            whole = [overflow_ids[int(i[1:])].encode() if i.startswith(OVERFLOW_ID) else i for i in ids]
            places = {order_id: place for place, order_id in enumerate(dict.fromkeys(whole))}
            index, ids = np.array([places[order_id] for order_id in whole], np.int64)[index], list(places)
        known = self._slots
        slots = np.array([known.get(order_id, -1) for order_id in ids], np.int64)
        unknown = np.flatnonzero(slots < 0).tolist()
        self._grow(len(unknown))
        for place in unknown:
            slot = slots[place] = self._free.pop()
            self._slots[ids[place]] = slot
            self._ids[slot] = ids[place]
        return slots[index], index, ids

    def _grow(self, wanted: int) -> None:
        size = len(self._ids)
        more = max(size, wanted, _FIRST_SLOTS) if wanted > len(self._free) else 0
        self._free += range(size, size + more)
        self._ids += [b""] * more
        self._state = np.append(self._state, np.zeros(more, _SLOT))

    def _release(self, slots: Sequence[int]) -> None:
        for slot in slots:
            del self._slots[self._ids[slot]]
        self._free += slots


#: `arrival`: when the order took its place in its level; `entry`: when it came to rest. Both count events.
_SLOT = np.dtype(
    [
        ("side", "u1"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("order_ns", "<i8"),
        ("arrival", "<i8"),
        ("entry", "<i8"),
        ("rests", "?"),
    ]
)
_EVENT_NAMES = {"order_ns": "ts_order"}


def _orders(state: Records, index: Records, ids: Sequence[bytes]) -> Orders:
    return Orders(index, state["side"], state["price"], state["qty"], state["order_ns"], state["rests"], ids)
