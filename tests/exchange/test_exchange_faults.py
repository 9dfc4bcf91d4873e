"""Each fault does what its description says, as seen by a client of raw sockets."""

import asyncio
import json
import time

import aiohttp
import pytest
from strangers import TOKEN_PATH, Wire, a_token, ask_token, running, sign, subscribed, subscription
from wire_oracle import Book

from kraken_l3.errors import ConfigError
from kraken_l3.exchange import faults as f
from kraken_l3.exchange.fault_log import FaultLog
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import NotedFlow, until, until_sent


def flow(rate=300.0):
    return OrderFlow(("BTC/USD", "ETH/USD"), rate=rate, now_ns=time.time_ns())


def level3(texts):
    return [t for t in texts if t.startswith(b'{"channel":"level3"')]


# connections


@running
async def test_drop_by_reset_and_by_fin():
    async with Exchange(flow()) as exchange:
        for reset, ending in ((True, "ConnectionResetError"), (False, "IncompleteReadError")):
            wire = await subscribed(exchange, ["BTC/USD"])
            number = exchange.connections_made
            await until_sent(exchange, exchange.sent.level3_count + 50)
            await exchange.push(f.Drop(reset=reset, connection=number))
            got, end = await wire.rest()
            assert end == ending
            got = wire.early + level3(got)
            assert got == exchange.sent.payloads(number), "what was sent before the cut had left"
            assert number not in exchange.clients.level3


@running
async def test_close_codes_and_only_where_it_is_meant():
    async with Exchange(flow()) as exchange:
        one, two = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["ETH/USD"])
        public = await Wire.connect(exchange.public_ws_url)
        await exchange.push(f.Close(code=1013, reason="Market data unavailable", symbol="BTC/USD"))
        assert (await one.rest())[1] == 1013
        assert one.binary[-1][1][2:] == b"Market data unavailable"
        assert await two.level3(3)
        await exchange.push(f.Close(code=1001))
        assert (await two.rest())[1] == 1001
        await exchange.push(f.Close(code=1001, public=True))
        assert (await public.rest())[1] == 1001


@running
async def test_a_client_that_ignores_the_close_is_cut():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        wire.write = lambda *_args, **_how: None
        await exchange.push(f.Close())
        await until(exchange, lambda e: not e.clients.level3)
        assert await wire.rest()


@running
async def test_stall_is_silence_and_its_end_loses_nothing():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.Stall(for_s=1.5))
        before = await wire.during(0.3)
        wire.say({"method": "ping"})
        wire.write(b"", opcode=9)
        assert await wire.during(1.0) == []
        after = await wire.until(b'"pong"')
        got = level3(wire.early + before + after)
        assert got == exchange.sent.payloads()[: len(got)]
        book = Book(10)
        assert all(book.apply(text) for text in got)


@running
async def test_stall_for_ever_after_some_messages():
    async with Exchange(flow(), faults=[f.Stall(after_messages=20)]) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        got = wire.early + await wire.level3(20 - len(wire.early)) + await wire.during(0.5)
        assert len(got) == 20
        assert len(exchange.sent.payloads()) == 20


@running
async def test_a_slow_way_delays_and_keeps():
    async with Exchange(flow(rate=200), faults=[f.Slow(bytes_per_s=20_000, after_messages=1)]) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        got = level3(wire.early + await wire.during(1.5))
        assert sum(map(len, got)) < 45_000
        assert exchange.clients.level3[1].backlog > 5_000
        assert got == exchange.sent.payloads()[: len(got)]


# messages


def faulted(*faults, symbols=("BTC/USD",), messages=60):
    """All level3 texts of a run, and the exchange after it."""

    async def run():
        async with Exchange(flow(), faults=faults) as exchange:
            wire = await subscribed(exchange, list(symbols))
            got = wire.early + await wire.level3(messages)
            assert got == exchange.sent.payloads()[: len(got)]
            return got

    return run()


@running
async def test_a_skipped_message_is_missed_by_a_book():
    got = await faulted(f.Skip(after_messages=5, times=12))
    book = Book(10)
    assert all(book.apply(t) for t in got[:5])
    with pytest.raises((AssertionError, KeyError)):
        assert all(book.apply(text) for text in got[5:])


@running
async def test_a_skipped_snapshot_never_comes():
    got = await faulted(f.Skip())
    assert json.loads(got[0])["type"] == "update"


@running
async def test_a_duplicate_comes_twice():
    got = await faulted(f.Duplicate(after_messages=7))
    assert got[7] == got[8]
    assert len(set(got)) == len(got) - 1


@running
async def test_corruption_changes_one_digit():
    for what in ("checksum", "price", "qty"):
        got = await faulted(f.Corrupt(what=what, after_messages=3, times=4, every_messages=2))
        book, wrong = Book(10), []
        for number, text in enumerate(got[:10]):
            json.loads(text)
            try:
                if not book.apply(text):
                    wrong.append(number)
            except KeyError:
                wrong.append(number)
        assert 3 in wrong, what
        assert not set(wrong) & {0, 1, 2}
        if what == "checksum":
            assert wrong == [3, 5, 7, 9]


@running
async def test_a_cut_message_is_no_json():
    got = await faulted(f.Corrupt(what="cut", after_messages=2))
    with pytest.raises(json.JSONDecodeError):
        json.loads(got[2])


@running
async def test_faults_of_one_symbol_leave_the_other_alone():
    got = await faulted(f.Corrupt(times=0, symbol="ETH/USD"), symbols=("BTC/USD", "ETH/USD"))
    right = {"BTC/USD": set(), "ETH/USD": set()}
    books = {symbol: Book(10) for symbol in right}
    for text in got:
        symbol = json.loads(text)["data"][0]["symbol"]
        right[symbol].add(books[symbol].apply(text))
    assert right == {"BTC/USD": {True}, "ETH/USD": {False}}


@running
async def test_fragments_are_continuation_frames_with_a_ping_between():
    async with Exchange(flow(), faults=[f.Fragment(pieces=4, times=0)]) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        wire.say(subscription(token, ["BTC/USD"]))
        frames = [await wire.frame() for _ in range(60)]
        start = next(i for i, frame in enumerate(frames) if not frame[0])
        assert [(fin, opcode) for fin, _, opcode, _ in frames[start : start + 5]] == [
            (False, 1), (True, 9), (False, 0), (False, 0), (True, 0),
        ]  # fmt: skip
        whole = b"".join(p for _, _, opcode, p in frames[start : start + 5] if opcode != 9)
        assert whole == exchange.sent.payloads()[0]
        got = await wire.level3(10)
        assert got[-1] in exchange.sent.payloads()


@running
async def test_garbage_and_giants():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        for what, sent in (
            ("text", b"this is no JSON"),
            ("json", b'{"channel":"level3","type":"update","data":[{"symbol":"BT'),
            ("empty", b""),
            ("utf8", b'{"channel":"level3","symbol":"\xff\xfe"}'),
        ):
            await exchange.push(f.Garbage(what=what))
            while await wire.text() != sent:
                pass
        await exchange.push(f.Garbage(what="binary"))
        while (2, b"\x00\x01\x02") not in wire.binary:
            await wire.text()
        await exchange.push(f.Giant(size=5_000_000))
        giant = await wire.next_of(b"GIANT/USD")
        assert len(giant) == 5_000_000
        assert json.loads(giant)["data"][0]["symbol"] == "GIANT/USD"
        await exchange.push(f.Garbage(what="rsv1"))
        while (frame := await wire.frame())[1] == 0:
            pass
        assert frame[1] == 0x40


@running
async def test_a_token_that_comes_back_in_every_form():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.Send(text='{"debug":"{token}"}'))
        assert json.loads(await wire.next_of(b"debug")) == {"debug": wire.token}
        await exchange.push(f.Send(text='{"debug":"{token:escaped}"}'))
        escaped = await wire.next_of(b"debug")
        assert wire.token.encode() not in escaped
        assert json.loads(escaped) == {"debug": wire.token}
        await exchange.push(f.Send(text='{"debug":"{token}"}', pieces=9))
        assert json.loads(await wire.next_of(b"debug")) == {"debug": wire.token}
        await exchange.push(f.Close(code=1008, reason="bad token {token}"))
        assert (await wire.rest())[1] == 1008
        assert wire.binary[-1][1][2:].decode() == f"bad token {wire.token}"


@running
async def test_floods_of_each_kind():
    async with Exchange(flow(rate=0)) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        for what, sign in (("status", b'"status"'), ("reject", b'"error"'), ("unknown", b'"unknown"')):
            await exchange.push(f.Flood(what=what, size=60_000, count=5, times=2, every_s=0.01))
            for _ in range(10):
                text = await wire.next_of(sign)
                assert 60_000 < len(text) < 60_300
                json.loads(text)
        await exchange.push(f.Flood(what="ping", count=30))
        await exchange.push(f.Send(text="after"))
        await wire.next_of(b"after")
        assert [frame for frame in wire.binary if frame[0] == 9] == [(9, b"x" * 125)] * 30


@running
async def test_a_deaf_server_answers_once_it_hears_again():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.Deaf(for_s=0.4))
        began = time.monotonic()
        assert (await wire.ask({"method": "ping"}))["method"] == "pong"
        assert time.monotonic() - began > 0.3


@running
async def test_absurd_values_from_the_exchange():
    script = [f.PairField(symbol="BTC/USD", field="price_precision", value=-3), f.AckDepth(depth=10**30)]
    async with Exchange(flow(), faults=script) as exchange:
        public = await Wire.connect(exchange.public_ws_url)
        public.say({"method": "subscribe", "params": {"channel": "instrument"}})
        pairs = json.loads(await public.next_of(b'"snapshot","data"'))["data"]["pairs"]
        assert {p["symbol"]: p["price_precision"] for p in pairs} == {"BTC/USD": -3, "ETH/USD": 2}
        await exchange.push(f.PairField(symbol="ETH/USD", field="qty_precision", value=10**9))
        (pair,) = json.loads(await public.next_of(b'"update","data"'))["data"]["pairs"]
        assert pair["qty_precision"] == 10**9
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        assert (await wire.ask(subscription(token, ["BTC/USD"], depth=100)))["result"]["depth"] == 10**30
        assert (await wire.ask(subscription(token, ["ETH/USD"], depth=100)))["result"]["depth"] == 100


@running
async def test_a_token_error_may_repeat_the_request_s_secrets():
    script = [
        f.TokenError(error="EAPI:Invalid key:{api_key} {api_sign}"),
        f.TokenError(http_status=403, reason="no {api_key}"),
    ]
    async with Exchange(flow(), faults=script) as exchange:
        _, answer = await ask_token(exchange, nonce=7)
        assert answer["error"] == [
            f"EAPI:Invalid key:{exchange.api_key} {sign(exchange.api_secret, 7, b'nonce=7')}",
        ]
        async with aiohttp.ClientSession() as http:
            refused = await http.post(exchange.rest_url + TOKEN_PATH, headers={"API-Key": "abc"})
        assert (refused.status, refused.reason) == (403, "no abc")


@pytest.mark.parametrize("fault", [f.PairStatus(status="online"), f.PairField(symbol="NO/PE", field="a", value=1)])
def test_a_pair_fault_needs_a_pair(fault):
    with pytest.raises(ConfigError, match=type(fault).__name__.lower()):
        Exchange(flow(), faults=[fault])


# requests


@running
async def test_a_rejected_symbol_some_times_or_for_ever():
    script = [
        f.Reject(symbol="BTC/USD", error="Exceeded msg rate", times=2),
        f.Reject(symbol="ETH/USD", error="EService:Market in limbo", times=0),
    ]
    async with Exchange(flow(), faults=script) as exchange:
        token = await a_token(exchange)
        wire = await Wire.connect(exchange.ws_url)
        for attempt in range(3):
            btc = await wire.ask(subscription(token, ["BTC/USD"], req_id=attempt))
            assert btc.get("error") == ("Exceeded msg rate" if attempt < 2 else None)
        for _ in range(3):
            eth = await wire.ask(subscription(token, ["ETH/USD"]))
            assert (eth["error"], eth["success"], eth["symbol"]) == ("EService:Market in limbo", False, "ETH/USD")


@running
async def test_every_class_of_token_error():
    errors = [
        "EAPI:Invalid key", "EAPI:Invalid signature", "EAPI:Invalid nonce", "EGeneral:Permission denied",
        "EGeneral:Temporary lockout", "EAPI:Rate limit exceeded", "EService:Unavailable",
        "EService: Throttled: 1790000000",
    ]  # fmt: skip
    async with Exchange(flow(), faults=[f.TokenError(error=e) for e in errors]) as exchange:
        for error in errors:
            assert await ask_token(exchange) == (200, {"error": [error]})
        await exchange.push(f.TokenError(http_status=520, times=2))
        for _ in range(2):
            status, text = await ask_token(exchange)
            assert (status, text) == (520, "<html>error</html>")
        assert await a_token(exchange)


@running
async def test_expired_tokens_spare_a_living_subscription():
    async with Exchange(flow()) as exchange:
        fresh = await a_token(exchange)
        wire = await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.ExpireTokens())
        assert (await wire.ask(subscription(fresh, ["ETH/USD"])))["error"] == "ESession:Invalid session"
        assert (await wire.ask(subscription(wire.token, ["ETH/USD"])))["success"]


@running
async def test_refused_connections():
    async with Exchange(flow(), faults=[f.RefuseConnections(for_s=0.5)]) as exchange:
        with pytest.raises(ConnectionRefusedError, match="429"):
            await Wire.connect(exchange.ws_url)
        while exchange.faults.refused_with() is not None:
            await asyncio.sleep(0.02)
        await Wire.connect(exchange.ws_url)


# the engine's state


@running
async def test_status_and_maintenance():
    async with Exchange(flow()) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.Status(system="post_only"))
        await wire.next_of(b'"system":"post_only"')
        await exchange.push(f.Maintenance(announce_s=0.3, for_s=0.6, stage_s=0.2))
        got, code = await wire.rest()
        assert code == 1001
        announced, closed = [json.loads(t)["data"][0] for t in got if b'"status"' in t]
        event = announced["upcoming_maintenance"][0]
        assert (event["affected_services"], event["recommended_action"]) == (["all"], "disconnect_and_wait")
        assert announced["emergency"] == []
        assert closed["system"] == "maintenance"
        with pytest.raises(ConnectionRefusedError, match="503"):
            await Wire.connect(exchange.ws_url)
        await until(exchange, lambda e: e.system == "cancel_only")
        back = await Wire.connect(exchange.ws_url)
        states = [json.loads(t)["data"][0]["system"] for t in await back.until(b'"system":"online"')]
        assert states == ["cancel_only", "post_only", "online"]


@running
async def test_keys_in_another_order_are_the_same_message():
    async with Exchange(flow(), faults=[f.Reorder(times=0)]) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        book = Book(10)
        for text in wire.early + [await wire.next_of(b'"channel":"level3"}') for _ in range(30)]:
            assert text.startswith(b'{"data":[{')
            assert book.apply(text)


@running
async def test_a_late_snapshot_comes_after_messages_of_others_and_loses_nothing():
    async with Exchange(flow(), faults=[f.LateSnapshot(symbol="ETH/USD", messages=30)]) as exchange:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"])
        texts = wire.early
        while sum(b'"ETH/USD"' in text[:90] for text in texts) < 20:
            texts += await wire.level3(1)
        first = next(i for i, text in enumerate(texts) if b'"ETH/USD"' in text[:90])
        assert first == 31  # the other symbol's snapshot, and 30 updates of it
        assert b'"snapshot"' in texts[first][:60]
        assert texts == exchange.sent.payloads()[: len(texts)]


# when


@running
async def test_by_time_repeatedly():
    script = [f.Close(code=1012, at_s=1, every_s=1, times=2)]
    async with Exchange(flow(), faults=script) as exchange:
        began = time.monotonic()
        for _ in range(2):
            wire = await subscribed(exchange, ["BTC/USD"])
            assert (await wire.rest())[1] == 1012
        assert time.monotonic() - began > 1.9
        wire = await subscribed(exchange, ["BTC/USD"])
        assert await wire.level3(3)


@running
async def test_by_count_on_one_connection():
    async with Exchange(flow(), faults=[f.Drop(connection=2, after_messages=10)]) as exchange:
        one, two = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        got, end = await two.rest()
        assert len(level3(two.early + got)) == 10
        assert end == "ConnectionResetError"
        assert await one.level3(3)


@running
async def test_drops_again_and_again_and_the_log_stays_whole():
    """What a recorder does all day: every byte that any connection got stands in the log, in order."""
    async with Exchange(flow(), faults=[f.Drop(after_messages=40, every_messages=40, times=0)]) as exchange:
        for number in range(1, 6):
            wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"])
            got, _ = await wire.rest()
            assert level3(wire.early + got) == exchange.sent.payloads(number)
        assert sum(len(exchange.sent.payloads(n)) for n in range(1, 6)) == 200


# scripts


def test_a_script_in_yaml(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- do: drop\n  after_messages: 100\n  connection: 1\n"
        "- {do: close, code: 1013, reason: Market data unavailable, at_s: 5}\n"
        "- {do: reject, symbol: ETH/USD, error: nobody, times: 0}\n"
        "- {do: tokenerror, http_status: 502}\n"
        "- {do: status, system: online, more: {upcoming_maintenance: [], emergency: []}}\n"
        "- {do: corrupt, what: qty}\n"
        "- {do: flood, what: ping, count: 3}\n"
        "- {do: ackdepth, depth: 1000000000000000000000000000000}\n"
        "- {do: pairfield, symbol: BTC/USD, field: price_precision, value: 1000000000}\n"
    )
    script = f.load_script(path)
    assert script[0] == f.Drop(after_messages=100, connection=1)
    assert script[1] == f.Close(code=1013, reason="Market data unavailable", at_s=5)
    assert [type(fault) for fault in script[2:]] == [
        f.Reject, f.TokenError, f.Status, f.Corrupt, f.Flood, f.AckDepth, f.PairField,
    ]  # fmt: skip
    assert script[-2].depth == 10**30


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- do: explode", "explode"),
        ("- do: drop\n  after: 3", "after"),
        ("- do: close\n  code: many", "code"),
        ("do: drop", "array"),
        ("- [", "fault script"),
        ("- do: corrupt\n  what: colour", "colour"),
    ],
)
def test_a_script_that_is_none(tmp_path, text, says):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        f.load_script(path)
    assert str(path) in str(caught.value)


def test_a_script_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        f.load_script(tmp_path / "no.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert f.load_script(tmp_path / "empty.yaml") == []


@running
async def test_a_feed_that_fails_is_not_a_quiet_market():
    class Broken(OrderFlow):
        def due(self, wall_ns, mono_ns):
            raise ValueError("no more")

    told = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.set_result(context["exception"]))
    async with Exchange(Broken(("BTC/USD",))) as exchange:
        assert str(await asyncio.wait_for(told, 10)) == "no more"
        assert exchange.sent.level3_count == 0


@running
async def test_faults_by_chance_are_the_same_for_the_same_seed_and_stand_in_the_log(tmp_path):
    async def lost(seed, path=None):
        log = FaultLog(path)
        skips = [f.Skip(probability=0.1, times=0)]
        feed = OrderFlow(["BTC/USD"], rate=2000.0, seed=4, now_ns=10**18)
        async with Exchange(feed, faults=skips, fault_log=log, fault_seed=seed) as exchange:
            wire = await subscribed(exchange, ["BTC/USD"])
            await wire.level3(500)
        return [record["number"] for record in log.records][:40]

    first = await lost(1, tmp_path / "faults.ndjson")
    assert first == await lost(1)
    assert first != await lost(2)
    assert len(first) == 40
    written = [json.loads(line) for line in (tmp_path / "faults.ndjson").read_text().splitlines()]
    assert {(record["do"], record["connection"], record["symbol"]) for record in written} == {("skip", 1, "BTC/USD")}
    assert 0.05 < len(written) / written[-1]["number"] < 0.2


# several connections of one client


@pytest.fixture
def noted():
    return NotedFlow(("BTC/USD", "ETH/USD"), rate=1000.0, now_ns=time.time_ns())


@running
async def test_connections_see_one_flow_each_with_its_own_delay_and_order_kept(noted):
    script = [
        f.Delay(connection=1, times=0, jitter_s=0.02),
        f.Delay(connection=2, times=0, delay_s=0.5, jitter_s=0.05),
    ]
    async with Exchange(noted, faults=script) as exchange:
        one, two = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        began = time.monotonic()
        early = two.early + await two.level3(60 - len(two.early))
        assert time.monotonic() - began > 0.45
        prompt = one.early + await one.level3(60 - len(one.early))
        updates = noted.updates["BTC/USD", 10]
        assert prompt[1:] == updates[:59], "from the first update on, in order"
        first = updates.index(early[1])
        assert early[1:] == updates[first : first + 59]
        assert len(exchange.faults.log.records) == 2


@running
async def test_what_is_delayed_is_lost_by_a_drop_and_sent_before_a_close(noted):
    async with Exchange(noted, faults=[f.Delay(times=0, after_messages=40, delay_s=60)]) as exchange:
        cut, closed = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        await until(exchange, lambda e: len(noted.updates["BTC/USD", 10]) >= 120)
        await exchange.push(f.Drop(connection=1))
        await exchange.push(f.Close(connection=2))
        assert len(cut.early + level3((await cut.rest())[0])) < 60
        assert len(closed.early + level3((await closed.rest())[0])) > 60


@running
async def test_silence_while_heartbeats_go_on_ends_with_all_or_none_of_it(noted):
    async with Exchange(noted) as exchange:
        kept, lost = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        await exchange.push(f.Silence(connection=1, for_s=1.5))
        await exchange.push(f.Silence(connection=2, for_s=1.5, lose=True))
        quiet = await kept.during(1.3)
        assert b'{"channel":"heartbeat"}' in quiet
        before = kept.early + level3(quiet)
        assert len(exchange.sent.payloads(1)) == len(before)
        got = before + await kept.level3(300)
        assert got[1:] == noted.updates["BTC/USD", 10][: len(got) - 1]
        after = lost.early + await lost.level3(100)
        assert not set(noted.updates["BTC/USD", 10][len(before) + 20 : len(before) + 60]) & set(after)


@running
async def test_silence_of_one_symbol_leaves_the_other_alone(noted):
    async with Exchange(noted, faults=[f.Silence(symbol="BTC/USD", after_messages=20)]) as exchange:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"])
        got = wire.early + await wire.level3(100)
        assert sum(b'"BTC/USD"' in text[:90] for text in got) == 20


@running
@pytest.mark.parametrize("how", ["short", "exponent", "quotes"])
async def test_other_number_text_is_the_same_message(noted, how):
    async with Exchange(noted, faults=[f.Respell(connection=2, times=0, how=how)]) as exchange:
        plain, other = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        texts = other.early + await other.level3(40)
        book = Book(10, 1, 8)
        assert all(book.apply(text) for text in texts)
        updates = {by_value(text) for text in noted.updates["BTC/USD", 10]}
        assert {by_value(text) for text in texts[1:]} <= updates
        assert not set(texts) <= set(noted.updates["BTC/USD", 10])
        same = plain.early + await plain.level3(20)
        assert set(same[1:]) <= set(noted.updates["BTC/USD", 10])


def by_value(text):
    """The message with its numbers by value."""
    (data,) = json.loads(text)["data"]
    for entry in data["bids"] + data["asks"]:
        entry.update(limit_price=float(entry["limit_price"]), order_qty=float(entry["order_qty"]))
    return json.dumps(data, sort_keys=True)


@running
async def test_other_timestamps_and_other_content_on_one_connection(noted):
    script = [f.Restamp(connection=2, times=0, by_ns=1), f.Corrupt(connection=2, what="order_id", after_messages=5)]
    async with Exchange(noted, faults=script) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        other = await subscribed(exchange, ["BTC/USD"])
        got = other.early + await other.level3(30)
        same = wire.early + await wire.level3(40)
        book = Book(10)
        assert all(book.apply(text) for text in same)
        changed = [text for text in got[1:] if stamped_back(text) not in noted.updates["BTC/USD", 10]]
        assert len(changed) == 1
        assert changed == [got[5]]
        assert [record["do"] for record in exchange.faults.log.records] == ["restamp", "corrupt"]


def stamped_back(text):
    at = text.rindex(b'Z"}]}') - 9
    return text[:at] + b"%09d" % (int(text[at : at + 9]) - 1) + text[at + 9 :]


@running
async def test_two_updates_come_as_one_with_the_same_entries(noted):
    async with Exchange(noted, faults=[f.Batch(connection=2, times=0)]) as exchange:
        await subscribed(exchange, ["BTC/USD"])
        wire = await subscribed(exchange, ["BTC/USD"])
        got = wire.early + await wire.level3(40)
        book = Book(10)
        assert all(book.apply(text) for text in got)
        updates = noted.updates["BTC/USD", 10]
        ends = [text[text.index(b'"timestamp":"', len(text) - 60) :] for text in updates]
        places = [ends.index(text[text.index(b'"timestamp":"', len(text) - 60) :]) for text in got[1:]]
        assert {b - a for a, b in zip(places, places[1:])} == {2}
        for text, place in zip(got[1:], places):
            assert text.count(b'"event"') == sum(u.count(b'"event"') for u in updates[place - 1 : place + 1])


@running
async def test_a_message_lost_on_one_connection_only(noted):
    async with Exchange(noted, faults=[f.Skip(connection=2, after_messages=9)]) as exchange:
        one, two = await subscribed(exchange, ["BTC/USD"]), await subscribed(exchange, ["BTC/USD"])
        both = [wire.early + await wire.level3(60) for wire in (one, two)]
        updates = noted.updates["BTC/USD", 10]
        first = updates.index(both[1][1])
        assert both[1][1:50] == updates[first : first + 8] + updates[first + 9 : first + 50]
        assert both[0][1:50] == updates[:49]
