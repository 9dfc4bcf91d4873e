"""The resting orders followed in columns, against a dictionary that takes one event after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.export.formats.resting import Orders, RestingOrders
from kraken_l3.export.records import EVENT, OVERFLOW_ID
from kraken_l3.model.events import Action, Side


class Order(NamedTuple):
    side: int
    price: int
    qty: int
    order_ns: int


class Step(NamedTuple):
    """One event; `gone` takes the order out."""

    order_id: str
    order: Order
    gone: bool


ORDERS = st.builds(
    Order, st.sampled_from([Side.BID, Side.ASK]), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)
)
IDS = st.sampled_from(["A", "B", "C", "D", "E" * 21, "F" * 30, "G\0", "ä"])
RUNS = st.lists(
    st.one_of(
        st.lists(st.builds(Step, IDS, ORDERS, st.booleans()), min_size=1, max_size=8),
        st.dictionaries(IDS, ORDERS, max_size=6),  # a snapshot
    ),
    max_size=8,
)


class Follower:
    """Orders by id, oldest entry first, each with the number of the event that gave it its place."""

    def __init__(self) -> None:
        self.resting: dict[str, tuple[Order, int]] = {}
        self.places = 0

    def apply(self, step: Step) -> None:
        before = self.resting.get(step.order_id)
        if step.gone:
            self.resting.pop(step.order_id, None)
            return
        self.places += 1
        same = before is not None and before[0][1::2] == step.order[1::2]  # price and time
        self.resting[step.order_id] = (step.order, before[1] if before is not None and same else self.places)

    def in_order(self) -> list[tuple[str, Order]]:
        def place(item):
            _, (order, place) = item
            return order.side, order.price if order.side == Side.ASK else -order.price, order.order_ns, place

        return [(order_id, order) for order_id, (order, _) in sorted(self.resting.items(), key=place)]


def records_of(steps: list[Step], overflow_ids: list[str]) -> np.ndarray:
    records = np.zeros(len(steps), EVENT)
    for record, (order_id, order, gone) in zip(records, steps):
        text = order_id.encode()
        if len(text) > 20 or b"\0" in text:
            overflow_ids.append(order_id)
            text = OVERFLOW_ID + b"%d" % (len(overflow_ids) - 1)
        record["order_id"], record["action"] = text, Action.DELETE if gone else Action.MODIFY
        record["side"], record["price"], record["qty"], record["ts_order"] = order
    return records


def listed(orders: Orders) -> list:
    columns = (orders.side, orders.price, orders.qty, orders.order_ns)
    rows = [Order(*row) for row in zip(*(column.tolist() for column in columns))]
    ids = [orders.ids[place].decode() for place in orders.order_id.tolist()]
    return [(order_id, row if rests else None) for order_id, row, rests in zip(ids, rows, orders.rests.tolist())]


@settings(max_examples=200, deadline=None)
@given(RUNS)
def test_each_event_meets_the_order_that_the_one_before_left(runs):
    follower, resting, overflow_ids = Follower(), RestingOrders(), []
    for run in runs:
        if isinstance(run, dict):
            steps = [Step(order_id, order, False) for order_id, order in run.items()]
            rested = dict(follower.resting)
            before, found, successor = resting.replace(records_of(steps, overflow_ids), overflow_ids)
            assert listed(before) == [(order_id, order) for order_id, (order, _) in rested.items()]
            assert listed(found) == [
                (order_id, rested[order_id][0] if order_id in rested else None) for order_id in run
            ]
            assert successor.tolist() == [list(run).index(i) if i in run else -1 for i in rested]
            follower.resting.clear()
            for step in steps:
                follower.apply(step)
        else:
            expected = []
            for step in run:
                before = follower.resting.get(step.order_id)
                expected.append((step.order_id, before[0] if before is not None else None))
                follower.apply(step)
            assert listed(resting.apply(records_of(run, overflow_ids), overflow_ids)) == expected
        assert listed(resting.in_order()) == follower.in_order()
        assert len(resting) == len(follower.resting)
