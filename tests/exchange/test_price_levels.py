"""The channels `book` and `ticker`, followed by a client of a few lines that knows Kraken's pages alone."""

import json
import time
import zlib
from decimal import Decimal

import pytest
from strangers import Wire, running
from wire_oracle import read

from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.price_levels import PriceBooks
from kraken_l3.exchange.server import Exchange


class PriceBook:
    """Applies `book` messages; each has to leave the checksum that it states."""

    def __init__(self, depth):
        self.depth = depth
        self.sides = {"bids": {}, "asks": {}}

    def apply(self, payload):
        message = read(payload)
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name, levels in self.sides.items():
            for level in data[name]:
                if Decimal(level["qty"]) == 0:
                    del levels[level["price"]]  # one that is not there: KeyError
                else:
                    levels[level["price"]] = level["qty"]
            for price in self.ordered(name)[self.depth :]:
                del levels[price]
        return zlib.crc32("".join(self.tokens()).encode()) == int(data["checksum"])

    def ordered(self, name):
        return sorted(self.sides[name], key=Decimal, reverse=name == "bids")

    def tokens(self):
        for name in ("asks", "bids"):
            for price in self.ordered(name)[:10]:
                yield from (text.replace(".", "").lstrip("0") for text in (price, self.sides[name][price]))


@pytest.mark.parametrize("depth", [10, 25, 100])
def test_a_client_of_price_levels_has_the_book_of_the_orders(depth):
    feed = OrderFlow(["BTC/USD"], rate=1000.0, seed=depth, now_ns=time.time_ns())
    feed.watch("BTC/USD", 100)
    books, client = PriceBooks(feed), PriceBook(depth)
    assert client.apply(books.snapshot("BTC/USD", depth))
    updates = 0
    for turn in range(1_500):
        feed.due(time.time_ns(), turn * 3_000_000)
        update = books.update("BTC/USD", depth)
        if update is not None:
            updates += 1
            assert client.apply(update)
    levels = feed.levels("BTC/USD", depth)
    for name, side in (("bids", levels.bids), ("asks", levels.asks)):
        shown = [(Decimal(price), Decimal(client.sides[name][price])) for price in client.ordered(name)]
        assert shown == [(Decimal(p).scaleb(-1), Decimal(q).scaleb(-8)) for p, q in side]
    assert updates > 300
    assert books.update("BTC/USD", depth) is None, "nothing changed since"


@running
async def test_book_and_ticker_are_subscribed_as_any_channel():
    async with Exchange(OrderFlow(["BTC/USD", "ETH/USD"], rate=400.0, now_ns=time.time_ns())) as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        ask = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
        ack = await wire.ask({"method": "subscribe", "params": ask, "req_id": 7})
        assert (ack["success"], ack["req_id"]) == (True, 7)
        assert ack["result"] == {"channel": "book", "depth": 25, "snapshot": True, "symbol": "BTC/USD"}
        client = PriceBook(25)
        for _ in range(40):
            assert client.apply(await wire.next_of(b'"channel":"book"'))
        again = await wire.ask({"method": "subscribe", "params": ask})
        assert again["error"] == "Already subscribed"
        refused = await wire.ask({"method": "subscribe", "params": {**ask, "depth": 27}})
        assert refused["error"] == "Subscription depth not supported"
        gone = await wire.ask({"method": "unsubscribe", "params": ask})
        assert gone["success"]

        params = {"channel": "ticker", "symbol": ["ETH/USD"], "event_trigger": "bbo"}
        assert (await wire.ask({"method": "subscribe", "params": params}))["success"]
        tickers = [json.loads(await wire.next_of(b'"channel":"ticker"')) for _ in range(5)]
        assert [ticker["type"] for ticker in tickers] == ["snapshot"] + ["update"] * 4
        best = [(data["bid"], data["bid_qty"], data["ask"], data["ask_qty"]) for t in tickers for data in t["data"]]
        assert all(before != after for before, after in zip(best[1:], best[2:])), "only where the best changed"
        assert all(bid < ask for bid, _, ask, _ in best)


@running
async def test_a_ticker_of_trades_sums_them_up():
    async with Exchange(OrderFlow(["BTC/USD"], rate=2000.0, now_ns=time.time_ns())) as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        for channel in ("trade", "ticker"):
            await wire.ask({"method": "subscribe", "params": {"channel": channel, "symbol": ["BTC/USD"]}})
        seen = []
        while len(seen) < 20:
            message = read(await wire.text())
            if message.get("channel") == "trade":
                seen += message["data"]
            elif message.get("channel") == "ticker" and message["type"] == "update":
                last = message["data"][0]
                assert Decimal(last["low"]) <= Decimal(last["vwap"]) <= Decimal(last["high"])
                if seen:
                    assert Decimal(last["last"]) == Decimal(seen[-1]["price"])
        assert Decimal(last["volume"]) >= sum(Decimal(trade["qty"]) for trade in seen[:10])
