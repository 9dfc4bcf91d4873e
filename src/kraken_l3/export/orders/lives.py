"""The lives of one pair's orders, followed through its events: when each came, what it met, and how it ended.

A life is the stay of an order at one price: from the event that brought it to the one that took it away. An eviction
does not end it while the order may come back; an amend ends it, and begins the next. A snapshot ends the lives of all
orders and begins new ones, since nothing tells what happened before it.

Events come in columns. One loop says which life each belongs to; the numbers are gathered in arrays, a slot a life.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from kraken_l3.engine.port import LARGEST_PRICE, MAX_AMENDING
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
from kraken_l3.export.records import OVERFLOW_ID, Records
from kraken_l3.export.schema import LAST, MAYBE_BAD_BOOK
from kraken_l3.model.events import Action, Classification, Side

__all__ = ["MOST_HIDDEN", "OrderLives"]

#: Orders outside the window whose lives go on if they come back. Of those cancelled out there nobody ever says so:
#: without a bound they would be more each day.
MOST_HIDDEN = 65_536
_FIRST_SLOTS = 64
_NOBODY = -1
_EPOCH = dt.date(1970, 1, 1)
# as plain numbers: the loop compares millions
_ADD, _MODIFY, _EVICT, _SNAPSHOT = (int(each) for each in (Action.ADD, Action.MODIFY, Action.EVICT, Action.SNAPSHOT))
_COMING = (_ADD, _SNAPSHOT)
_AMEND = int(Classification.AMEND)

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

#: Of an order outside the window: the slot of its life, its side, price, time and quantity.
_Hidden = tuple[int, int, int, int, int]
#: The price levels of one side, best first, and how many orders each has.
_Levels = tuple[list[int], list[int]]


class _Run:
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
        self.slot = [_NOBODY] * len(times)
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


def _ends_of(run: _Run, deleted: Records, slot: Records) -> _Ends:
    at, others, told = _columns(run.ends, 3)
    at, slots = np.append(deleted, at), np.append(slot[deleted], others)
    told = np.append(np.ones(len(deleted), bool), told != 0)
    order = np.argsort(at, kind="stable")
    return _Ends(at[order], slots[order], told[order])


class OrderLives:
    """Follows one pair's orders. Lives come out in the order in which they end, some seconds later.

    Args:
        most_hidden: see `MOST_HIDDEN`; where more are, those that left the window first have ended then.
    """

    def __init__(self, most_hidden: int = MOST_HIDDEN) -> None:
        self._most_hidden = most_hidden
        self._open: dict[bytes, int] = {}
        self._hidden: dict[bytes, _Hidden] = {}
        self._amended: dict[bytes, int] = {}
        self._free: list[int] = []
        self._amends: list[int] = []
        self._prices: list[int] = []
        self._state = np.zeros(0, LIFE)
        self._ended: deque[Records] = deque()
        self._sides: Optional[tuple[_Levels, _Levels]] = None
        self._best: tuple[int, ...] = (-1, -1)
        self._mids = MidPrices()
        self._scale = 0
        self._gaps: list[int] = []
        self._last_ns = 0
        self._is_suspect = False

    def gap(self, left_ns: int) -> None:
        """After this moment something is missing, until the next snapshot."""
        self._gaps.append(left_ns)

    def take(
        self,
        records: Records,
        times: Records,
        classification: Records,
        confidence: Optional[Records],
        overflow_ids: Sequence[str],
        day: Optional[dt.date],
    ) -> Iterator[Records]:
        """Follow whole messages.

        Args:
            records: of `records.EVENT`, in order.
            times: when, never falling; 0 while not known.
            classification: with what trades tell, as `confidence` (see `events.EventsDay.match`).
            confidence: of fills, NaN elsewhere; None where no trades were recorded.
            overflow_ids: see `records.OVERFLOW_ID`.
            day: of the file; None where its name tells none.

        Yields:
            Lives of which all is known, as records of `LIFE`.
        """
        ids = _ids(records["order_id"], overflow_ids)
        clears = np.flatnonzero(records["action"] == Action.CLEAR).tolist()
        bounds = [0, *(clear for clear in clears if clear), len(records)]
        for start, end in zip(bounds, bounds[1:]):
            if start in clears:
                self.cut(int(times[start]))
                self._sides = ([], []), ([], [])
                start += 1
            if start == end:
                continue
            of_run = slice(start, end)
            run = _Run(records[of_run], times[of_run], classification[of_run], ids[of_run])
            self._follow(run)
            self._gather(run, confidence[of_run] if confidence is not None else None, day)
            yield from self._complete()

    def cut(self, next_ns: int) -> None:
        """End all lives: what happens before `next_ns`, when a snapshot tells the book again, is not known.

        They end with the last event, or where a gap has begun since then: up to there the book stood still.
        """
        next_ns = max(next_ns, self._last_ns)  # a file that begins alone begins before what was seen of the day
        end_ns = min((left_ns for left_ns in self._gaps if self._last_ns <= left_ns < next_ns), default=self._last_ns)
        self._gaps = [left_ns for left_ns in self._gaps if left_ns >= next_ns]
        self._end_all(EndCause.GAP, end_ns)
        self._mids.unknown(end_ns, next_ns)
        self._mids.settle(self._scale)
        self._sides, self._best = None, (-1, -1)
        self._last_ns, self._is_suspect = end_ns, False

    def finish(self, end_ns: int) -> Iterator[Records]:
        """The data ends; the book is known to have stood still until `end_ns`. Gives the rest of the lives."""
        end_ns = max(end_ns, self._last_ns)
        lefts = [left_ns for left_ns in self._gaps if self._last_ns <= left_ns < end_ns]
        known_ns = min(lefts, default=end_ns)
        self._end_all(EndCause.GAP if lefts else EndCause.END_OF_DATA, known_ns)
        self._mids.resolve(self._state, known_ns + 1)
        yield from self._complete(is_last=True)

    def _end_all(self, cause: EndCause, at_ns: int) -> None:
        state = self._state
        hidden = np.array([slot for slot, *_ in self._hidden.values()], np.int64)
        state["end_cause"][hidden], state["certainty"][hidden] = EndCause.EVICT, Certainty.CERTAIN
        visible = np.array(list(self._open.values()), np.int64)
        state["end_cause"][visible], state["certainty"][visible] = cause, Certainty.CERTAIN
        state["ts_end"][visible], state["suspect"][visible] = at_ns, self._is_suspect
        state["time_in_window_ns"][visible] += at_ns
        self._ended += hidden, visible
        for memory in (self._open, self._hidden, self._amended):
            memory.clear()

    # Which life each event belongs to

    def _follow(self, run: _Run) -> None:
        # The hot loop: what most events need stands here in plain statements, the rest in methods.
        open_, hidden, slot_of, sides = self._open, self._hidden, run.slot, self._sides
        is_moved = False
        for index, (action, what, order_id, side, level, price, qty, order_ns, is_last) in enumerate(run.events()):
            if not level:
                is_moved = True
            if action in _COMING:
                if sides is not None:
                    prices, counts = sides[side]
                    if level < len(prices) and prices[level] == price:
                        counts[level] += 1
                    else:
                        prices.insert(level, price)
                        counts.insert(level, 1)
                was = hidden.pop(order_id, None)
                if was is not None and was[1:4] == (side, price, order_ns) and was[4] >= qty and what != _AMEND:
                    slot = was[0]
                    if was[4] != qty:
                        run.losses += (slot, was[4] - qty)
                else:
                    if was is not None:
                        self._end_reentered(run, index, was[0])
                    slot = self._begin(run, index, is_snapshot=action == _SNAPSHOT)
                open_[order_id] = slot_of[index] = slot
            elif action == _MODIFY:
                slot_of[index] = open_.get(order_id, _NOBODY)
                if what == _AMEND:
                    is_moved = True
                    self._queue_again(run, index)
            else:
                if sides is not None:
                    prices, counts = sides[side]
                    counts[level] -= 1
                    if not counts[level]:
                        del prices[level], counts[level]
                slot = slot_of[index] = open_.pop(order_id, _NOBODY)
                if slot == _NOBODY:
                    pass
                elif action == _EVICT:
                    hidden[order_id] = slot, side, price, order_ns, qty
                    if len(hidden) > self._most_hidden:
                        self._forget_first(run, index)
                elif what == _AMEND:
                    self._remember_amend(order_id, slot)
            if is_last and is_moved and sides is not None:
                is_moved = False
                best = tuple(prices[0] if prices else -1 for prices, _ in sides)
                if best != self._best:
                    self._best = best
                    self._mids.append(int(run.times[index]), *best)

    def _begin(self, run: _Run, index: int, *, is_snapshot: bool = False) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        best, better, amends = -1, -1, 0
        if self._sides is not None:
            side = run.side[index]
            prices, counts = self._sides[side]
            # a snapshot is compared with itself, the rest with the book before their message
            best = prices[0] if is_snapshot else self._best[side]
            better = sum(counts[: run.level[index]])
        if run.what[index] == _AMEND:
            # not remembered: the delete was before a snapshot
            amends = self._amended.pop(run.ids[index], 1)
        self._amends[slot], self._prices[slot] = amends, run.price[index]
        run.births += (index, slot, best, better, amends)
        return slot

    def _grow(self) -> None:
        size = len(self._state)
        more = max(size, _FIRST_SLOTS)
        self._free += range(size, size + more)
        self._amends += [0] * more
        self._prices += [0] * more
        self._state = np.append(self._state, np.zeros(more, LIFE))

    def _remember_amend(self, order_id: bytes, slot: int) -> None:
        """A life ended by an amend: the next add of the id is the order again. As many as the engine remembers."""
        self._amended[order_id] = self._amends[slot] + 1
        if len(self._amended) > MAX_AMENDING:
            del self._amended[next(iter(self._amended))]

    def _forget_first(self, run: _Run, index: int) -> None:
        """Of the orders outside the window the one that left first will not be known again."""
        slot, *_ = self._hidden.pop(next(iter(self._hidden)))
        run.ends += (index, slot, False)

    def _end_reentered(self, run: _Run, index: int, slot: int) -> None:
        """An order came back as another: amended in this message, or changed while it was out of sight."""
        is_amend = run.what[index] == _AMEND
        run.ends += (index, slot, is_amend)
        if is_amend:
            self._remember_amend(run.ids[index], slot)

    def _queue_again(self, run: _Run, index: int) -> None:
        """A modify moved an order, or made it larger: that is another life."""
        before = run.slot[index]
        if before == _NOBODY:
            return
        order_id, level = run.ids[index], run.level[index]
        if self._sides is not None:
            prices, counts = self._sides[run.side[index]]
            old = prices.index(self._prices[before])
            counts[old] -= 1
            if not counts[old]:
                del prices[old], counts[old]
            if level < len(prices) and prices[level] == run.price[index]:
                counts[level] += 1
            else:
                prices.insert(level, run.price[index])
                counts.insert(level, 1)
        run.ends += (index, before, True)
        self._remember_amend(order_id, before)
        del self._open[order_id]  # those that came last end last
        self._open[order_id] = run.slot[index] = self._begin(run, index)

    # The numbers

    def _gather(self, run: _Run, confidence: Optional[Records], day: Optional[dt.date]) -> None:
        records, times, slot = run.records, run.times, np.array(run.slot, np.int64)
        self._scale = int(records["price_scale"][0])
        self._mids.settle(self._scale)
        came, born, *at_birth = _columns(run.births, 5)
        self._write_births(run, came, born, at_birth, (day - _EPOCH).days if day is not None else NO_DAY)
        state, action, known = self._state, records["action"], slot != _NOBODY
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
        self._last_ns = max(self._last_ns, int(times[-1]))
        self._is_suspect = bool(records["flags"][-1] & MAYBE_BAD_BOOK)

    def _write_births(self, run: _Run, at: Records, slot: Records, found: Sequence[Records], day: int) -> None:
        best, better, amends = found
        births = np.zeros(len(at), LIFE)
        for name in ("ts_order", "price", "qty", "qty_ahead", "order_id", "level", "queue_position"):
            births[name] = run.records[name][at]
        for name in ("side", "price_scale", "qty_scale"):
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
        self._state[slot] = births
        self._mids.wait("birth", slot, births["ts_first_seen"], self._scale)

    def _add_fills(self, at: Records, slot: Records, run: _Run, confidence: Optional[Records]) -> None:
        if not len(at):
            return
        state, times, qty = self._state, run.times[at], -run.records["change"][at]
        first_slot, first = np.unique(slot, return_index=True)
        first = np.sort(first[state["fills"][first_slot] == 0])
        state["ts_first_fill"][slot[first]], state["first_fill_qty"][slot[first]] = times[first], qty[first]
        self._mids.wait("fill", slot[first], times[first], self._scale)
        state["ts_last_fill"][slot], state["last_fill_qty"][slot] = times, qty  # of several the last one stays
        np.add.at(state["fills"], slot, 1)
        _add(state["filled_qty"], slot, qty)
        if confidence is not None:
            np.fmin.at(state["fill_confidence"], slot, confidence[at])

    def _write_ends(self, run: _Run, ends: _Ends, confidence: Optional[Records]) -> None:
        at, slot, told = ends
        cause = np.where(told, _CAUSES[run.classification[at]], EndCause.EVICT).astype(np.uint8)
        state = self._state
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

    def _complete(self, *, is_last: bool = False) -> Iterator[Records]:
        """Give out the lives that ended and whose mid prices are known, in the order of their ends."""
        if not is_last:
            self._mids.resolve(self._state, self._last_ns)
        while self._ended:
            slots = self._ended[0]
            lives = self._state[slots]
            latest = np.maximum(lives["ts_first_seen"], lives["ts_first_fill"])
            waiting = (latest > 0) & (latest + LONGEST_NS >= self._last_ns) & (not is_last)
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


def _ids(order_ids: Records, overflow_ids: Sequence[str]) -> list[bytes]:
    ids: list[bytes] = order_ids.tolist()
    if overflow_ids:  # there, the same id stands in several places
        return [overflow_ids[int(i[1:])].encode() if i.startswith(OVERFLOW_ID) else i for i in ids]
    return ids
