"""What Kraken documents, asked of the exchange by clients that are not ours."""

import json
import re
import ssl
import time

import aiohttp
import pytest
import trustme
import websockets
from strangers import TOKEN_PATH, Wire, a_token, ask_token, running, sign, subscribed, subscription
from wire_oracle import Book, read

from kraken_l3.clock import SystemClock
from kraken_l3.exchange.faults import PairStatus
from kraken_l3.exchange.flow import TraderProfile
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import until, until_sent, until_subscribed

MICROS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
GENEROUS = Limits(subscriptions_per_s=10**6, attempts=10**6, rest_counter=10**6)


def flow(symbols=("BTC/USD", "ETH/USD"), rate=200.0, **how):
    return OrderFlow(symbols, rate=rate, now_ns=time.time_ns(), **how)


class JumpingClock(SystemClock):
    ahead_ns = 0

    def wall_ns(self):
        return super().wall_ns() + self.ahead_ns

    def mono_ns(self):
        return super().mono_ns() + self.ahead_ns

    def jump(self, seconds):
        self.ahead_ns += int(seconds * 1e9)


def assert_timed(answer):
    assert MICROS.fullmatch(answer["time_in"])
    assert MICROS.fullmatch(answer["time_out"])
    assert answer["time_in"] <= answer["time_out"]


# connection


@running
async def test_status_comes_first_and_alone():
    async with Exchange(flow()) as exchange:
        for url in (exchange.ws_url, exchange.public_ws_url):
            wire = await Wire.connect(url)
            got = await wire.during(1.3)
            assert len(got) == 1, "nothing else without a request, not even a heartbeat"
            status = json.loads(got[0])
            assert (status["channel"], status["type"]) == ("status", "update")
            (data,) = status["data"]
            assert (data["version"], data["system"], data["api_version"]) == ("2.0.10", "online", "v2")
            assert 2**53 < data["connection_id"] < 2**64


@running
async def test_pings_of_both_kinds():
    async with Exchange(flow()) as exchange:
        wire = await Wire.connect(exchange.ws_url)
        await wire.message()
        pong = await wire.ask({"method": "ping", "req_id": 101})
        assert_timed(pong)
        assert (pong["method"], pong["req_id"], len(pong)) == ("pong", 101, 4)
        assert "req_id" not in await wire.ask({"method": "ping"})
        wire.write(b"hello", opcode=9)
        await wire.ask({"method": "ping"})
        assert (0xA, b"hello") in wire.binary


@running
async def test_a_client_closes_and_the_server_answers_once():
    async with Exchange(flow()) as exchange:
        wire = await Wire.connect(exchange.ws_url)
        await wire.message()
        wire.write((1000).to_bytes(2, "big"), opcode=8)
        assert await wire.rest() == ([], 1000)
        assert await wire.reader.read() == b"", "nothing behind the close frame"
        await until(exchange, lambda e: not e.clients.level3)


@running
async def test_an_idle_connection_is_closed_and_requests_keep_it():
    clock = JumpingClock()
    async with Exchange(flow(), clock=clock) as exchange:
        idle, busy = await Wire.connect(exchange.ws_url), await Wire.connect(exchange.ws_url)
        user = await subscribed(exchange, ["BTC/USD"])
        clock.jump(40)
        await busy.ask({"method": "ping"})
        clock.jump(25)
        assert (await idle.rest())[1] == 1000
        await busy.ask({"method": "ping"})
        assert await user.level3(3), "a subscription keeps its connection"
        assert len(exchange.clients.level3) == 2


@running
async def test_too_many_connection_attempts_ban_for_a_while():
    clock = JumpingClock()
    async with Exchange(flow(), clock=clock, limits=GENEROUS._replace(attempts=3)) as exchange:
        for _ in range(3):
            await Wire.connect(exchange.ws_url)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError, match="429"):
                await Wire.connect(exchange.ws_url)
        clock.jump(601)
        await Wire.connect(exchange.ws_url)


# subscriptions


@running
async def test_one_ack_and_one_snapshot_a_symbol():
    async with Exchange(flow(("BTC/USD", "ETH/USD", "BTC/JPY"))) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        await wire.message()
        wire.say(subscription(token, ["BTC/USD", "BTC/JPY"], depth=100, req_id=7))
        got = [json.loads(text) for text in await wire.until(b'"update","data":[{"symbol":"BTC/JPY"')]
        while not {"BTC/USD", "BTC/JPY"} <= {m["data"][0]["symbol"] for m in got if m.get("type") == "update"}:
            got.append(await wire.message())
        acks = [m for m in got if "method" in m]
        assert [a["result"]["symbol"] for a in acks] == ["BTC/USD", "BTC/JPY"]
        for ack in acks:
            assert_timed(ack)
            assert (ack["method"], ack["success"], ack["req_id"]) == ("subscribe", True, 7)
            assert ack["result"]["channel"] == "level3"
            assert ack["result"]["snapshot"] is True
            assert ack["result"]["depth"] == 100
        for symbol in ("BTC/USD", "BTC/JPY"):
            own = [m["type"] for m in got if m.get("channel") == "level3" and m["data"][0]["symbol"] == symbol]
            assert own[0] == "snapshot"
            assert own.count("snapshot") == 1
            assert len(own) > 1


@running
async def test_depth_defaults_to_10_and_is_echoed_only_when_sent():
    async with Exchange(flow()) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        ack = await wire.ask(subscription(token, ["ETH/USD"]))
        assert "depth" not in ack["result"]
        assert "req_id" not in ack
        snapshot = read(await wire.text())["data"][0]
        assert len({e["limit_price"] for e in snapshot["bids"]}) == 10


@running
async def test_without_a_snapshot_updates_come_alone():
    async with Exchange(flow()) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        ack = await wire.ask(subscription(token, ["BTC/USD"], snapshot=False))
        assert ack["result"]["snapshot"] is False
        assert {json.loads(t)["type"] for t in await wire.level3(30)} == {"update"}


@running
async def test_rejections_keep_the_connection_and_start_no_heartbeat():
    clock = JumpingClock()
    async with Exchange(flow(), clock=clock, limits=GENEROUS) as exchange:
        old = await a_token(exchange)
        clock.jump(901)
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        wire.write(b"", opcode=9)
        no = {"method": "subscribe", "success": False}

        async def refused(request, **expected):
            answer = await wire.ask(request)
            assert_timed(answer)
            told = {k: v for k, v in answer.items() if not k.startswith("time_")}
            assert told == expected

        for depth in (27, 0, 25, "10", True, None, 10.5):
            request = subscription(token, ["BTC/USD"], req_id=1)
            request["params"]["depth"] = depth
            await refused(request, error="Subscription depth not supported", req_id=1, **no)
        await refused(
            subscription(token, ["XBT/USD"], req_id=2),
            error="Currency pair not supported XBT/USD", symbol="XBT/USD", req_id=2, **no,
        )  # fmt: skip
        for bad in (old, "nonsense", None, 7):
            await refused(
                subscription(bad, ["BTC/USD"], req_id=42),
                error="ESession:Invalid session", status="error", req_id=42, **no,
            )  # fmt: skip
        missing = subscription(token, ["BTC/USD"])
        del missing["params"]["token"]
        await refused(missing, error="ESession:Invalid session", status="error", **no)
        for channel in ("book", "trade", "heartbeat", None):
            request = subscription(token, ["BTC/USD"], channel=channel)
            await refused(request, error="Subscription name invalid", **no)
        malformed = {"error": "Malformed request", "method": "error", "success": False}
        for request in (
            "{", "[]", "7", '"x"', "null", "", "[" * 5000, {"method": "dance"}, {"method": ["ping"]}, {},
            {"method": "subscribe"}, {"method": "subscribe", "params": []}, subscription(token, "BTC/USD"),
            subscription(token, []), subscription(token, [1]), subscription(token, ["BTC/USD"], snapshot="yes"),
            {"method": "ping", "req_id": "seven"},
        ):  # fmt: skip
            await refused(request, **malformed)
        await refused({"method": "dance", "req_id": 9}, req_id=9, **malformed)
        assert await wire.during(1.2) == []
        assert (await wire.ask(subscription(token, ["BTC/USD"])))["success"] is True


@running
async def test_a_good_symbol_among_bad_ones():
    async with Exchange(flow()) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        wire.say(subscription(token, ["XBT/USD", "BTC/USD", "BTC/USD", "NO/PE"], req_id=5))
        answers = [await wire.answer() for _ in range(4)]
        assert [a.get("error") for a in answers] == [
            "Currency pair not supported XBT/USD", None, "Already subscribed", "Currency pair not supported NO/PE",
        ]  # fmt: skip
        assert {a["req_id"] for a in answers} == {5}
        again = await wire.ask(subscription(token, ["BTC/USD"], depth=100))
        assert (again["error"], again["symbol"]) == ("Already subscribed", "BTC/USD")


@running
async def test_heartbeats_once_a_second_whatever_else_comes():
    async with Exchange(flow(rate=500)) as exchange:
        began = time.monotonic()
        wire = await subscribed(exchange, ["BTC/USD"])
        for _ in range(3):
            got = await wire.until(b'{"channel":"heartbeat"}')
            assert len(got) > 1
        assert time.monotonic() - began > 2.5  # `test_liveness` has the exact times


@running
async def test_unsubscribe_and_subscribe_again():
    async with Exchange(flow(rate=400)) as exchange:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"])
        no = await wire.ask(subscription(wire.token, ["BTC/USD"], depth=100, req_id=3, method="unsubscribe"))
        assert (no["error"], no["req_id"]) == ("Subscription Not Found", 3)
        ack = await wire.ask(subscription(wire.token, ["BTC/USD"], depth=10, req_id=4, method="unsubscribe"))
        assert_timed(ack)
        assert (ack["method"], ack["success"], ack["req_id"]) == ("unsubscribe", True, 4)
        assert ack["result"] == {"channel": "level3", "depth": 10, "symbol": "BTC/USD"}
        later = [json.loads(t) for t in await wire.until(b'"heartbeat"')]
        assert {m["data"][0]["symbol"] for m in later if m["channel"] == "level3"} == {"ETH/USD"}
        assert (await wire.ask(subscription(wire.token, ["BTC/USD"], method="unsubscribe")))["error"]
        assert (await wire.ask(subscription(wire.token, ["BTC/USD"], depth=100)))["success"]
        book = Book(100)
        fresh = [t for t in await wire.level3(60) if b'"BTC/USD"' in t]
        assert json.loads(fresh[0])["type"] == "snapshot"
        assert all(book.apply(text) for text in fresh)


@running
async def test_a_resubscribed_quiet_book_says_when_it_last_changed():
    async with Exchange(flow(rate=0)) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        first = json.loads(wire.early[0] if wire.early else await wire.text())
        await wire.ask(subscription(wire.token, ["BTC/USD"], method="unsubscribe"))
        await wire.ask(subscription(wire.token, ["BTC/USD"]))
        assert json.loads(await wire.text()) == first


@running
async def test_a_token_lives_with_its_subscription_and_dies_without():
    clock = JumpingClock()
    async with Exchange(flow(), clock=clock) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        clock.jump(2000)
        assert (await wire.ask(subscription(wire.token, ["ETH/USD"])))["success"]
        other = await Wire.connect(exchange.ws_url)
        assert (await other.ask(subscription(wire.token, ["ETH/USD"])))["error"] == "ESession:Invalid session"


@running
async def test_every_token_with_a_living_subscription_stays_good():
    clock = JumpingClock()
    async with Exchange(flow(("BTC/USD", "ETH/USD", "BTC/JPY")), clock=clock) as exchange:
        first = await subscribed(exchange, ["BTC/USD"])
        second = await a_token(exchange)
        assert (await first.ask(subscription(second, ["ETH/USD"])))["success"]
        clock.jump(2000)
        assert (await first.ask(subscription(first.token, ["BTC/JPY"])))["success"]
        for symbol in ("BTC/USD", "BTC/JPY"):
            assert (await first.ask(subscription(second, [symbol], method="unsubscribe")))["success"]
        assert (await first.ask(subscription(first.token, ["BTC/USD"])))["error"] == "ESession:Invalid session"
        assert (await first.ask(subscription(second, ["BTC/USD"])))["success"]


@running
async def test_a_connection_keeps_its_number_in_every_status():
    async with Exchange(flow()) as exchange:
        one, two = await Wire.connect(exchange.ws_url), await Wire.connect(exchange.ws_url)
        exchange.announce("post_only")
        ids = []
        for wire in (one, two):
            ids.append([(await wire.message())["data"][0]["connection_id"] for _ in range(2)])
        assert ids[0][0] == ids[0][1]
        assert ids[1][0] == ids[1][1] != ids[0][0]


@running
async def test_two_keys_do_not_disturb_each_other():
    keys = {"first": "Zmlyc3Q=", "second": "c2Vjb25k"}
    async with Exchange(OrderFlow(50, rate=0), keys=keys) as exchange:
        symbols = list(exchange.feed.instruments())
        for key, secret in keys.items():
            token = await a_token(exchange, key=key, secret=secret, nonce=1)
            wire = await Wire.connect(exchange.ws_url)
            wire.say(subscription(token, symbols[:41]))
            answers = [(await wire.answer())["success"] for _ in range(41)]
            assert answers == [True] * 40 + [False], "40 symbols a second for each key"
        assert (exchange.api_key, exchange.api_secret) == ("first", "Zmlyc3Q=")


# limits


@running
async def test_the_subscription_counter():
    for limits, depth, room in (
        (Limits.of_tier("standard"), 10, 40),
        (Limits.of_tier("standard"), 100, 8),
        (Limits.of_tier("standard"), 1000, 2),
        (Limits.of_tier("pro"), 10, 100),
        (Limits.of_tier("pro"), 100, 20),
        (Limits.of_tier("pro"), 1000, 5),
    ):
        clock = JumpingClock()
        async with Exchange(OrderFlow(room + 3, rate=0), limits=limits, clock=clock) as exchange:
            symbols = list(exchange.feed.instruments())
            token = await a_token(exchange)
            wire = await Wire.connect(exchange.ws_url)
            wire.say(subscription(token, symbols, depth=depth, req_id=1))
            answers = [await wire.answer() for _ in symbols]
            assert [a["success"] for a in answers] == [True] * room + [False] * 3
            assert {a["error"] for a in answers[room:]} == {"Exceeded msg rate"}
            clock.jump(1)
            assert (await wire.ask(subscription(token, symbols[room : room + 1], depth=depth)))["success"]


@running
async def test_200_symbols_a_connection_and_300_on_two():
    async with Exchange(OrderFlow(300, rate=0, now_ns=time.time_ns()), limits=GENEROUS) as exchange:
        symbols = list(exchange.feed.instruments())
        token = await a_token(exchange)
        one, two = await Wire.connect(exchange.ws_url), await Wire.connect(exchange.ws_url)
        one.say(subscription(token, symbols[:201]))
        answers = [await one.answer() for _ in range(201)]
        assert [a["success"] for a in answers] == [True] * 200 + [False]
        assert answers[-1]["symbol"] == symbols[200]
        two.say(subscription(token, symbols[200:]))
        assert all([(await two.answer())["success"] for _ in range(100)])
        await until_subscribed(exchange, 300)
        exchange.feed.rate = 1000.0  # only now: until here the test would wait for the flow
        for wire, own in ((one, set(symbols[:200])), (two, set(symbols[200:]))):
            alive = set()
            while len(alive) < 50:
                message = json.loads(await wire.text(20))
                if message.get("channel") == "level3" and message["type"] == "update":
                    alive.add(message["data"][0]["symbol"])
            assert alive <= own


# what arrives


@running
async def test_every_byte_and_every_checksum_at_three_depths_at_once():
    async with Exchange(flow(rate=150)) as exchange:
        wires = [(await subscribed(exchange, ["BTC/USD"], depth), depth) for depth in (10, 100, 1000)]
        for number, (wire, depth) in enumerate(wires, 1):
            got = wire.early + await wire.level3(60)
            assert got == exchange.sent.payloads(number)[: len(got)]
            book = Book(depth)
            assert all(book.apply(text) for text in got)
            assert len(book.levels("bids")) == depth


@running
async def test_a_client_made_by_others():
    async with Exchange(flow()) as exchange:
        token = await a_token(exchange)
        async with websockets.connect(exchange.ws_url) as ws:
            await ws.send(json.dumps(subscription(token, ["BTC/USD"])))
            got = []
            while len(got) < 50:
                text = await ws.recv(decode=False)
                if b'"channel":"level3","type"' in text:
                    got.append(text)
        async with aiohttp.ClientSession() as http:
            ws = await http.ws_connect(exchange.ws_url)
            await ws.send_json(subscription(token, ["BTC/USD"], depth=100))
            book, seen = Book(100), 0
            while seen < 50:
                message = await ws.receive()
                if '"channel":"level3","type"' in message.data:
                    assert book.apply(message.data)
                    seen += 1
            await ws.close()
            assert ws.close_code == 1000
        assert got == exchange.sent.payloads(1)[:50]
        await until(exchange, lambda e: not e.clients.level3)


@running
async def test_over_tls(tmp_path):
    authority = trustme.CA()

    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Exchange(flow(), tls=server) as exchange:
        assert exchange.rest_url.startswith("https://")
        assert exchange.ws_url.startswith("wss://")
        wire = await subscribed(exchange, ["BTC/USD"], tls=client)
        got = wire.early + await wire.level3(20)
        assert got == exchange.sent.payloads()[: len(got)]


@running
async def test_a_slow_reader_loses_nothing():
    async with Exchange(flow(rate=4000)) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        wire.writer.transport.pause_reading()
        await until_sent(exchange, 3000)
        wire.writer.transport.resume_reading()
        count = exchange.sent.level3_count
        exchange.feed.rate = 0
        got = list(wire.early)
        while len(got) < count:
            text = await wire.text()
            if b'"level3"' in text:
                got.append(text)
        assert got == exchange.sent.payloads()[:count]


@running
async def test_a_reader_that_never_reads_is_cut_at_the_bound():
    limits = GENEROUS._replace(backlog_bytes=200_000)
    async with Exchange(flow(rate=20_000), limits=limits) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        wire.writer.transport.pause_reading()
        await until(exchange, lambda e: not e.clients.level3, 30)


# public endpoint


@running
async def test_instruments():
    async with Exchange(flow()) as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        ack = await wire.ask({"method": "subscribe", "params": {"channel": "instrument"}, "req_id": 1})
        assert_timed(ack)
        assert ack["result"]["warnings"] == ["tick_size is deprecated, use price_increment"]
        message = json.loads(await wire.text())
        assert (message["channel"], message["type"]) == ("instrument", "snapshot")
        pairs = {p["symbol"]: p for p in message["data"]["pairs"]}
        assert set(pairs) == {"BTC/USD", "ETH/USD"}
        assert pairs["BTC/USD"]["price_precision"] == 1
        assert any(a["id"] == "USD" for a in message["data"]["assets"])
        ask = {"method": "subscribe", "params": {"channel": "instrument"}}
        assert (await wire.ask(ask))["error"] == "Already subscribed"
        ack = await wire.ask({"method": "unsubscribe", "params": {"channel": "instrument"}})
        assert ack["result"]["channel"] == "instrument"
        no = await wire.ask(subscription("", ["BTC/USD"]))
        assert no["error"] == "Subscription name invalid", "level3 is not served here"


@running
async def test_a_pair_changes_its_status():
    async with Exchange(flow()) as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        ask = {"method": "subscribe", "params": {"channel": "instrument", "snapshot": False}}
        assert (await wire.ask(ask))["result"]["snapshot"] is False
        await exchange.push(PairStatus(symbol="ETH/USD", status="post_only"))
        message = json.loads(await wire.text())
        assert (message["type"], message["data"]["assets"]) == ("update", [])
        (pair,) = message["data"]["pairs"]
        assert (pair["symbol"], pair["status"], pair["price_precision"]) == ("ETH/USD", "post_only", 2)


@running
async def test_trades_go_on_in_sequence():

    async with Exchange(flow(rate=400, profile=TraderProfile(taker=0.3))) as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        await until(exchange, lambda e: e.feed.recent_trades("BTC/USD") is not None)
        ask = {
            "method": "subscribe",
            "params": {"channel": "trade", "symbol": ["BTC/USD", "XBT/USD"], "snapshot": True},
        }
        wire.say(ask)
        assert (await wire.answer())["result"] == {"channel": "trade", "snapshot": True, "symbol": "BTC/USD"}
        got = [json.loads(t) for _ in range(10) for t in await wire.until(b'"trade","type"')]
        assert any(m.get("error") == "Currency pair not supported XBT/USD" for m in got)
        trades = [m for m in got if m.get("channel") == "trade"]
        assert [m["type"] for m in trades[:2]] == ["snapshot", "update"]
        ids = [t["trade_id"] for m in trades for t in m["data"]]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert {t["symbol"] for m in trades for t in m["data"]} == {"BTC/USD"}
        stop = {"method": "unsubscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}}
        assert (await wire.ask(stop))["success"]
        assert not [t for t in await wire.during(0.3) if b'"trade"' in t]


# REST


@running
async def test_a_token_for_a_signed_request_in_both_body_forms():
    async with Exchange(flow()) as exchange:
        for as_json in (False, True):
            status, answer = await ask_token(exchange, as_json=as_json)
            assert status == 200
            assert answer["error"] == []
            assert answer["result"]["expires"] == 900
            assert len(answer["result"]["token"]) > 20
        assert exchange.tokens_given == 2


@running
async def test_what_is_refused_is_refused_with_http_200():
    async with Exchange(flow(), limits=GENEROUS) as exchange:
        nonce = time.time_ns()
        await ask_token(exchange, nonce=nonce)
        for how, error in (
            ({"key": "wrong"}, "EAPI:Invalid key"),
            ({"secret": "d3Jvbmc="}, "EAPI:Invalid signature"),
            ({"sign_body": b"nonce=1"}, "EAPI:Invalid signature"),
            ({"nonce": nonce}, "EAPI:Invalid nonce"),
            ({"nonce": nonce - 1}, "EAPI:Invalid nonce"),
            ({"nonce": "abc"}, "EAPI:Invalid nonce"),
            ({"nonce": -5}, "EAPI:Invalid nonce"),
            ({"nonce": 2**64}, "EAPI:Invalid nonce"),
        ):
            assert await ask_token(exchange, **how) == (200, {"error": [error]}), how
        exchange.tokens.permissions = ()
        assert (await ask_token(exchange))[1] == {"error": ["EGeneral:Permission denied"]}
        async with aiohttp.ClientSession() as http:
            for headers in ({}, {"API-Key": exchange.api_key}, {"API-Key": exchange.api_key, "API-Sign": "?"}):
                answer = await http.post(exchange.rest_url + TOKEN_PATH, data=b"nonce=9", headers=headers)
                assert (await answer.json())["error"][0] in ("EAPI:Invalid key", "EAPI:Invalid signature")
            answer = await http.post(exchange.rest_url + "/0/private/Balance", data=b"nonce=9")
            assert (answer.status, await answer.json()) == (200, {"error": ["EGeneral:Unknown method"]})


@running
async def test_wrong_keys_lock_out_and_calls_are_counted():
    clock = JumpingClock()
    async with Exchange(flow(), clock=clock) as exchange:
        for _ in range(exchange.limits.invalid_keys):
            assert (await ask_token(exchange, key="wrong"))[1] == {"error": ["EAPI:Invalid key"]}
        assert (await ask_token(exchange))[1] == {"error": ["EGeneral:Temporary lockout"]}
        clock.jump(901)
        answers = [(await ask_token(exchange))[1]["error"] for _ in range(25)]
        assert answers[:20] == [[]] * 20
        assert ["EAPI:Rate limit exceeded"] in answers[20:]
        clock.jump(4)
        assert (await ask_token(exchange))[1]["error"] == []


def test_the_published_signature_vector():
    secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    known = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert sign(secret, 1616492376594, body, "/0/private/AddOrder") == known
