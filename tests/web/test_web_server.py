"""The server behind the page: who is served, what a client can make it hold, and what no path leads to."""

import asyncio
import functools
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from urllib.request import urlopen

import aiohttp
import pytest
from aiohttp import web

from kraken_l3.errors import DataMissing, LocalFault, UsageError
from kraken_l3.model.address import Address, parse_address
from kraken_l3.redaction import SECRETS
from kraken_l3.web.connections import Bounds
from kraken_l3.web.files import page_files
from kraken_l3.web.server import WebServer
from processes import WAIT_S

HERE = Address("127.0.0.1", 0)
TOKEN = "a-token-long-enough"


def running(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), WAIT_S))

    return run


@asynccontextmanager
async def serving(**options):
    """A server with the page's files and a few paths, and a client for it."""
    server = WebServer(HERE, **options)
    for path, file in page_files().items():
        server.add(path, file.answer)

    async def hello(request):
        return web.json_response({"hello": request.query.get("name", "")})

    async def missing(request):
        raise DataMissing("there is no book", where="BTC/USD")

    async def defect(request):
        raise ZeroDivisionError("token=secret")

    server.add("/hello", hello)
    server.add("/missing", missing)
    server.add("/defect", defect)
    async with server, aiohttp.ClientSession(server.url) as client:
        yield server, client


async def say(server, data: bytes) -> bytes:
    """What the server sends back until it closes the connection, without anything that a client library mends."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = b""
    try:
        await writer.drain()
        answer = await reader.read()
    except ConnectionError:
        pass
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address(text, address):
    assert parse_address(text) == address
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "127.0.0.1", "::1:80", "[::1]", "a:65536", "a:-1", "a:1_0", "a:٣"]
)
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


@running
async def test_a_page_is_served_with_what_browsers_need_to_keep_it_apart():
    async with serving() as (_, client), client.get("/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in answer.headers["Server"]
        tag = answer.headers["ETag"]
        async with client.get("/", headers={"If-None-Match": tag}) as again:
            assert again.status == 304
        async with client.get("/nothing") as missing:
            assert missing.status == 404
            assert missing.headers["Content-Security-Policy"] == policy
        async with client.get("/hello") as fresh:
            assert fresh.headers["Cache-Control"] == "no-store"
        async with client.post("/hello", data=b"x") as posted:
            assert posted.status == 405


@running
async def test_errors_become_answers_that_tell_no_secret():
    async with serving() as (_, client):
        async with client.get("/missing") as answer:
            assert (answer.status, await answer.json()) == (404, {"error": "BTC/USD: there is no book"})
        async with client.get("/defect") as answer:
            assert answer.status == 500
            assert "secret" not in await answer.text()


@running
async def test_only_names_of_this_machine_are_served_without_a_token():
    async with serving() as (_, client):
        for host in ("127.0.0.1", "localhost:1", "[::1]:80", "[::1]"):
            async with client.get("/hello", headers={"Host": host}) as answer:
                assert answer.status == 200, host
        for host in (
            "rebound.example",
            "rebound.example:9464",
            "127.0.0.1.example",
            "localhost.example:80",
            "10.0.0.1",
        ):
            async with client.get("/hello", headers={"Host": host}) as answer:
                assert answer.status == 403, host
                assert "Access-Control-Allow-Origin" not in answer.headers


@running
async def test_a_token_is_shown_as_a_header_or_once_in_the_browser():
    async with serving(token=TOKEN) as (server, client):
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Cookie": "kraken-l3-0=" + TOKEN},
        ):
            async with client.get("/hello", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        async with client.get("/hello", headers={"Authorization": f"Bearer {TOKEN}", "Host": "l3.example"}) as answer:
            assert answer.status == 200
        async with client.get("/hello?token=wrong-but-long-enough") as answer:
            assert answer.status == 401
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of IP addresses too
        async with aiohttp.ClientSession(server.url, cookie_jar=jar) as browser:
            async with browser.get(f"/hello?token={TOKEN}", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "/hello")
                cookie = answer.headers["Set-Cookie"]
                assert TOKEN not in cookie
                assert "HttpOnly" in cookie
                assert "SameSite=Strict" in cookie
            async with browser.get("/hello") as answer:
                assert answer.status == 200
    assert TOKEN not in SECRETS.redact(f"a log line with {TOKEN}")


def test_an_open_address_needs_a_token():
    with pytest.raises(UsageError, match="there is no token"):
        WebServer(Address("0.0.0.0", 0))
    with pytest.raises(UsageError, match="at least 16"):
        WebServer(Address("0.0.0.0", 0), token="short")
    WebServer(Address("0.0.0.0", 0), token=TOKEN)


@running
async def test_a_port_that_is_taken_is_said():
    async with serving() as (server, _):
        port = int(server.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(LocalFault, match="cannot listen"):
            await WebServer(Address("127.0.0.1", port)).__aenter__()


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml", "/static/../../cli/main.py", "/..%2f..%2fetc/passwd", "//etc/passwd",
        "/%2e%2e/etc/passwd", "/index.html/", "/page.css/../../server.py", "/%00", "/static/",
        "/page.css%00.html", "\\..\\server.py", "http://x/etc/passwd",
    ],
)  # fmt: skip
@running
async def test_no_path_leads_out(path):
    async with serving() as (server, _):
        answer = await say(
            server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        assert re.match(rb"HTTP/1.[01] 40[04] ", answer), answer[:200]


@running
async def test_huge_requests_are_cut_off():
    async with serving() as (server, client):
        one_header = await say(server, b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert one_header.startswith(b"HTTP/1.0 400 ") or one_header == b""
        many = b"".join(b"X-%d: y\r\n" % number for number in range(100_000))
        assert b" 200 " not in await say(server, b"GET /hello HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
        line = await say(server, b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " not in line
        body = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000
        await say(server, body)  # closed, not read to its end
        async with client.get("/hello") as answer:
            assert answer.status == 200


@running
async def test_a_request_that_does_not_come_is_not_waited_for():
    async with serving(bounds=Bounds(request_s=0.2)) as (server, client):
        assert await say(server, b"") == b""
        assert await say(server, b"GET /hello HTTP/1.1\r\nHost: loc") == b""
        idle = await say(server, b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.startswith(b"HTTP/1.1 200 ")
        async with client.get("/hello") as answer:
            assert answer.status == 200


@running
async def test_one_connection_too_many_is_told_so_and_the_others_live():
    async with serving(bounds=Bounds(connections=3)) as (server, client):
        port = int(server.url.rstrip("/").rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        refused = await say(server, b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503 ")
        for reader, writer in held:
            writer.write(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        async with client.get("/hello") as answer:
            assert answer.status == 200


def start(directory, *options, **more):
    (directory / "data").mkdir()
    command = [sys.executable, "-m", "kraken_l3", "page", str(directory / "data"), "--http", "127.0.0.1:0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)


def test_the_command_says_where_and_ends_with_a_signal(tmp_path):
    with start(tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with urlopen(f"{url}api/live", timeout=WAIT_S) as stream:
            assert stream.readline().startswith(b"id: ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0


def test_the_command_ends_with_the_recorder_that_runs_it(tmp_path):
    with start(tmp_path, "--recorder", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith("http://")
        process.stdin.write('{"symbols": 1}\n')
        process.stdin.close()
        assert process.wait(WAIT_S) == 0
