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


class Orders(NamedTuple):
    """Orders in columns of one length.

    Attributes:
        order_id: index into `ids`.
        side, price, qty, order_ns: as in `records.EVENT`.
        rests: whether there is such an order; if not, the rest of its row says nothing.
        ids: an array of UTF-8 texts, each once.
    """

    order_id: Records
    side: Records
    price: Records
    qty: Records
    order_ns: Records
    rests: Records
    ids: Records


class RestingOrders:
    """All orders that rest."""

    def __init__(self) -> None:
        self._resting = np.zeros(0, _ORDER)
        self._events = 0
        self._overflow: dict[str, bytes] = {}  # ids that do not fit, each with the one record's id that stands for it

    def __len__(self) -> int:
        return len(self._resting)

    def apply(self, records: Records, overflow_ids: Sequence[str]) -> Orders:
        """Follow events without a CLEAR; gives for each its order as it rested just before."""
        resting, count = self._resting, len(self._resting)
        gone = (records["action"] == Action.DELETE) | (records["action"] == Action.EVICT)
        all_of_them = np.append(resting, self._orders_of(records, ~gone, overflow_ids))
        index, ids = self._numbered(all_of_them["id"])

        order = np.argsort(index, kind="stable")  # each order's events together, in turn: first as it rested before
        event = all_of_them[order]
        first = np.append(True, index[order][1:] != index[order][:-1])[: len(order)]
        before = np.zeros_like(event)
        before[1:] = event[:-1]
        before["rests"][first] = False
        stays = before["rests"] & (before["price"] == event["price"]) & (before["order_ns"] == event["order_ns"])
        last = np.flatnonzero(np.append(first[1:], True)[: len(order)] & event["rests"])
        self._resting = event[last]
        for name, renews in (("arrival", ~stays), ("entry", ~before["rests"])):
            newest = np.maximum.accumulate(np.where(renews & event["rests"], np.arange(len(order)), -1))
            self._resting[name] = event[name][newest[last]]
        found = np.empty_like(before)
        found[order] = before
        return _columns(found[count:], index[count:], ids)

    def replace(self, records: Records, overflow_ids: Sequence[str]) -> tuple[Orders, Orders, Records]:
        """Take a whole new book, as a snapshot brings it.

        Returns:
            The orders that rested before, oldest entry first; for each new one its order as it rested before; and for
            each of those before, the index of the new one with its id (-1: none).
        """
        before = self._resting[np.argsort(self._resting["entry"], kind="stable")]
        self._resting = self._orders_of(records, np.ones(len(records), bool), overflow_ids)
        index, ids = self._numbered(np.append(before["id"], self._resting["id"]))
        old, new = index[: len(before)], index[len(before) :]
        place = np.full(len(ids), -1)
        place[new] = np.arange(len(new))
        successor = place[old]
        place[:] = -1
        place[old] = np.arange(len(old))
        found = np.append(before, np.zeros(1, _ORDER))[place[new]]  # -1: the last, which is none
        return _columns(before, old, ids), _columns(found, new, ids), successor

    def in_order(self) -> Orders:
        """All orders: bids then asks, best level first, each level in the order in which it is served."""
        resting = self._resting
        is_ask = resting["side"] == Side.ASK
        place = (resting["arrival"], resting["order_ns"], np.where(is_ask, resting["price"], -resting["price"]), is_ask)
        resting = resting[np.lexsort(place)]
        return _columns(resting, *self._numbered(resting["id"]))

    def _orders_of(self, records: Records, rests: Records, overflow_ids: Sequence[str]) -> Records:
        """The orders as the events leave them; each event counts as an arrival and an entry."""
        orders = np.empty(len(records), _ORDER)
        for name in ("side", "price", "qty"):
            orders[name] = records[name]
        orders["id"] = self._one_each(records["order_id"], overflow_ids) if overflow_ids else records["order_id"]
        orders["order_ns"], orders["rests"] = records["ts_order"], rests
        orders["arrival"] = orders["entry"] = self._events + np.arange(len(records))
        self._events += len(records)
        return orders

    def _one_each(self, ids: Records, overflow_ids: Sequence[str]) -> Records:
        """Where an id does not fit a record, it stands in several places: the first stands for it from now on."""
        ids = ids.copy()
        for place in np.flatnonzero(_is_overflow(ids)).tolist():
            ids[place] = self._overflow.setdefault(overflow_ids[int(ids[place][1:])], ids[place])
        return ids

    def _numbered(self, ids: Records) -> tuple[Records, Records]:
        """Each id as an index into the ids, and these, each once."""
        ids = np.ascontiguousarray(ids)
        fixed = pa.Array.from_buffers(pa.binary(ORDER_ID_BYTES), len(ids), [None, pa.py_buffer(ids)])
        encoded = fixed.dictionary_encode()  # hashes: many times as fast as sorting texts
        texts = np.frombuffer(encoded.dictionary.buffers()[1], ids.dtype, len(encoded.dictionary))
        if self._overflow and _is_overflow(texts).any():
            whole = {key: text.encode() for text, key in self._overflow.items()}
            texts = np.array([whole.get(text, text) for text in texts.tolist()], object)
        return np.frombuffer(encoded.indices.buffers()[1], np.int32, len(ids)), texts


#: `arrival`: when the order took its place in its level; `entry`: when it came to rest. Both count events.
_ORDER = np.dtype(
    [
        ("id", f"S{ORDER_ID_BYTES}"),
        ("side", "u1"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("order_ns", "<i8"),
        ("arrival", "<i8"),
        ("entry", "<i8"),
        ("rests", "?"),
    ]
)


def _is_overflow(ids: Records) -> Records:
    letters = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), ORDER_ID_BYTES)
    return letters[:, 0] == OVERFLOW_ID[0]


def _columns(orders: Records, index: Records, ids: Records) -> Orders:
    columns = (orders["side"], orders["price"], orders["qty"], orders["order_ns"], orders["rests"])
    return Orders(index, *columns, ids)
