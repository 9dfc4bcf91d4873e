"""A recorded archive served as if Kraken were live, seen by clients that are not ours."""

import asyncio
import json
import math
from pathlib import Path
from zlib import crc32

import aiohttp
import pytest
from strangers import Wire, a_token, running, sign, subscribed
from wire_oracle import Book, read

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.zstd import compress
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.exchange.replay.feed import ArchiveFeed
from kraken_l3.exchange.replay.pace import Pace
from kraken_l3.exchange.replay.server import Replay, speed_of
from kraken_l3.exchange.written import DEFAULT_START_NS, write_archive
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.book_at import book_at

LEVEL3 = b'"channel":"level3","type"'


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Five minutes of two pairs at depth 100, with two lost connections."""
    directory = tmp_path_factory.mktemp("recorded") / "data"
    write_archive(directory, duration_ns=300 * NS_PER_S, depth=100, rate=10.0, seed=5, gaps=2)
    return directory


def lines_of(directory, stream="level3"):
    return [line.payload for line in open_archive(directory).lines(stream)]


def receipts_of(directory):
    return [line.receipt.recv_ns for line in open_archive(directory).lines("level3")]


def symbol_of(payload):
    return json.loads(payload)["data"][0]["symbol"]


def all_of(feed, mono_ns=0):
    """Everything that a feed has, at once."""
    got = []
    while not feed.is_over:
        got += feed.due(0, mono_ns)
    return got


def fast(path, **how):
    return ArchiveFeed(path, Pace(math.inf), **how)


def watched(feed, depth, symbols=("BTC/USD", "ETH/USD")):
    for symbol in symbols:
        feed.watch(symbol, depth)
    return feed


# what is sent


def test_at_the_recorded_depth_every_message_is_as_recorded(recorded):
    feed = watched(fast(recorded), 100)
    assert feed.snapshot("BTC/USD", 100) is None, "the first snapshot is a message of the recording"
    messages = all_of(feed)
    assert [m.payload for m in messages if m.channel == "level3"] == lines_of(recorded)
    assert [m.payload for m in messages if m.channel == "trade"] == lines_of(recorded, "trade")
    assert {m.symbol for m in messages if m.channel == "trade"} == {"BTC/USD", "ETH/USD"}


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_smaller_depth_is_what_kraken_would_have_sent(recorded, engine):
    if engine == "native":
        pytest.importorskip("kraken_l3_native")
    feed = watched(fast(recorded, engine_name=engine), 10)
    books = {"BTC/USD": Book(10), "ETH/USD": Book(10)}
    count = 0
    for message in all_of(feed):
        if message.channel == "level3":
            assert books[message.symbol].apply(message.payload)
            count += 1
    assert 500 < count < len(lines_of(recorded))
    for symbol, book in books.items():
        whole = Book(100)
        for line in lines_of(recorded):
            if symbol_of(line) == symbol:
                whole.apply(line)
        for side in ("bids", "asks"):
            assert orders_of(book.levels(side)) == orders_of(whole.levels(side)[:10])


def orders_of(levels):
    """Without the events that told the orders: a revealed order is added, whatever happened to it before."""
    return [(price, [{**entry, "event": ""} for entry in level]) for price, level in levels]


def test_who_comes_in_the_middle_has_the_book_of_that_moment(recorded):
    feed = watched(fast(recorded), 100)
    seen = 0
    while seen < 1_000:
        seen += sum(m.channel == "level3" and m.symbol == "BTC/USD" for m in feed.due(0, 0))
    for depth in (100, 10):
        book = Book(depth)
        feed.watch("BTC/USD", depth)
        assert book.apply(feed.snapshot("BTC/USD", depth))
        for message in feed.due(0, 0):
            if (message.channel, message.symbol, message.depth) == ("level3", "BTC/USD", depth):
                assert book.apply(message.payload)


def test_the_price_levels_are_those_of_the_orders(recorded):
    feed = watched(fast(recorded), 100)
    whole = Book(100)
    for _ in range(4):
        for message in feed.due(0, 0):
            if message.channel == "level3" and message.symbol == "BTC/USD":
                whole.apply(message.payload)
        levels = feed.levels("BTC/USD", 25)
        for name, side in (("bids", levels.bids), ("asks", levels.asks)):
            shown = whole.levels(name)[:25]
            assert [price for price, _ in side] == [int(price.scaleb(1)) for price, _ in shown]
            sums = [sum(int(entry["order_qty"].replace(".", "")) for entry in level) for _, level in shown]
            assert [qty for _, qty in side] == sums


# when it is sent


def test_messages_keep_their_recorded_spacing(recorded):
    times = receipts_of(recorded)
    feed = watched(ArchiveFeed(recorded, Pace(10.0)), 100)
    shown = sum(m.channel == "level3" for m in feed.due(0, 10**12))
    assert shown == 1, "the clock begins with the first line"
    for later_ns in (10**6, 10**8, 3 * 10**9):
        shown += sum(m.channel == "level3" for _ in range(9) for m in feed.due(0, 10**12 + later_ns))
        assert shown == sum(time <= times[0] + 10 * later_ns for time in times)
        assert feed.next_due_ns() == 10**12 + (times[shown] - times[0]) // 10


def test_the_clock_waits_until_all_pairs_or_no_more_are_subscribed(recorded):
    feed = ArchiveFeed(recorded, Pace(math.inf))
    assert feed.due(0, 10**15) == []
    feed.watch("BTC/USD", 100)
    assert feed.due(0, 0) == []
    assert feed.due(0, 1_999_999_999) == []
    assert feed.due(0, 2_000_000_000) != []


def test_it_pauses_steps_and_goes_on(recorded):
    pace = Pace(math.inf)
    feed = watched(ArchiveFeed(recorded, pace), 100)
    feed.due(0, 0)
    pace.pause(0)
    assert feed.due(0, 10**12) == []
    assert feed.next_due_ns() is None
    pace.step(3)
    assert sum(m.channel == "level3" for m in feed.due(0, 10**12)) == 3
    assert feed.due(0, 10**12) == []
    pace.go_on(10**12)
    assert feed.due(0, 10**12) != []


@pytest.mark.parametrize("wrong", [0, -1, "fast", "nan", "inf", None, True, 1e-300, 10**400])
def test_a_speed_that_is_none_is_refused(wrong):
    with pytest.raises(UsageError, match="speed must be a number above 0, max or step"):
        speed_of(wrong)


# from where to where


def test_it_begins_and_ends_where_it_is_told(recorded):
    times = receipts_of(recorded)
    begin_ns, end_ns = times[0] + 120 * NS_PER_S, times[0] + 200 * NS_PER_S
    feed = watched(fast(recorded, begin_ns=begin_ns, end_ns=end_ns), 100)
    book = book_at(recorded, "BTC/USD", at_ns=begin_ns - 1)
    assert feed.snapshot("BTC/USD", 100) == book.image.message
    got = [m.payload for m in all_of(feed) if m.channel == "level3"]
    assert got == [line for line, at in zip(lines_of(recorded), times) if begin_ns <= at < end_ns]


def test_it_seeks(recorded):
    times = receipts_of(recorded)
    feed = watched(fast(recorded), 10)
    all_of(feed)
    for at_ns in (times[700], times[300]):
        feed.seek(at_ns, 0, 0)
        assert feed.at_ns == at_ns
        book = Book(10)
        assert book.apply(feed.snapshot("BTC/USD", 10))
        for message in feed.due(0, 0):
            if message.channel == "level3" and message.symbol == "BTC/USD":
                assert book.apply(message.payload)


def test_no_trade_is_told_that_has_not_happened_yet(recorded):
    feed = watched(fast(recorded), 100)
    all_of(feed)
    assert len(json.loads(feed.recent_trades("BTC/USD"))["data"]) > 1
    feed.seek(receipts_of(recorded)[0], 0, 0)
    assert feed.recent_trades("BTC/USD") is None


def test_it_begins_again_at_the_end(recorded):
    feed = watched(fast(recorded, loop=True), 100)
    count = len(lines_of(recorded))
    got = []
    while len(got) < 2 * count:
        got += [m.payload for m in feed.due(0, 0) if m.channel == "level3"]
    assert got[:count] == got[count : 2 * count] == lines_of(recorded)
    assert not feed.is_over


def test_retimed_timestamps_move_together(recorded):
    now_ns = parse_rfc3339("2030-01-01T00:00:00Z")
    feed = watched(fast(recorded, retime=True), 100)
    book, span_ns = Book(100), now_ns - receipts_of(recorded)[0]
    got = []
    while not feed.is_over:
        got += [m.payload for m in feed.due(now_ns, 0) if m.channel == "level3"]
    for payload, line in zip(got, lines_of(recorded)):
        new, old = read(payload)["data"][0], read(line)["data"][0]
        assert parse_rfc3339(new["timestamp"]) - parse_rfc3339(old["timestamp"]) == span_ns
        if new["symbol"] == "BTC/USD":
            assert book.apply(payload)


def test_books_before_the_clock_begins_are_moved_by_the_same_span(recorded):
    times, lines = receipts_of(recorded), lines_of(recorded)
    now_ns = parse_rfc3339("2030-01-01T00:00:00Z")
    feed = fast(recorded, begin_ns=times[500], retime=True)
    original = fast(recorded, begin_ns=times[500]).snapshot("BTC/USD", 100)
    assert feed.due(now_ns, 0) == []
    feed.watch("BTC/USD", 100)
    assert feed.due(now_ns + 10**9, 10**9) == []
    book = feed.snapshot("BTC/USD", 100)
    assert feed.due(now_ns + 2 * 10**9, 2 * 10**9) == []
    first = next(message.payload for message in feed.due(now_ns + 3 * 10**9, 3 * 10**9) if message.channel == "level3")
    updates = [line for line in lines[500:] if symbol_of(line) == "BTC/USD"]
    for moved, recorded_one in ((book, original), (first, updates[0])):
        at_ns = [parse_rfc3339(read(payload)["data"][0]["timestamp"]) for payload in (moved, recorded_one)]
        assert at_ns[0] - at_ns[1] == now_ns + 10**9 - times[500]


# gaps


def test_in_a_gap_there_is_no_book_and_after_it_the_recorded_one(recorded):
    told = []
    feed = watched(fast(recorded, on_gap=lambda symbol, cause: told.append((symbol, cause))), 100)
    gaps = gaps_in(open_archive(recorded), channel="level3")
    lost = [gap for gap in gaps if gap.right_ns is not None]
    assert len(lost) == 4
    messages = all_of(feed)
    assert told == [(gap.symbol, gap.cause) for gap in sorted(lost, key=lambda gap: (gap.left_ns, gap.symbol))]
    snapshots = [m for m in messages if m.channel == "level3" and json.loads(m.payload)["type"] == "snapshot"]
    assert len(snapshots) == 6

    feed = watched(ArchiveFeed(recorded, Pace(1.0)), 100)
    feed.due(0, 0)
    in_gap_ns = (lost[0].left_ns + lost[0].right_ns) // 2 - receipts_of(recorded)[0]
    while feed.due(0, in_gap_ns):
        pass
    assert feed.snapshot(lost[0].symbol, 100) is None
    assert feed.levels(lost[0].symbol, 10) is None
    feed = fast(recorded, begin_ns=lost[0].left_ns + 1)
    assert feed.snapshot(lost[0].symbol, 100) is None, "nor for who begins in it"


@running
async def test_faithful_gaps_cut_those_who_read_the_pair(recorded):
    async with Replay(recorded, speed="max", faithful_gaps=True) as exchange:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"], depth=100)
        got, _ = await wire.rest()
        first_gap = min(gap.left_ns for gap in gaps_in(open_archive(recorded), channel="level3"))
        before = [line for line, at in zip(lines_of(recorded), receipts_of(recorded)) if at <= first_gap]
        assert wire.early + [text for text in got if LEVEL3 in text] == before
        assert exchange.recording.at_ns > first_gap


# over sockets


@running
async def test_a_client_is_served_as_by_kraken(recorded):
    async with Replay(recorded, speed="max") as exchange:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"], depth=100)
        lines = lines_of(recorded)
        assert [await wire.next_of(LEVEL3) for _ in lines] == lines
        refused = await wire.ask(
            {
                "method": "subscribe",
                "params": {"channel": "level3", "symbol": ["DOGE/USD"], "token": await a_token(exchange)},
            }
        )
        assert refused["error"] == "Currency pair not supported DOGE/USD"
        public = await Wire.connect(exchange.public_ws_url)
        await public.ask({"method": "subscribe", "params": {"channel": "instrument"}})
        pairs = json.loads(await public.next_of(b'"channel":"instrument"'))["data"]["pairs"]
        assert [pair["symbol"] for pair in pairs] == ["BTC/USD", "ETH/USD"]


@running
async def test_a_ticker_that_was_subscribed_before_there_was_a_book_begins_with_its_snapshot(recorded):
    async with Replay(recorded, speed="max") as exchange:
        wire = await Wire.connect(exchange.public_ws_url)
        params = {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo"}
        assert (await wire.ask({"method": "subscribe", "params": params}))["success"]
        kinds = [json.loads(await wire.next_of(b'"channel":"ticker"'))["type"] for _ in range(5)]
    assert kinds == ["snapshot"] + ["update"] * 4


@running
async def test_price_levels_are_right_after_gaps_and_seeks_for_whoever_reads_them(recorded):
    gap = next(gap for gap in gaps_in(open_archive(recorded), channel="level3") if gap.symbol == "BTC/USD")
    async with Replay(recorded, speed="step") as exchange:
        await subscribed(exchange, ["ETH/USD"])
        early = await levels_of(exchange)
        exchange.step(300)
        await early.until(lambda: len(early.kinds) > 50)
        exchange.seek(gap.left_ns + 1)
        late = await levels_of(exchange)
        exchange.step(20)
        for reader, snapshots in ((early, 2), (late, 1)):
            await reader.until(lambda r=reader, n=snapshots: r.kinds.count("snapshot") == n and len(r.kinds) > 5)
        assert late.kinds[0] == "snapshot", "in a gap there is none, but after it"
        exchange.seek(receipts_of(recorded)[100])
        newest = await levels_of(exchange)
        exchange.step(100)
        for reader, snapshots in ((early, 3), (late, 2), (newest, 1)):
            await reader.until(lambda r=reader, n=snapshots: r.kinds.count("snapshot") == n)
            known = len(reader.kinds)
            await reader.until(lambda r=reader, n=known: len(r.kinds) > n + 20)


class Levels:
    """A client of `book`; every message must agree with its checksum."""

    def __init__(self, wire):
        self.wire, self.sides, self.kinds = wire, {"bids": {}, "asks": {}}, []

    async def until(self, condition):
        while not condition():
            self.apply(read(await self.wire.next_of(b'"channel":"book","type"')))

    def apply(self, message):
        (told,) = message["data"]
        self.kinds.append(message["type"])
        text = ""
        for name in ("asks", "bids"):
            side = {} if message["type"] == "snapshot" else self.sides[name]
            side.update((level["price"], level["qty"]) for level in told[name])
            best = sorted((price for price in side if float(side[price])), key=float, reverse=name == "bids")[:10]
            self.sides[name] = {price: side[price] for price in best}
            text += "".join(
                number.replace(".", "").lstrip("0") for level in self.sides[name].items() for number in level
            )
        assert crc32(text.encode()) == int(told["checksum"])


async def levels_of(exchange):
    wire = await Wire.connect(exchange.public_ws_url)
    answer = await wire.ask({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
    assert answer["success"]
    return Levels(wire)


@running
async def test_the_orders_of_a_moment_by_rest(recorded):
    async with Replay(recorded, speed="step", start_ns=DEFAULT_START_NS + 60 * NS_PER_S) as exchange:
        image = json.loads(book_at(recorded, "BTC/USD", at_ns=exchange.recording.at_ns - 1).image.message)
        async with aiohttp.ClientSession() as http:
            for depth, levels in ((10, 10), (25, 25), (0, 100)):
                nonce = 10**18 + levels
                body = f"nonce={nonce}&pair=XBTUSD&depth={depth}".encode()
                headers = {
                    "API-Key": exchange.api_key,
                    "API-Sign": sign(exchange.api_secret, nonce, body, path="/0/private/Level3"),
                    "Content-Type": "application/x-www-form-urlencoded",
                }
                answer = await http.post(f"{exchange.rest_url}/0/private/Level3", data=body, headers=headers)
                result = (await answer.json())["result"]
                for side in ("bids", "asks"):
                    wanted = [entry["order_id"] for entry in image["data"][0][side]]
                    got = [entry["order_id"] for entry in result[side]]
                    assert got == wanted[: len(got)]
                    assert len({entry["price"] for entry in result[side]}) == levels
                    assert all(isinstance(entry["timestamp"], int) for entry in result[side])


@running
async def test_the_clock_is_controlled_over_http(recorded):
    async with Replay(recorded, speed="step") as exchange, aiohttp.ClientSession() as http:
        wire = await subscribed(exchange, ["BTC/USD", "ETH/USD"], depth=100)

        async def change(**wanted):
            answer = await http.post(f"{exchange.rest_url}/replay", json=wanted)
            return answer.status, await answer.json()

        while not (await (await http.get(f"{exchange.rest_url}/replay")).json())["has_begun"]:
            await asyncio.sleep(0.01)
        status, state = await change(step=3)
        assert (status, state["paused"]) == (200, True)
        assert [await wire.next_of(LEVEL3) for _ in range(3)] == lines_of(recorded)[:3]
        at_ns = receipts_of(recorded)[900]
        status, state = await change(seek=at_ns)
        assert (status, state["at_ns"]) == (200, at_ns)
        assert json.loads(await wire.next_of(LEVEL3))["type"] == "snapshot"
        for wrong, message in (
            ({"speed": "fast"}, "speed must be"),
            ({"pase": 1}, "a replay has no pase"),
            ({"step": -3}, "step must be a whole number above 0"),
            ({"step": 1e300}, "step must be a whole number above 0"),
            ({"seek": "x"}, "not an RFC 3339"),
            ({"seek": True}, "seek must be an RFC 3339 time"),
            ({"seek": 2**63}, "seek must be an RFC 3339 time"),
            ({"speed": [1]}, "speed must be"),
            ({"paused": "false"}, "paused must be true or false, got false"),
            ({"paused": False, "step": 1}, "step is for a replay that is paused"),
            ({"paused": False, "speed": "fast"}, "speed must be"),
        ):
            status, answer = await change(**wrong)
            assert status == 400
            assert message in answer["error"]
        for body in (b"[]", b"{", b"", b"[" * 100_000):
            answer = await http.post(f"{exchange.rest_url}/replay", data=body)
            assert answer.status == 400
        assert exchange.state() == state, "nothing of what was wrong has been done"
        await change(speed="max", paused=False)
        rest = lines_of(recorded)[900:]
        assert [text for text in [await wire.next_of(LEVEL3) for _ in range(len(rest) + 1)] if text in rest[:50]][
            :50
        ] == rest[:50]


@running
async def test_a_web_page_does_not_control_the_clock(recorded):
    async with Replay(recorded) as exchange, aiohttp.ClientSession() as http:
        for origin in ("https://example.com", "null", exchange.rest_url):
            answer = await http.post(f"{exchange.rest_url}/replay", data='{"paused": true}', headers={"Origin": origin})
            assert answer.status == 403
        assert exchange.state()["paused"] is False


# what is not there


def test_a_recording_without_journal_and_receipts_is_served_by_krakens_own_times(recorded, tmp_path):
    path = tmp_path / "theirs.ndjson"
    path.write_bytes(b"\n".join(lines_of(recorded)[:800]) + b"\n")
    feed = watched(fast(path), 100)
    assert [m.payload for m in all_of(feed)] == lines_of(recorded)[:800]
    assert set(feed.depths("BTC/USD")) == {10, 100}


def test_damage_hides_no_more_than_its_file(recorded, tmp_path):
    path = tmp_path / "torn.ndjson"
    lines = lines_of(recorded)[:300]
    path.write_bytes(b"\n".join([*lines[:100], b"\x00\x00", b'{"channel":', *lines[100:]]) + b"\n")
    assert [m.payload for m in all_of(watched(fast(path), 100))] == lines


def test_what_damage_hides_is_told_once_however_often_it_loops(recorded, tmp_path):
    lines = lines_of(recorded)
    (tmp_path / "l3-2026-01-01.ndjson").write_bytes(b"\n".join(lines[:100]) + b"\n")
    packed = compress(b"\n".join(lines[100:200]) + b"\n")
    (tmp_path / "l3-2026-01-02.ndjson.zst").write_bytes(packed[:-40] + bytes(40))
    feed = watched(fast(tmp_path, loop=True), 100)
    shown = [message.payload for _ in range(20) for message in feed.due(0, 0)]
    assert shown[:200] == [*lines[:100], *lines[:100]]
    assert len(feed.hidden) == 1


def test_a_loop_begins_where_it_did_whatever_was_sought(recorded):
    times = receipts_of(recorded)
    feed = watched(fast(recorded, begin_ns=times[10], loop=True), 100)
    first = feed.due(0, 0)[0]
    feed.seek(times[-5], 0, 0)
    shown = [message.payload for _ in range(3) for message in feed.due(0, 0) if message.channel == "level3"]
    assert shown[:5] == lines_of(recorded)[-5:]
    assert [json.loads(payload)["type"] for payload in shown[5:8]] == ["snapshot", "snapshot", "update"]
    assert shown[7] == first.payload


def test_a_turn_that_begins_in_the_middle_begins_with_the_books(recorded):
    times = receipts_of(recorded)
    for depth in (100, 10):
        feed = watched(fast(recorded, begin_ns=times[500], end_ns=times[540], loop=True), depth)
        books = {symbol: Book(depth) for symbol in ("BTC/USD", "ETH/USD")}
        for symbol, book in books.items():
            assert book.apply(feed.snapshot(symbol, depth))
        messages = [message for message in feed.due(0, 0) if message.channel == "level3"][:100]
        assert sum(b'"type":"snapshot"' in message.payload for message in messages) >= 4, "two turns more"
        for message in messages:
            assert books[message.symbol].apply(message.payload)


@pytest.mark.parametrize("window", [{"begin_ns": 2**62}, {"end_ns": 1}, {"begin_ns": 2**62, "loop": True}])
def test_a_window_without_data_is_an_error_and_no_quiet_market(recorded, window):
    with pytest.raises(DataMissing, match="nothing was recorded in the time to replay"):
        fast(recorded, **window)


def test_nothing_to_replay_is_an_error(tmp_path):
    (tmp_path / "l3-2026-01-01.ndjson").write_bytes(b"")
    with pytest.raises(DataMissing, match="no level3 data to replay"):
        ArchiveFeed(tmp_path, Pace())
    with pytest.raises(UsageError, match="no such file or directory"):
        ArchiveFeed(Path(tmp_path / "none"), Pace())
