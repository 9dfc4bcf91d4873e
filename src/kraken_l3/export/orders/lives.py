"""The lives of one pair's orders, followed through its events: when each came, what it met, and how it ended.

A life is the stay of an order at one price: from the event that brought it to the one that took it away. An eviction
does not end it while the order may come back; an amend ends it, and begins the next. A snapshot ends the lives of all
orders and begins new ones, since nothing tells what happened before it.

Events come in columns. One loop says which life each belongs to; `numbers` gathers them in columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np

from kraken_l3.engine.port import MAX_AMENDING
from kraken_l3.export.orders.life import EndCause
from kraken_l3.export.orders.numbers import NOBODY, LifeNumbers, Run
from kraken_l3.export.records import OVERFLOW_ID, Records
from kraken_l3.model.events import Action, Classification

__all__ = ["MOST_HIDDEN", "OrderLives"]

#: Orders outside the window whose lives go on if they come back. Of those cancelled out there nobody ever says so:
#: without a bound they would be more each day.
MOST_HIDDEN = 65_536
# as plain numbers: the loop compares millions
_ADD, _MODIFY, _EVICT, _SNAPSHOT = (int(each) for each in (Action.ADD, Action.MODIFY, Action.EVICT, Action.SNAPSHOT))
_COMING = (_ADD, _SNAPSHOT)
_AMEND = int(Classification.AMEND)

#: Of an order outside the window: the slot of its life, its side, price, time and quantity.
_Hidden = tuple[int, int, int, int, int]
#: The price levels of one side, best first, and how many orders each has.
_Levels = tuple[list[int], list[int]]


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
        self._amends: list[int] = []
        self._prices: list[int] = []
        self._sides: Optional[tuple[_Levels, _Levels]] = None
        self._best: tuple[int, ...] = (-1, -1)
        self._numbers = LifeNumbers()
        self._gaps: list[int] = []

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
            run = Run(records[of_run], times[of_run], classification[of_run], ids[of_run])
            self._follow(run)
            self._numbers.gather(run, confidence[of_run] if confidence is not None else None, day)
            yield from self._numbers.complete()

    def cut(self, next_ns: int) -> None:
        """End all lives: what happens before `next_ns`, when a snapshot tells the book again, is not known.

        They end with the last event, or where a gap has begun since then: up to there the book stood still.
        """
        numbers = self._numbers
        next_ns = max(next_ns, numbers.last_ns)  # a file that begins alone begins before what was seen of the day
        end_ns = min(self._lefts(next_ns), default=numbers.last_ns)
        self._gaps = [left_ns for left_ns in self._gaps if left_ns >= next_ns]
        self._end_all(EndCause.GAP, end_ns)
        numbers.mids.unknown(end_ns, next_ns)
        numbers.mids.settle(numbers.scale)
        self._sides, self._best = None, (-1, -1)

    def finish(self, end_ns: int) -> Iterator[Records]:
        """The data ends; the book is known to have stood still until `end_ns`. Gives the rest of the lives."""
        end_ns = max(end_ns, self._numbers.last_ns)
        lefts = self._lefts(end_ns)
        known_ns = min(lefts, default=end_ns)
        self._end_all(EndCause.GAP if lefts else EndCause.END_OF_DATA, known_ns)
        yield from self._numbers.complete(is_last=True)

    def _lefts(self, before_ns: int) -> list[int]:
        """The left edges of gaps since the last event."""
        return [left_ns for left_ns in self._gaps if self._numbers.last_ns <= left_ns < before_ns]

    def _end_all(self, cause: EndCause, at_ns: int) -> None:
        hidden = [slot for slot, *_ in self._hidden.values()]
        self._numbers.end_all(hidden, list(self._open.values()), cause, at_ns)
        for memory in (self._open, self._hidden, self._amended):
            memory.clear()

    # Which life each event belongs to

    def _follow(self, run: Run) -> None:
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
                slot_of[index] = open_.get(order_id, NOBODY)
                if what == _AMEND:
                    is_moved = True
                    self._queue_again(run, index)
            else:
                if sides is not None:
                    prices, counts = sides[side]
                    counts[level] -= 1
                    if not counts[level]:
                        del prices[level], counts[level]
                slot = slot_of[index] = open_.pop(order_id, NOBODY)
                if slot == NOBODY:
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
                    self._numbers.mids.append(int(run.times[index]), *best)

    def _begin(self, run: Run, index: int, *, is_snapshot: bool = False) -> int:
        slot = self._numbers.new_slot()
        if slot >= len(self._prices):
            more = [0] * (slot + 1 - len(self._prices))
            self._amends += more
            self._prices += more
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

    def _remember_amend(self, order_id: bytes, slot: int) -> None:
        """A life ended by an amend: the next add of the id is the order again. As many as the engine remembers."""
        self._amended[order_id] = self._amends[slot] + 1
        if len(self._amended) > MAX_AMENDING:
            del self._amended[next(iter(self._amended))]

    def _forget_first(self, run: Run, index: int) -> None:
        """Of the orders outside the window the one that left first will not be known again."""
        slot, *_ = self._hidden.pop(next(iter(self._hidden)))
        run.ends += (index, slot, False)

    def _end_reentered(self, run: Run, index: int, slot: int) -> None:
        """An order came back as another: amended in this message, or changed while it was out of sight."""
        is_amend = run.what[index] == _AMEND
        run.ends += (index, slot, is_amend)
        if is_amend:
            self._remember_amend(run.ids[index], slot)

    def _queue_again(self, run: Run, index: int) -> None:
        """A modify moved an order, or made it larger: that is another life."""
        before = run.slot[index]
        if before == NOBODY:
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


def _ids(order_ids: Records, overflow_ids: Sequence[str]) -> list[bytes]:
    ids: list[bytes] = order_ids.tolist()
    if overflow_ids:  # there, the same id stands in several places
        return [overflow_ids[int(i[1:])].encode() if i.startswith(OVERFLOW_ID) else i for i in ids]
    return ids
