"""A recording relayed while it is made: one subscription at the exchange, many programs behind it."""

import asyncio
import json
import socket

import aiohttp
import pytest
from strangers import Wire, a_token, running, subscribed
from wire_oracle import Book

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.archive.reader import open_archive
from kraken_l3.capture.sealer import SealerTimes
from kraken_l3.errors import ArchiveError, UsageError
from kraken_l3.exchange.faults import Drop
from kraken_l3.exchange.replay.relay import RELAY_LIMITS, Relay
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from recording import JumpingClock, Recording, flow

MIDNIGHT_NS = parse_rfc3339("2026-11-23T00:00:00Z")
SYMBOLS = ["BTC/USD", "ETH/USD"]
LEVEL3 = b'"channel":"level3","type"'


def relay_of(directory, **how):
    return Relay(directory, sent=SentLog(keep=False), **{"limits": RELAY_LIMITS, **how})


def lines_of(directory):
    return [line.payload for line in open_archive(directory).lines("level3")]


def symbol_of(payload):
    return json.loads(payload)["data"][0]["symbol"]


class Reader:
    """A client with its own books; every message must agree with its checksum."""

    def __init__(self, wire, depth):
        self.wire, self.books, self.payloads = wire, {}, []
        self.depth = depth
        for payload in wire.early:
            self.apply(payload)

    def apply(self, payload):
        symbol = symbol_of(payload)
        assert self.books.setdefault(symbol, Book(self.depth)).apply(payload)
        self.payloads.append(payload)

    async def read(self, count):
        for _ in range(count):
            self.apply(await self.wire.next_of(LEVEL3))

    async def until(self, payload):
        while self.payloads[-1] != payload:
            await self.read(1)

    async def until_snapshots(self):
        waiting = set(SYMBOLS)
        while waiting:
            await self.read(1)
            if b'"snapshot"' in self.payloads[-1][:60]:
                waiting.discard(symbol_of(self.payloads[-1]))


@running
async def test_clients_get_the_book_of_their_moment_and_from_there_every_message(tmp_path):
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange), relay_of(tmp_path) as relay:
        early = Reader(await subscribed(relay, SYMBOLS), 10)
        await early.read(200)
        late = Reader(await subscribed(relay, SYMBOLS), 10)
        await late.read(200)
        await early.until(late.payloads[-1])
        assert exchange.connections_made == 2, "one subscription at the exchange, and the public channels"
    recorded = lines_of(tmp_path)
    for reader in (early, late):
        updates = reader.payloads[2:]
        first = recorded.index(updates[0])
        assert updates == recorded[first : first + len(updates)]


@running
async def test_a_recorder_of_the_relay_writes_the_same_lines(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    async with Exchange(flow()) as exchange, Recording(first, exchange), relay_of(first) as relay:
        async with Recording(second, relay) as recording:
            await recording.until_lines(500)
    original, copy = lines_of(first), lines_of(second)
    snapshots = [number for number, line in enumerate(copy) if b'"snapshot"' in line[:60]]
    assert len(snapshots) == len(SYMBOLS)
    after = copy[snapshots[-1] + 1 :]
    at = original.index(after[0])
    assert after == original[at : at + len(after)]


@running
async def test_smaller_depths_price_levels_and_trades(tmp_path):
    options = {"depth": 100, "trades": True}
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, **options), relay_of(tmp_path) as relay:
        reader = Reader(await subscribed(relay, SYMBOLS, 10), 10)
        await reader.read(100)
        public = await Wire.connect(relay.public_ws_url)
        for channel, more in (("book", {"depth": 25}), ("ticker", {}), ("trade", {})):
            public.say({"method": "subscribe", "params": {"channel": channel, "symbol": ["BTC/USD"], **more}})
            assert json.loads(await public.next_of(f'"channel":"{channel}","type"'.encode()))["data"]
        public.say({"method": "subscribe", "params": {"channel": "instrument"}})
        instruments = json.loads(await public.next_of(b'"channel":"instrument","type"'))["data"]
        assert {pair["symbol"] for pair in instruments["pairs"]} == set(SYMBOLS)
        assert instruments["assets"], "as the exchange described them"
        for channel in ("book", "trade"):
            assert json.loads(await public.next_of(f'"channel":"{channel}","type":"update"'.encode()))["data"]


@running
async def test_in_a_gap_there_is_silence_and_then_the_snapshot(tmp_path):
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange) as recording, relay_of(tmp_path) as relay:
        reader = Reader(await subscribed(relay, SYMBOLS), 10)
        await reader.read(50)
        await exchange.push(Drop())
        await reader.until_snapshots()
        await reader.read(50)
        await recording.until_records("GapClosed", 2)
        async with aiohttp.ClientSession() as http:
            state = await (await http.get(f"{relay.rest_url}/replay")).json()
        assert (state["live"], state["missing"], state["clients"]) == (True, [], 1)
    assert reader.payloads[-1] in lines_of(tmp_path)


@running
async def test_where_another_connection_takes_over_clients_notice_nothing(tmp_path):
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, redundancy=2) as recording:
        async with relay_of(tmp_path) as relay:
            reader = Reader(await subscribed(relay, SYMBOLS), 10)
            await reader.read(50)
            leaders = recording.recorder.leaders
            await recording.until(lambda _: all(leaders._line(symbol).successor() is not None for symbol in SYMBOLS))
            opened = [record.connection for record in recording.records("Connected", channel="level3")]
            await exchange.push(Drop(connection=opened.index(leaders.leader("BTC/USD")) + 1))
            await recording.until_records("HandedOver", 2)
            await reader.read(200)
    assert [b'"snapshot"' in payload[:60] for payload in reader.payloads].count(True) == 2, "those of its subscription"


@running
async def test_who_reads_too_slowly_is_cut_off_and_nobody_else(tmp_path):
    limits = RELAY_LIMITS._replace(backlog_bytes=400_000)
    async with Exchange(flow(rate=4_000)) as exchange, Recording(tmp_path, exchange):
        async with relay_of(tmp_path, limits=limits) as relay:
            slow = await subscribed(relay, SYMBOLS, 10)
            slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.writer.transport.pause_reading()
            reader = await subscribed(relay, SYMBOLS, 10)
            while 1 in relay.clients.level3:
                await reader.reader.read(1 << 20)
            for _ in range(10):
                assert await reader.reader.read(1 << 20)


@running
async def test_it_goes_on_over_midnight_while_the_day_before_is_sealed(tmp_path):
    clock = JumpingClock()
    clock.step_to(MIDNIGHT_NS - 1_800 * NS_PER_S)
    limits = RecorderLimits(sealer=SealerTimes(after_start_s=0, after_midnight_s=0, poll_s=0.02))
    options = {"seal": True, "limits": limits}
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange, clock, **options) as recording:
        async with relay_of(tmp_path) as relay:
            reader = Reader(await subscribed(relay, SYMBOLS), 10)
            await reader.read(50)
            clock.step_to(MIDNIGHT_NS - NS_PER_S // 10)
            await recording.until(lambda r: any(tmp_path.glob("l3-*.manifest.json")))
            late = Reader(await subscribed(relay, SYMBOLS), 10)
            await late.read(50)
            await reader.until(late.payloads[-1])
    recorded = lines_of(tmp_path)
    assert len(open_archive(tmp_path).days) == 2
    first = recorded.index(reader.payloads[2])
    assert reader.payloads[2:] == recorded[first : first + len(reader.payloads) - 2]


@running
async def test_programs_share_a_key_whatever_their_nonces(tmp_path):
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange), relay_of(tmp_path) as relay:
        assert await a_token(relay, nonce=10**18) != await a_token(relay, nonce=10)


@running
async def test_it_waits_for_the_first_pair(tmp_path):
    relay = relay_of(tmp_path)
    starting = asyncio.ensure_future(relay.__aenter__())
    async with Exchange(flow()) as exchange, Recording(tmp_path, exchange):
        await starting
        await Reader(await subscribed(relay, SYMBOLS[:1]), 10).read(20)
        await relay.__aexit__(None, None, None)


@running
async def test_an_archive_that_is_pulled_away_ends_the_relay(tmp_path):
    write_archive(tmp_path / "data", duration_ns=NS_PER_S, rate=100.0)
    async with relay_of(tmp_path / "data") as relay:
        (path,) = open_archive(tmp_path / "data").files()
        path.unlink()
        with pytest.raises(ArchiveError, match="deleted while it was followed"):
            await relay.run_until_failure()


def test_no_directory_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such file or directory"):
        relay_of(tmp_path / "none")
    (tmp_path / "theirs.ndjson").write_bytes(b"{}\n")
    with pytest.raises(UsageError, match="only the directory of an archive can be followed"):
        relay_of(tmp_path / "theirs.ndjson")
