"""Order flow, held against a book that knows nothing of it, Kraken's own example and genuine figures."""

import hashlib
import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_oracle import Book, read

from kraken_l3.exchange.flow import Market, Pair, Trader, TraderProfile, generate, listing
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.flow.market import Order
from kraken_l3.exchange.flow.measure import GENUINE, Mix, comparison, measured

DATA = Path(__file__).with_name("data")
ORDER_ID = re.compile(r"O[A-Z2-7]{5}-[A-Z2-7]{5}-[A-Z2-7]{6}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def verified(messages, depth, **precisions):
    """Applies all messages to one book a symbol; the number of wrong checksums."""
    books = {}
    wrong = 0
    for payload in messages:
        symbol = read(payload)["data"][0]["symbol"]
        wrong += not books.setdefault(symbol, Book(depth, **precisions)).apply(payload)
    return wrong


def entries(message, event=None):
    (data,) = message["data"]
    return [e for name in ("bids", "asks") for e in data[name] if event in (None, e.get("event"))]


def test_kraken_s_own_example():
    text = (DATA / "docs-snapshot.json").read_bytes()
    example = read(text)["data"][0]
    market = Market(Pair("BTC/USD", 1, 8, 1, "{}"), random.Random(0))
    for side, name in ((market.bids, "bids"), (market.asks, "asks")):
        for entry in example[name]:
            price, qty = (int(entry[k].replace(".", "")) for k in ("limit_price", "order_qty"))
            market.seed(side, Order(entry["order_id"], price * side.sign, qty, entry["timestamp"]))
    assert market.checksum() == 1063832831
    snapshot = read(market.snapshot(10))["data"][0]
    assert (snapshot["bids"], snapshot["asks"]) == (example["bids"], example["asks"])


def test_the_golden_data_is_what_it_was():
    digests = re.findall(r"(\S+\.json) \|.*\| ([0-9a-f]{64}) \|", (DATA / "README.md").read_text())
    assert digests
    for name, digest in digests:
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest


def test_an_empty_book_has_checksum_zero():
    market = Market(Pair("BTC/USD", 1, 8, 1, "{}"), random.Random(0))
    assert market.checksum() == 0
    assert entries(read(market.snapshot(10))) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), depth=st.sampled_from([10, 10, 100]), odd=st.sampled_from([0.0, 0.3]))
def test_every_checksum_is_right(seed, depth, odd):
    pairs = random.Random(seed).sample(listing(25), 2)
    for pair in pairs:
        precisions = (pair.price_precision, pair.qty_precision) if odd else (None, None)
        messages = generate(symbols=[pair.symbol], depth=depth, messages=150, seed=seed, odd_numbers=odd)
        book = Book(depth, *precisions)
        assert all(book.apply(payload) for payload in messages)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), levels=st.integers(1, 12), depth=st.sampled_from([10, 100]))
def test_a_thin_market_goes_on_with_right_checksums(seed, levels, depth):
    lines = list(generate(symbols=2, messages=150, seed=seed, levels=levels, depth=depth))
    assert len(lines) == 150
    assert verified(lines, depth) == 0


def test_a_long_run_and_a_deep_one():
    assert verified(generate(depth=10, messages=6000, seed=5, symbols=3), 10) == 0
    assert verified(generate(depth=1000, messages=40, seed=5), 1000) == 0


def test_a_hostile_profile_keeps_the_book_right():
    wild = TraderProfile(taker=0.3, reduce=0.2, amend=0.2, join=0.5, improve=0.3)
    for symbol in ("BTC/USD", "BTC/JPY", "SHIB/USD", "USDT/USD", "S007/USD"):
        assert verified(generate(symbols=[symbol], depth=10, messages=1500, seed=8, profile=wild), 10) == 0


def test_all_depths_of_one_market_agree():
    trader = Trader(listing(["ETH/USD"])[0], 3, levels=1300)
    books = {depth: Book(depth) for depth in (10, 100, 1000)}
    for depth, book in books.items():
        assert book.apply(trader.market.snapshot(depth))
    for step in range(120):
        done = trader.step(step * 1000)
        for depth, book in books.items():
            text = trader.market.update(done, depth)
            assert text is None or book.apply(text)
    assert books[10].levels("bids") == books[1000].levels("bids")[:10] == books[100].levels("bids")[:10]
    assert len(books[1000].levels("asks")) == 1000


def test_same_seed_same_bytes():
    def take(seed):
        return list(generate(symbols=3, messages=500, seed=seed))

    assert take(1) == take(1)
    assert take(1) != take(2)


def test_what_a_message_looks_like():
    pair = listing(["DOGE/USD"])[0]
    ids = Counter()
    for payload in generate(symbols=["DOGE/USD"], messages=2000, seed=4):
        message = read(payload)
        assert list(message) == ["channel", "type", "data"]
        (data,) = message["data"]
        assert list(data) == ["symbol", "checksum", "bids", "asks", "timestamp"]
        assert TIME.fullmatch(data["timestamp"])
        seen = entries(message)
        assert seen
        assert max(Counter(e["order_id"] for e in seen).values()) == 1
        for entry in seen:
            assert ORDER_ID.fullmatch(entry["order_id"])
            assert TIME.fullmatch(entry["timestamp"])
            assert len(entry["limit_price"].partition(".")[2]) == pair.price_precision
            assert len(entry["order_qty"].partition(".")[2]) == pair.qty_precision
            ids[entry["order_id"]] += 1
        if message["type"] == "update":
            for name in ("bids", "asks"):
                events = [e["event"] for e in data[name]]
                assert events == sorted(events, key=["delete", "add", "modify"].index)
    assert max(ids.values()) > 1


def test_a_price_without_decimals_is_an_integer():
    for payload in itertools.islice(generate(symbols=["BTC/JPY"], messages=50, seed=1), 50):
        assert all("." not in e["limit_price"] for e in entries(read(payload)))


def test_the_book_never_crosses_and_the_top_moves():
    book, tops = Book(10), set()
    for payload in generate(messages=3000, seed=9):
        book.apply(payload)
        bid, ask = book.levels("bids")[0][0], book.levels("asks")[0][0]
        assert bid < ask
        tops.add((bid, ask))
    assert len(tops) > 200


def test_amends_are_a_delete_with_the_order_s_own_time_then_an_add():
    known, amends, returned = {}, {}, 0
    for payload in generate(messages=4000, seed=2):
        for entry in entries(read(payload)):
            order_id = entry["order_id"]
            if entry.get("event") == "delete":
                before = known.pop(order_id)
                if entry["timestamp"] == before["timestamp"] and float(entry["order_qty"]):
                    assert entry["order_qty"] == before["order_qty"]
                    amends[order_id] = before
                continue
            if order_id in amends:
                assert entry["timestamp"] > amends.pop(order_id)["timestamp"]
                returned += 1
            known[order_id] = entry
    assert returned > 100


def test_modifies_reduce_in_place_and_fills_have_their_trades():
    known, trades, fills, partly = {}, [], Counter(), 0
    for payload in generate(messages=20_000, seed=6, trades=trades.append):
        message = read(payload)
        for entry in entries(message):
            order_id, event = entry["order_id"], entry.get("event")
            if event == "modify":
                before = known[order_id]
                assert (entry["limit_price"], entry["timestamp"]) == (before["limit_price"], before["timestamp"])
                assert float(entry["order_qty"]) < float(before["order_qty"])
                partly += 1
            if event == "delete" and not float(entry["order_qty"]):
                assert re.fullmatch(r"0\.0{8}", entry["order_qty"])
                assert entry["timestamp"] > known[order_id]["timestamp"]
                fills[entry["limit_price"]] += 1
            known[order_id] = entry
    sold = [t for payload in trades for t in read(payload)["data"]]
    assert [int(t["trade_id"]) for t in sold] == list(range(1, len(sold) + 1))
    assert all(re.fullmatch(r".{19}\.\d{6}Z", t["timestamp"]) for t in sold)
    assert {t["side"] for t in sold} == {"buy", "sell"}
    assert {t["ord_type"] for t in sold} == {"limit", "market"}
    assert partly > 50
    assert sum(fills.values()) > 50
    assert not fills - Counter(t["price"] for t in sold), "a fill without a trade at its price"


def test_a_taker_s_remainder_rests_and_its_makers_go_later_in_one_message():
    for payload in generate(messages=40_000, seed=3, profile=TraderProfile(taker=0.1)):
        (data,) = read(payload)["data"]
        for own, other in (("bids", "asks"), ("asks", "bids")):
            filled = [e for e in data[other] if e.get("event") == "delete" and not float(e["order_qty"])]
            rests = [e for e in data[own] if e.get("event") == "add"]
            if filled and rests:
                assert len(rests) == 1
                assert all(e["timestamp"] > rests[0]["timestamp"] for e in filled)
                assert data["timestamp"] == max(e["timestamp"] for e in filled)
                return
    pytest.fail("no taker left a remainder")


def test_levels_leave_without_a_word_and_come_back_as_adds_of_known_orders():
    window, gone, silent, returned = Book(10), {}, 0, 0
    for payload in generate(messages=3000, seed=11):
        before = {i: e for side in window.sides.values() for i, e in side.items()}
        window.apply(payload)
        after = {i for side in window.sides.values() for i in side}
        deleted = {e["order_id"] for e in entries(read(payload), "delete")}
        for entry in entries(read(payload), "add"):
            if entry["order_id"] in gone:
                returned += entry["timestamp"] == gone.pop(entry["order_id"])["timestamp"]
        for order_id in set(before) - after - deleted:
            gone[order_id] = before[order_id]
            silent += 1
    assert silent > 500
    assert returned > 500


def test_adds_of_a_revealed_level_are_now_and_then_out_of_order():
    shuffled = 0
    for payload in generate(symbols=4, messages=20_000, seed=1):
        (data,) = read(payload)["data"]
        for name in ("bids", "asks"):
            for _, level in itertools.groupby(
                [e for e in data[name] if e.get("event") == "add"], key=lambda e: e["limit_price"]
            ):
                times = [e["timestamp"] for e in level]
                shuffled += times != sorted(times)
    assert 3 <= shuffled < 200


def test_the_share_of_unsorted_adds_can_be_chosen():
    def unsorted(share):
        trader = Trader(listing(["BTC/USD"])[0], 1, now_ns=10**18, profile=TraderProfile(join=0.6), unsorted_adds=share)
        book, count = Book(10), 0
        assert book.apply(trader.market.snapshot(10))
        for step in range(3000):
            text = trader.market.update(trader.step(10**18 + step * 1000), 10)
            if text is None:
                continue
            assert book.apply(text)
            for side in ("bids", "asks"):
                adds = [e for e in read(text)["data"][0][side] if e["event"] == "add"]
                for _, level in itertools.groupby(adds, key=lambda e: e["limit_price"]):
                    times = [e["timestamp"] for e in level]
                    count += times != sorted(times)
        return count

    assert unsorted(0.0) == 0
    assert unsorted(1.0) > 10


def test_odd_numbers_are_equal_numbers():
    texts = [e["order_qty"] for p in generate(messages=500, seed=1, odd_numbers=0.3) for e in entries(read(p))]
    assert any("e" in t or "E" in t for t in texts)
    quoted = b"".join(generate(messages=500, seed=1, odd_numbers=0.3))
    assert b'"order_qty":"' in quoted
    for payload in generate(messages=200, seed=1, odd_numbers=1.0):
        json.loads(payload)


def test_listing():
    real = listing()
    assert len(real) >= 20
    assert {p.price_precision for p in real} >= {0, 1, 2, 9}
    assert {p.qty_precision for p in real} == {5, 8}
    many = listing(300)
    assert len({p.symbol for p in many}) == 300
    assert listing([many[-1].symbol]) == many[-1:]
    for pair in many:
        record = json.loads(pair.record)
        assert (record["symbol"], record["price_precision"]) == (pair.symbol, pair.price_precision)
    for unknown in ("XBT/USD", "S1/USD", "S/USD", "SAAA/USD"):
        with pytest.raises(KeyError):
            listing([unknown])


def test_the_mix_of_events_is_near_the_genuine_one():
    made = measured()
    for name, (low, high) in GENUINE.items():
        slack = max(0.25 * high, 0.015)
        assert low - slack <= made[name] <= high + slack, (name, made[name], (low, high))


def test_the_comparison_in_the_docs_is_the_one_that_is_computed():
    docs = Path(__file__).parents[2] / "docs" / "exchange.md"
    assert comparison() in docs.read_text(encoding="utf-8")


def test_the_mix_counts_what_it_is_shown():
    def update(*entries):
        data = {
            "symbol": "A/B",
            "bids": [dict(zip(("event", "order_id", "order_qty"), e)) for e in entries],
            "asks": [],
        }
        return json.dumps({"channel": "level3", "type": "update", "data": [data]}).encode()

    mix = Mix()
    mix.add(update(("add", "a", 1)))
    mix.add(update(("delete", "a", 1), ("add", "b", 1)))
    mix.add(update(("add", "a", 1)))  # amended: back after its delete
    mix.add(update(("add", "b", 1)))  # a re-entry: added twice without a delete
    mix.add(update(("delete", "b", 0)))  # filled
    mix.add(b'{"channel":"level3","type":"snapshot","data":[]}')
    shares = mix.shares()
    assert shares["adds, of all events"] == 4 / 6
    assert shares["amended orders coming back, of all adds"] == shares["re-entries, of all adds"] == 1 / 4
    assert shares["full fills, of all events"] == 1 / 6
    assert shares["messages of one add"] == 3 / 5
    assert shares["messages of one delete and one add"] == 1 / 5


def test_nothing_happens_that_the_engine_s_status_forbids():
    """https://docs.kraken.com/api/docs/websocket-v2/status"""
    trader = Trader(listing(["BTC/USD"])[0], 4, profile=TraderProfile(taker=0.5, amend=0.2))
    book = Book(10)
    assert book.apply(trader.market.snapshot(10))
    for step in range(300):
        done = trader.step(step * 1000, "post_only")
        assert not done.trades
        assert (text := trader.market.update(done, 10)) is None or book.apply(text)
    orders = sum(
        len(level.orders) for side in (trader.market.bids, trader.market.asks) for level in side.levels.values()
    )
    for step in range(orders):
        text = trader.market.update(trader.step(step, "cancel_only"), 10)
        assert text is None or book.apply(text)
    assert trader.market.checksum() == 0, "every order is cancelled by now"
    assert trader.market.update(trader.step(0, "cancel_only"), 10) is None
    for step in range(200):
        text = trader.market.update(trader.step(step * 1000), 10)
        assert text is None or book.apply(text)
    assert book.levels("bids")


def test_a_maintenance_is_silent_and_is_not_caught_up_on():
    flow = OrderFlow(["BTC/USD"], rate=1000)
    flow.watch("BTC/USD", 10)
    assert len(list(flow.due(0, 0)) + list(flow.due(10**9, 10**9))) > 100
    flow.set_system("maintenance")
    assert flow.due(2 * 10**9, 2 * 10**9) == []
    assert flow.next_due_ns() is None
    flow.set_system("online")
    assert len(list(flow.due(60 * 10**9, 60 * 10**9))) < 10
