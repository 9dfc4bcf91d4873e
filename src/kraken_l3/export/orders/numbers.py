"""The numbers of one pair's lives in columns: a slot a life, from its birth until all is known of it."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from kraken_l3.engine.port import LARGEST_PRICE
from kraken_l3.export.orders.life import (
    FAR,
    LIFE,
    LONGEST_NS,
    MIDS,
    NO_DAY,
    NO_MID,
    Birth,
    Certainty,
    EndCause,
)
from kraken_l3.export.orders.mid_prices import MidPrices
from kraken_l3.export.records import Records
from kraken_l3.export.schema import LAST, MAYBE_BAD_BOOK
from kraken_l3.model.events import Action, Classification, Side

__all__ = ["NOBODY", "LifeNumbers", "Run"]

#: Fields of `records.EVENT` that are those of a life at its birth.
_AS_THEY_ARE = (
    *("ts_order", "price", "price_scale", "qty", "qty_scale", "side", "order_id"),
    *("level", "queue_position", "qty_ahead"),
)
#: The slot of an event of no known order.
NOBODY = -1
_FIRST_SLOTS = 64
_EPOCH = dt.date(1970, 1, 1)

_BIRTHS = np.full(len(Classification), Birth.UNKNOWN, np.uint8)
_CAUSES = np.full(len(Classification), EndCause.UNKNOWN, np.uint8)
for _what, _birth in (
    (Classification.NEW, Birth.NEW),
    (Classification.AMEND, Birth.AMEND),
    (Classification.REENTRY, Birth.REENTRY),
    (Classification.NONE, Birth.SNAPSHOT),
):
    _BIRTHS[_what] = _birth
for _what, _cause in (
    (Classification.FILL, EndCause.FILL),
    (Classification.CANCEL, EndCause.CANCEL),
    (Classification.AMEND, EndCause.AMEND),
):
    _CAUSES[_what] = _cause
#: A fill is stated by the message (quantity 0); cancel and amend are told by times; the rest is what was seen.
_CERTAINTIES = np.full(len(EndCause), Certainty.CERTAIN, np.uint8)
_CERTAINTIES[[EndCause.CANCEL, EndCause.AMEND]] = Certainty.LIKELY
_CERTAINTIES[EndCause.UNKNOWN] = Certainty.UNSURE


class Run:
    """Events of whole messages, none of them a snapshot but the first, and what the loop finds out about them.

    Attributes:
        slot: the life of each event; the new one's where a modify ends a life and begins one.
        births: event, slot, best price of its side, orders at better prices, amends before; one life after the other.
        losses: slot, quantity that it lost out of sight; likewise.
        ends: event, slot, whether the event says why (else the life ended when the window let it go); likewise, and
            without deletes, each of which ends its life.
    """

    def __init__(self, records: Records, times: Records, classification: Records, ids: Sequence[bytes]) -> None:
        self.records, self.times, self.classification, self.ids = records, times, classification, ids
        self.slot = [NOBODY] * len(times)
        self.births: list[int] = []
        self.losses: list[int] = []
        self.ends: list[int] = []
        self.side, self.price, self.level = (records[name].tolist() for name in ("side", "price", "level"))
        self.what = classification.tolist()

    def events(self) -> Iterator[tuple[int, int, bytes, int, int, int, int, int, bool]]:
        """Action, classification, id, side, level, price, quantity, time of the order, whether its message ends."""
        action, qty, order_ns = (self.records[name].tolist() for name in ("action", "qty", "ts_order"))
        is_last = (self.records["flags"] & LAST != 0).tolist()
        return zip(action, self.what, self.ids, self.side, self.level, self.price, qty, order_ns, is_last)


class _Ends(NamedTuple):
    """The lives that end, in order: by which event, slot, whether the event says why."""

    at: Records
    slot: Records
    told: Records


def _ends_of(run: Run, deleted: Records, slot: Records) -> _Ends:
    at, others, told = _columns(run.ends, 3)
    at, slots = np.append(deleted, at), np.append(slot[deleted], others)
    told = np.append(np.ones(len(deleted), bool), told != 0)
    order = np.argsort(at, kind="stable")
    return _Ends(at[order], slots[order], told[order])


class LifeNumbers:
    """The lives of one pair that have begun and were not given out yet.

    Attributes:
        state: of `LIFE`, by slot.
        mids: fills in the mid prices.
        scale: decimals of prices.
        last_ns: up to when the book is known.
    """

    def __init__(self) -> None:
        self.state = np.zeros(0, LIFE)
        self.mids = MidPrices()
        self.scale = 0
        self.last_ns = 0
        self._is_suspect = False
        self._free: list[int] = []
        self._ended: deque[Records] = deque()

    def new_slot(self) -> int:
        """For a life that begins."""
        if not self._free:
            size = len(self.state)
            more = max(size, _FIRST_SLOTS)
            self._free += range(size, size + more)
            self.state = np.append(self.state, np.zeros(more, LIFE))
        return self._free.pop()

    def end_all(self, hidden: Sequence[int], visible: Sequence[int], cause: EndCause, at_ns: int) -> None:
        """All lives end: those in these slots outside the window when they left it, the visible ones now."""
        state, evicted, ended = self.state, np.array(hidden, np.int64), np.array(visible, np.int64)
        state["end_cause"][evicted], state["certainty"][evicted] = EndCause.EVICT, Certainty.CERTAIN
        state["end_cause"][ended], state["certainty"][ended] = cause, Certainty.CERTAIN
        state["ts_end"][ended], state["suspect"][ended] = at_ns, self._is_suspect
        state["time_in_window_ns"][ended] += at_ns
        self._ended += evicted, ended
        self.last_ns, self._is_suspect = at_ns, False

    def gather(self, run: Run, confidence: Optional[Records], day: Optional[dt.date]) -> None:
        """Write down what a run's events say of their lives."""
        records, times, slot = run.records, run.times, np.array(run.slot, np.int64)
        self.scale = int(records["price_scale"][0])
        self.mids.settle(self.scale)
        came, born, *at_birth = _columns(run.births, 5)
        self._write_births(run, came, born, at_birth, (day - _EPOCH).days if day is not None else NO_DAY)
        state, action, known = self.state, records["action"], slot != NOBODY
        came_in = (action == Action.ADD) | (action == Action.SNAPSHOT)
        is_birth = np.zeros(len(slot), bool)
        is_birth[came] = True
        np.add.at(state["reentries"], slot[came_in & ~is_birth], 1)
        deleted, evicted = (np.flatnonzero(known & (action == each)) for each in (Action.DELETE, Action.EVICT))
        ends = _ends_of(run, deleted, slot)
        in_window = state["time_in_window_ns"]  # less the time when an order comes in, and more that when it goes out
        came_in = np.flatnonzero(came_in | is_birth)
        np.subtract.at(in_window, slot[came_in], times[came_in])
        np.add.at(in_window, slot[evicted], times[evicted])
        left = ends.told & (action[ends.at] != Action.ADD)  # the order that an add replaces was evicted just before
        np.add.at(in_window, ends.slot[left], times[ends.at[left]])
        fills = np.flatnonzero(known & np.isin(run.classification, (Classification.FILL, Classification.PARTIAL_FILL)))
        self._add_fills(fills, slot[fills], run, confidence)
        reductions = np.flatnonzero(known & (run.classification == Classification.REDUCTION))
        _add(state["reduced_qty"], slot[reductions], -records["change"][reductions])
        losing, lost = _columns(run.losses, 2)
        _add(state["reduced_qty"], losing, lost)
        state["ts_end"][slot[evicted]] = times[evicted]
        state["suspect"][slot[evicted]] = records["flags"][evicted] & MAYBE_BAD_BOOK != 0
        self._write_ends(run, ends, confidence)
        self.last_ns = max(self.last_ns, int(times[-1]))
        self._is_suspect = bool(records["flags"][-1] & MAYBE_BAD_BOOK)

    def _write_births(self, run: Run, at: Records, slot: Records, found: Sequence[Records], day: int) -> None:
        best, better, amends = found
        births = np.zeros(len(at), LIFE)
        for name in _AS_THEY_ARE:
            births[name] = run.records[name][at]
        births["ts_first_seen"], births["amends"], births["day"] = run.times[at], amends, day
        births["birth"] = _BIRTHS[run.classification[at]]
        births["birth"][amends > 0] = Birth.AMEND
        behind = np.where(births["side"] == Side.ASK, births["price"] - best, best - births["price"])
        births["distance_ticks"] = np.where(best >= 0, behind, FAR)
        births["orders_ahead"] = np.where(better >= 0, better + births["queue_position"], -1)
        births["fill_confidence"] = np.nan
        for names in MIDS.values():
            for name in names:
                births[name] = NO_MID
        self.state[slot] = births
        self.mids.wait("birth", slot, births["ts_first_seen"], self.scale)

    def _add_fills(self, at: Records, slot: Records, run: Run, confidence: Optional[Records]) -> None:
        if not len(at):
            return
        state, times, qty = self.state, run.times[at], -run.records["change"][at]
        first_slot, first = np.unique(slot, return_index=True)
        first = np.sort(first[state["fills"][first_slot] == 0])
        state["ts_first_fill"][slot[first]], state["first_fill_qty"][slot[first]] = times[first], qty[first]
        self.mids.wait("fill", slot[first], times[first], self.scale)
        state["ts_last_fill"][slot], state["last_fill_qty"][slot] = times, qty  # of several the last one stays
        np.add.at(state["fills"], slot, 1)
        _add(state["filled_qty"], slot, qty)
        if confidence is not None:
            np.fmin.at(state["fill_confidence"], slot, confidence[at])

    def _write_ends(self, run: Run, ends: _Ends, confidence: Optional[Records]) -> None:
        at, slot, told = ends
        cause = np.where(told, _CAUSES[run.classification[at]], EndCause.EVICT).astype(np.uint8)
        state = self.state
        state["end_cause"][slot] = cause
        state["ts_end"][slot[told]] = run.times[at[told]]
        state["suspect"][slot[told]] = run.records["flags"][at[told]] & MAYBE_BAD_BOOK != 0
        certainty = _CERTAINTIES[cause]
        doubtful = told & state["suspect"][slot]
        if confidence is not None:
            doubtful |= (cause == EndCause.FILL) & (confidence[at] == 0)
        certainty[doubtful] = Certainty.UNSURE
        state["certainty"][slot] = certainty
        self._ended.append(slot)

    def complete(self, *, is_last: bool = False) -> Iterator[Records]:
        """Give out the lives that ended and whose mid prices are known, in the order of their ends."""
        # at the last moment known no more can happen when the data ends, and more may when it goes on
        self.mids.resolve(self.state, self.last_ns + is_last)
        while self._ended:
            slots = self._ended[0]
            lives = self.state[slots]
            latest = np.maximum(lives["ts_first_seen"], lives["ts_first_fill"])
            waiting = (latest > 0) & (latest + LONGEST_NS >= self.last_ns) & (not is_last)
            count = int(waiting.argmax()) if waiting.any() else len(slots)
            if count:
                yield lives[:count]
                self._free += slots[:count].tolist()
            if count < len(slots):
                self._ended[0] = slots[count:]
                return
            self._ended.popleft()


def _add(totals: Records, slots: Records, amounts: Records) -> None:
    """Quantities of orders that are too large for 64 bits saturate, and so do their sums."""
    np.add.at(totals, slots, amounts)
    totals[slots[totals[slots] < 0]] = LARGEST_PRICE


def _columns(numbers: Sequence[int], count: int) -> Records:
    return np.array(numbers, np.int64).reshape(-1, count).T
