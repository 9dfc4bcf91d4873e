"""The book against known answers and against a book of a few lines that knows nothing of the project."""

import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.book.book import Book, Finding
from kraken_l3.model.events import Action, Classification, Side

DOCS_EXAMPLE = Path(__file__).parent / "data" / "kraken-docs-level3-snapshot.ndjson"


def add(order_id, price, qty=1, ns=0):
    return ("add", order_id, price, qty, ns)


def modify(order_id, price, qty, ns=0):
    return ("modify", order_id, price, qty, ns)


def delete(order_id, qty=1, ns=0):
    return ("delete", order_id, 0, qty, ns)


def levels(side):
    return [(abs(key), [o.order_id for o in side.levels[key]]) for key in side.keys]


def book(depth=10, bids=(), asks=()):
    made = Book(depth, 1, 8)
    made.fill(bids, asks)
    return made


def test_both_sides_empty_give_zero():
    assert book().checksum() == 0


def test_one_side_empty():
    assert book(asks=[add("a", 5, 70)]).checksum() == zlib.crc32(b"570")


def test_asks_come_first_then_bids_best_first():
    b = book(bids=[add("x", 1, 2), add("y", 3, 4)], asks=[add("z", 9, 8), add("w", 7, 6)])
    assert b.checksum() == zlib.crc32(b"76" + b"98" + b"34" + b"12")


def test_zero_has_no_digits_left_without_leading_zeros():
    assert book(asks=[add("a", 5, 0)]).checksum() == zlib.crc32(b"5")


def test_only_ten_levels_count():
    many = [add(f"o{n}", 100 + n, 1) for n in range(12)]
    assert book(100, asks=many).checksum() == book(100, asks=many[:10]).checksum()


def test_time_decides_the_queue_whatever_the_arrival():
    b = book(
        asks=[add("late", 5, ns=30), add("early", 5, ns=10), add("middle", 5, ns=20), add("also-middle", 5, ns=20)]
    )
    assert levels(b.asks) == [(5, ["early", "middle", "also-middle", "late"])]


def test_modify_keeps_the_place():
    b = book(asks=[add("a", 5, 9, 1), add("b", 5, 9, 2)])
    assert b.update((), [modify("a", 5, 3, 1)]) == []
    assert levels(b.asks) == [(5, ["a", "b"])]
    assert b.orders["a"].qty == 3


@pytest.mark.parametrize("change", [modify("a", 5, 3, 7), modify("a", 6, 3, 1), modify("a", 6, 3)])
def test_modify_with_another_time_or_price_queues_anew(change):
    b = book(asks=[add("a", 5, 9, 1), add("b", 5, 9, 2), add("c", 6, 9, 0)])
    b.update((), [change])
    price = change[2]
    assert dict(levels(b.asks))[price][-1] == "a"
    assert b.orders["a"].ns == (change[4] or 1)


def test_levels_pushed_out_are_forgotten_after_the_message_and_come_back_by_an_add():
    b = book(2, bids=[add("a", 10), add("b", 9)])
    b.update([add("c", 11)], ())
    assert levels(b.bids) == [(11, ["c"]), (10, ["a"])]
    assert "b" not in b.orders
    b.update([delete("c"), add("b", 9)], ())
    assert levels(b.bids) == [(10, ["a"]), (9, ["b"])]


def test_a_message_may_pass_through_more_levels_than_fit():
    b = book(2, bids=[add("a", 10), add("b", 9)])
    b.update([add("c", 11), delete("c")], ())
    assert levels(b.bids) == [(10, ["a"]), (9, ["b"])]


def test_an_add_of_a_resting_order_replaces_it_even_on_the_other_side():
    b = book(bids=[add("a", 10)])
    b.update((), [add("a", 12)])
    assert levels(b.bids) == []
    assert levels(b.asks) == [(12, ["a"])]


def test_what_cannot_be_is_found_and_left_alone():
    b = book(bids=[add("a", 10, 5)])
    found = b.update([delete("nobody")], [modify("a", 12, 1), delete("a")])
    assert found == [Finding("unknown_id", "nobody"), Finding("wrong_side", "a"), Finding("wrong_side", "a")]
    assert b.orders["a"].qty == 5


@pytest.mark.parametrize(("ask", "crossed"), [(11, False), (10, True), (9, True)])
def test_crossed(ask, crossed):
    assert book(bids=[add("a", 10)], asks=[add("b", ask)]).crossed() is crossed


def test_a_duplicate_in_a_snapshot_counts_once():
    b = book(bids=[add("a", 10), add("a", 11)])
    assert levels(b.bids) == [(11, ["a"])]


def test_events_tell_place_and_change():
    b = book(asks=[add("a", 5, 10, 1), add("b", 5, 20, 2), add("c", 6, 30, 3)])
    trace = []
    b.update((), [delete("a", 0, 9), modify("b", 5, 15, 2), add("d", 6, 7, 8)], trace)
    assert [
        (e.action, e.classification, e.order_id, e.qty, e.change, e.level, e.queue_position, e.qty_ahead) for e in trace
    ] == [
        (Action.DELETE, Classification.FILL, "a", 10, -10, 0, 0, 0),
        (Action.MODIFY, Classification.PARTIAL_FILL, "b", 15, -5, 0, 0, 0),
        (Action.ADD, Classification.NEW, "d", 7, 7, 1, 1, 30),
    ]
    assert {e.side for e in trace} == {Side.ASK}


def test_an_evicted_level_is_told_with_its_places():
    b = book(1, asks=[add("a", 5, 10, 1), add("b", 5, 20, 2)])
    trace = []
    b.update((), [add("c", 4)], trace)
    assert [(e.action, e.order_id, e.level, e.queue_position, e.qty_ahead, e.change) for e in trace] == [
        (Action.ADD, "c", 0, 0, 0, 1),
        (Action.EVICT, "a", 1, 0, 0, -10),
        (Action.EVICT, "b", 1, 1, 10, -20),
    ]


def test_a_replaced_order_is_evicted_first():
    b = book(asks=[add("a", 5, 10, 1)])
    trace = []
    b.update((), [add("a", 6, 10, 2)], trace)
    assert [(e.action, e.classification) for e in trace] == [
        (Action.EVICT, Classification.NONE),
        (Action.ADD, Classification.AMEND),
    ]


def test_a_snapshot_is_told_as_clear_and_orders_in_queue_order():
    trace = []
    Book(1, 1, 8).fill([add("a", 5, 1, 2), add("b", 5, 1, 1), add("gone", 4)], [add("c", 7)], trace)
    assert [(e.action, e.order_id) for e in trace] == [
        (Action.CLEAR, ""),
        (Action.SNAPSHOT, "b"),
        (Action.SNAPSHOT, "a"),
        (Action.SNAPSHOT, "c"),
    ]


class PlainBook:
    """The rules once more, as plainly as can be: nothing is kept between two questions."""

    def __init__(self, depth):
        self.depth = depth
        self.orders = {}  # id -> [is_bid, price, qty, ns, arrival]
        self.arrivals = 0

    def apply(self, bids, asks):
        for is_bid, changes in ((True, bids), (False, asks)):
            for change in changes:
                self._apply(is_bid, *change)
        for is_bid in (True, False):
            for price in self.prices(is_bid)[self.depth :]:
                self.orders = {i: o for i, o in self.orders.items() if (o[0], o[1]) != (is_bid, price)}

    def _apply(self, is_bid, event, order_id, price, qty, ns):
        self.arrivals += 1
        known = self.orders.get(order_id)
        if event == "add":
            self.orders[order_id] = [is_bid, price, qty, ns, self.arrivals]
        elif known is None or known[0] is not is_bid:
            return
        elif event == "delete":
            del self.orders[order_id]
        elif known[1] == price and ns in (0, known[3]):
            known[2] = qty
        else:
            self.orders[order_id] = [is_bid, price, qty, ns or known[3], self.arrivals]

    def prices(self, is_bid):
        return sorted({o[1] for o in self.orders.values() if o[0] is is_bid}, reverse=is_bid)

    def queue(self, is_bid, price):
        at = [(o[3], o[4], i) for i, o in self.orders.items() if (o[0], o[1]) == (is_bid, price)]
        return [i for _, _, i in sorted(at)]

    def checksum(self):
        text = ""
        for is_bid in (False, True):
            for price in self.prices(is_bid)[:10]:
                for i in self.queue(is_bid, price):
                    text += (str(price) + str(self.orders[i][2])).lstrip("0") if price else str(self.orders[i][2])
        return zlib.crc32(text.encode())


ids = st.sampled_from([f"o{n}" for n in range(12)])
prices = st.integers(1, 16)
quantities = st.integers(1, 9)
times = st.integers(0, 5)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ids, prices, quantities, times),
        st.tuples(st.just("modify"), ids, prices, quantities, times),
        st.tuples(st.just("delete"), ids, st.just(0), quantities, times),
    ),
    max_size=5,
)


@given(st.sampled_from([1, 2, 3, 10, 12]), st.lists(st.tuples(changes, changes), max_size=25))
def test_agrees_with_the_plain_book(depth, messages):
    b, plain = Book(depth, 1, 8), PlainBook(depth)
    for bids, asks in messages:
        b.update(bids, asks)
        plain.apply(bids, asks)
        assert set(b.orders) == set(plain.orders)
        for is_bid, side in ((True, b.bids), (False, b.asks)):
            assert levels(side) == [(p, plain.queue(is_bid, p)) for p in plain.prices(is_bid)]
        assert b.checksum() == plain.checksum()


@given(st.lists(st.tuples(changes, changes), max_size=25), st.sampled_from([1, 3, 10]))
def test_events_add_up_to_the_book(messages, depth):
    b = Book(depth, 1, 8)
    rebuilt = {}
    for bids, asks in messages:
        trace = []
        b.update(bids, asks, trace)
        for e in trace:
            if e.action in (Action.ADD, Action.MODIFY):
                assert (e.action is Action.MODIFY) == (e.order_id in rebuilt)
                rebuilt[e.order_id] = rebuilt.get(e.order_id, 0) + e.change
                assert rebuilt[e.order_id] == e.qty
            else:
                assert rebuilt.pop(e.order_id) + e.change == 0
        assert rebuilt == {i: o.qty for i, o in b.orders.items()}


def test_kraken_docs_example():
    """Source: https://docs.kraken.com/api/docs/guides/spot-ws-l3-v2, read 2026-11-22; Kraken's own text."""
    import json

    payload = DOCS_EXAMPLE.read_bytes()
    assert hashlib.sha256(payload).hexdigest() == DOCS_EXAMPLE.with_suffix(".sha256").read_text().split()[0]
    (data,) = json.loads(payload, parse_float=str)["data"]

    def read(entries):
        return [
            add(e["order_id"], int(e["limit_price"].replace(".", "")), int(e["order_qty"].replace(".", "")))
            for e in entries
        ]

    made = book(10, read(data["bids"]), read(data["asks"]))
    assert made.checksum() == data["checksum"] == 1063832831
    assert (len(data["bids"]), len(data["asks"])) == (21, 14)


def test_an_order_is_its_price_and_quantity_in_the_checksum():
    assert book(asks=[add("x", 4493954, 452308393)]).checksum() == zlib.crc32(b"4493954452308393")
