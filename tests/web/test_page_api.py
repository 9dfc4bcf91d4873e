"""What the page asks for, over HTTP: the archive, its days, and the stream of what is recorded now."""

import asyncio
import functools
import json
import threading
from contextlib import asynccontextmanager

import aiohttp
import pytest

from kraken_l3.api.archive import open_for_research
from kraken_l3.archive.journal import GapOpened
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DataMissing
from kraken_l3.model.address import Address
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.web.archive_api import ArchiveApi
from kraken_l3.web.server import WebServer
from kraken_l3.web.shared import Busy, Made, SharedWork
from kraken_l3.web.viewers import ViewerBounds, Viewers
from kraken_l3.web.views import book_view
from processes import WAIT_S
from scenes import NOON_NS, SYMBOLS, Scene, recorded

FILE = "l3-2026-11-22.ndjson"
BTC = SYMBOLS[0]
NOON_MS = NOON_NS // 10**6


def running(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), WAIT_S))

    return run


@asynccontextmanager
async def serving(routes):
    server = WebServer(Address("127.0.0.1", 0))
    for path, handler in routes.items():
        server.add(path, handler)
    async with server, aiohttp.ClientSession(server.url) as client:
        yield server, client


@asynccontextmanager
async def archive_served(directory, **options):
    api = ArchiveApi(directory, **options)
    try:
        async with serving(api.routes()) as (_, client):
            yield api, client
    finally:
        await api.close()


async def ask(client, path, status=200, **parameters):
    async with client.get(path, params=parameters) as answer:
        told = await answer.json()
        assert answer.status == status, told
        return told


async def events_of(answer):
    """The events of a stream: name, id, data."""
    fields = {}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], int(fields["id"]), json.loads(fields["data"])
            fields = {}


# -- the recorded days


@running
async def test_a_finished_archive(tmp_path):
    recorded(tmp_path, 300, step_ns=100_000_000)
    async with archive_served(tmp_path) as (_, client):
        assert await ask(client, "/api/archive") == {"name": tmp_path.name, "files": [FILE], "live": False}
        day = await ask(client, "/api/day", file=FILE)
        assert (day["start"], day["end"]) == (NOON_MS + 100, NOON_MS + 30_000)
        assert (sum(day["counts"]), day["symbols"]) == (300, sorted(SYMBOLS))
        book = await ask(client, "/api/book", file=FILE, symbol=BTC, at=NOON_MS + 15_000)
        expected = open_for_research(tmp_path).book(BTC, at=NOON_NS + 15 * NS_PER_S)
        assert [level[0] for level in book["bids"]["levels"]] == [str(level.price) for level in expected.bids]
        assert (book["state"], book["recv"]) == ("verified", NOON_MS + 15_000)
        assert {row[0] for row in (await ask(client, "/api/rates", file=FILE, at=day["end"]))["rows"]} == set(SYMBOLS)
        assert (await ask(client, "/api/heat", file=FILE, symbol=BTC, at=NOON_MS))["columns"] != []
        while (told := await ask(client, "/api/verdicts", file=FILE))["state"] == "counting":
            await asyncio.sleep(0.01)
        assert sum(ok for ok, _, _ in told["symbols"].values()) == 300


@running
async def test_what_cannot_be_answered_says_why(tmp_path):
    recorded(tmp_path, 20)
    async with archive_served(tmp_path) as (_, client):
        for name in ("", "none.ndjson", "../secret", "journal-2026-11-22.ndjson", "l3-2026-11-22.receipts"):
            assert "no such data file" in (await ask(client, "/api/day", 404, file=name))["error"]
        for at in ("", "now", "-1", "1e9", "9" * 13, "9" * 400):
            assert "a moment is needed" in (await ask(client, "/api/book", 400, file=FILE, symbol=BTC, at=at))["error"]
        for symbol in ("", "x" * 300):
            assert (
                "a symbol is needed" in (await ask(client, "/api/heat", 400, file=FILE, symbol=symbol, at=1))["error"]
            )
        unknown = await ask(client, "/api/book", file=FILE, symbol="NO/PE", at=NOON_MS + 1000)
        assert unknown["state"] == "no book"
    async with archive_served(tmp_path / FILE) as (_, client):
        assert (await ask(client, "/api/archive"))["files"] == [FILE]
        assert "can be followed" in (await ask(client, "/api/live", 400))["error"]


@running
async def test_an_empty_directory_has_no_days(tmp_path):
    async with archive_served(tmp_path) as (_, client):
        assert (await ask(client, "/api/archive"))["files"] == []


@running
async def test_1400_symbols(tmp_path):
    names = tuple(f"S{number:04}/USD" for number in range(1400))
    scene = Scene(tmp_path, symbols=SYMBOLS, facts=False, step_ns=1_000_000)
    lines = [line for line in scene.flow(200) if BTC.encode() in line][:3]
    scene.symbols = names
    scene.connect(10)
    scene.write(line.replace(BTC.encode(), name.encode()) for line in lines for name in names)
    scene.close()
    async with archive_served(tmp_path) as (_, client):
        day = await ask(client, "/api/day", file=FILE)
        assert day["symbols"] == list(names)
        rates = await ask(client, "/api/rates", file=FILE, at=day["end"])
        assert len(rates["rows"]) == 1400
        book = await ask(client, "/api/book", file=FILE, symbol=names[1399], at=day["end"])
        assert book["state"] == "verified"


# -- shared work


@running
async def test_what_many_ask_for_is_done_once_and_kept_when_final():
    work = SharedWork(threads=2, most_waiting=1, kept_bytes=10)
    began, go_on, calls = threading.Event(), threading.Event(), []

    def look(name, body=b"12345", final=True):
        calls.append(name)
        began.set()
        go_on.wait()
        return Made(body, final)

    asked = [asyncio.ensure_future(work.get("a", lambda: look("a"))) for _ in range(100)]
    asked += [asyncio.ensure_future(work.get(name, functools.partial(look, name))) for name in ("b", "c")]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="too much"):
        await work.get("d", lambda: look("d"))
    asked[0].cancel()  # one viewer leaves, the others wait on
    go_on.set()
    assert set(await asyncio.gather(*asked[1:])) == {b"12345"}
    assert sorted(calls) == ["a", "b", "c"]
    assert await work.get("e", lambda: look("e", final=False)) == b"12345"
    assert await work.get("e", lambda: look("e", final=False)) == b"12345"  # not kept
    assert calls.count("e") == 2

    def fail():
        raise DataMissing("nothing")

    for _ in range(2):
        with pytest.raises(DataMissing):
            await work.get("f", fail)
    calls.clear()
    for name in ("g", "h", "h", "g", "i", "g", "h"):  # there is room for two: i throws out h
        assert await work.get(name, functools.partial(look, name)) == b"12345"
    assert calls == ["g", "h", "i", "h"]
    work.close()


# -- streams


@asynccontextmanager
async def streaming(bounds=None):
    viewers = Viewers(bounds)

    async def stream(request):
        return await viewers.serve(request, {"all", request.query.get("topic", "")}, [viewers.frame("first", b"0")])

    async with serving({"/stream": stream}) as (server, client):
        yield viewers, server, client


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


@running
async def test_a_hundred_viewers_get_the_same_in_the_order_in_which_it_was_published():
    async with streaming() as (viewers, _, client):

        async def watch(topic):
            async with client.get("/stream", params={"topic": topic}) as answer:
                assert answer.content_type == "text/event-stream"
                found = []
                async for event in events_of(answer):
                    found.append(event)
                    if event[0] == "last":
                        return found

        client.connector._limit = 200
        watching = [asyncio.ensure_future(watch("even" if n % 2 else "odd")) for n in range(100)]
        await until(lambda: len(viewers) == 100)
        for number in range(40):
            viewers.publish("odd" if number % 2 else "even", viewers.frame("news", b"%d" % number))
            if number % 8 == 0:
                await asyncio.sleep(0)
        viewers.publish("all", viewers.frame("last", b"0"))
        for number, found in enumerate(await asyncio.gather(*watching)):
            assert found[0][0] == "first"
            assert [data for name, _, data in found if name == "news"] == list(range(1 - number % 2, 40, 2))
            ids = [identity for _, identity, _ in found]
            assert ids == sorted(set(ids))
        await until(lambda: not len(viewers))


@running
async def test_a_viewer_that_never_reads_is_dropped_and_the_others_are_served():
    bounds = ViewerBounds(waiting_bytes=200_000, stalled_s=30)
    async with streaming(bounds) as (viewers, server, client):
        port = int(server.url.rstrip("/").rpartition(":")[2])
        _, deaf = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        deaf.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with client.get("/stream") as answer:
            await until(lambda: len(viewers) == 2)
            events = events_of(answer)
            await events.__anext__()
            frame = json.dumps("x" * 50_000).encode()
            sent = 0
            while len(viewers) == 2:  # what the sockets hold comes before the bound
                viewers.publish("all", viewers.frame("news", frame))
                name, _, data = await events.__anext__()
                sent += 1
                assert (name, len(data)) == ("news", 50_000)
                assert sent < 2_000
        deaf.close()
        await until(lambda: not len(viewers))


@running
async def test_a_viewer_whose_connection_takes_nothing_in_is_dropped_after_a_while():
    async with streaming(ViewerBounds(waiting_bytes=1 << 30, stalled_s=0.1)) as (viewers, server, _):
        port = int(server.url.rstrip("/").rpartition(":")[2])
        _, deaf = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        deaf.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(viewers) == 1)
        viewers.publish("all", viewers.frame("news", b"x" * 50_000_000))
        await until(lambda: not len(viewers))
        deaf.close()


@running
async def test_one_viewer_too_many_is_told_so_and_silence_is_broken():
    async with streaming(ViewerBounds(viewers=1, quiet_s=0.05)) as (viewers, _, client):
        async with client.get("/stream") as answer:
            await until(lambda: len(viewers) == 1)
            assert "too many viewers" in (await ask(client, "/stream", 503))["error"]
            async for line in answer.content:
                if line == b":\n":
                    break
        await until(lambda: not len(viewers))
        async with client.get("/stream") as answer:
            assert answer.status == 200


# -- what is recorded now


@running
async def test_a_growing_archive_is_followed(tmp_path):
    scene = Scene(tmp_path, now_ns=SystemClock().wall_ns(), step_ns=1_000_000)
    lines = scene.flow(300)
    scene.write(lines[:100])
    async with archive_served(tmp_path) as (api, client):
        assert (await ask(client, "/api/archive"))["live"]
        async with client.get("/api/live", params={"symbol": BTC}) as answer:
            events = events_of(answer)
            rows, book = {}, None
            while book is None or set(rows) != set(SYMBOLS):
                name, _, data = await events.__anext__()
                if name == "table":
                    rows.update((row[0], row) for row in data["rows"])
                elif name == "book" and "bids" in data:
                    book = data
            assert {row[3] for row in rows.values()} == {"verified"}
            assert sum(row[4] for row in rows.values()) == 100
            scene.write(lines[100:])
            tape = []
            while sum(row[4] for row in rows.values()) < 300 or book["recv"] < scene.clock.now_ns // 10**6 - 50:
                name, _, data = await events.__anext__()
                if name == "table":
                    rows.update((row[0], row) for row in data["rows"])
                elif name == "book":
                    book = data
                    tape += data["events"]
            found = book_at(tmp_path, BTC)
            now = json.loads(json.dumps(book_view(found.image, found.tally)))
            assert book["bids"] == now["bids"]
            assert book["asks"] == now["asks"]
            assert [each[1:3] for each in tape] == sorted(each[1:3] for each in tape)
            scene.gap(seconds=1)
            while rows[BTC][3:7:3] != ["gap", 1]:
                name, _, data = await events.__anext__()
                rows.update((row[0], row) for row in data.get("rows", ()))
        await until(lambda: not len(api.viewers))
    scene.close()


@running
async def test_an_archive_that_comes_back_is_followed_again(tmp_path):
    scene = Scene(tmp_path, now_ns=SystemClock().wall_ns(), step_ns=1_000_000)
    scene.write(scene.flow(100))
    (data,) = tmp_path.glob("l3-*.ndjson")

    async def until_event(client, wanted):
        async with client.get("/api/live", params={"symbol": BTC}) as answer:
            async for name, _, told in events_of(answer):
                if name == wanted and (name == "ended" or "bids" in told):
                    return

    async with archive_served(tmp_path) as (_, client):
        await until_event(client, "book")
        data.rename(tmp_path / "away")
        await until_event(client, "ended")
        (tmp_path / "away").rename(data)
        await until_event(client, "book")
    scene.close()


@running
async def test_a_gap_that_is_told_of_late_is_shown(tmp_path):
    scene = Scene(tmp_path)
    scene.write(scene.flow(300))
    at = {"file": FILE, "symbol": BTC, "at": NOON_MS + 2_000}
    async with archive_served(tmp_path) as (_, client):
        assert (await ask(client, "/api/book", **at))["state"] == "verified"
        scene.journal(GapOpened, channel="level3", symbol=BTC, cause="silent_symbol", left_ns=NOON_NS + NS_PER_S)
        scene.writer.flush()
        assert (await ask(client, "/api/book", **at))["state"] == "in a gap (silent_symbol)"
    scene.close()
