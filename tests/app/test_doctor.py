"""What `kraken-l3 doctor` finds: with the embedded exchange, and with servers and machines that are not well."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from fsspec.implementations.local import LocalFileSystem

from kraken_l3.app.doctor import machine, network
from kraken_l3.app.doctor.beside import check_port, check_upload
from kraken_l3.app.doctor.examination import examine
from kraken_l3.app.doctor.finding import bounded, exit_code_of, in_thread
from kraken_l3.app.doctor.machine import check_clock, check_disk
from kraken_l3.app.doctor.network import permission_findings
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.clock import SystemClock
from kraken_l3.config.settings import load_settings
from kraken_l3.exchange.faults import TokenError
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.address import parse_address
from kraken_l3.monitor.status import ClockStatus
from kraken_l3.protocol.plan import make_plan
from processes import run, simulate
from recording import JumpingClock, flow

NS_PER_S = 1_000_000_000
RIGHT = ClockStatus(synchronised=True, offset_s=0.0, error_s=0.005)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("KRAKEN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def configuration(tmp_path: Path, exchange=None, **more) -> Path:
    keys = {"symbols": ["BTC/USD"], "output_dir": str(tmp_path / "data"), **more}
    if exchange is not None:
        keys = {
            "rest_url": exchange.rest_url,
            "ws_url": exchange.ws_url,
            "public_ws_url": exchange.public_ws_url,
            "api_key": exchange.api_key,
            "api_secret": exchange.api_secret,
            **keys,
        }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(keys))
    path.chmod(0o600)
    return path


def by_check(findings):
    """The first finding of each check."""
    return {finding.check: finding for finding in reversed(findings)}


def diagnose(tmp_path, *, prepare=None, limits=Limits(), faults=(), config=None, **options):  # noqa: B008
    async def go():
        async with Exchange(flow(), limits=limits, faults=faults) as exchange:
            if prepare is not None:
                prepare(exchange)
            path = configuration(tmp_path, exchange, **(config or {}))
            return await examine(path, kernel=lambda: RIGHT, **options)

    return asyncio.run(go())


def test_all_is_well(tmp_path):
    findings = diagnose(tmp_path)
    wrong = [each for each in findings if each.state not in ("ok", "skipped")]
    assert not wrong
    assert exit_code_of(findings) == 0
    found = by_check(findings)
    for check in (
        "configuration",
        "versions",
        "clock",
        "rest",
        "public websocket",
        "symbols",
        "key",
        "level3",
        "limits",
    ):
        assert found[check].state == "ok", found[check]
    assert "within" in found["clock by WebSocket"].what
    assert "clock by REST" not in found
    assert list(tmp_path.glob("**/.kraken-l3-doctor*")) == []


@pytest.mark.parametrize(
    ("permissions", "state", "said"),
    [
        (("create-ws-token", "modify-trades", "withdraw-funds"), "warning", "can withdraw your funds, trade"),
        ((), "bad", "EGeneral:Permission denied"),
    ],
)
def test_what_the_key_may_do(tmp_path, permissions, state, said):
    findings = diagnose(tmp_path, prepare=lambda exchange: setattr(exchange.tokens, "permissions", permissions))
    found = by_check(findings)
    assert found["key"].state == state
    assert said in found["key"].what
    assert found["level3"].state == ("skipped" if state == "bad" else "ok")
    assert exit_code_of(findings) == (4 if state == "bad" else 0)
    assert "WebSocket interface - On" in found["key"].remedy


def test_a_key_that_may_read_more_or_expires_soon_and_answers_that_are_none():
    for permissions, state, said in (
        (["create-ws-token"], "ok", "gives tokens, and may do nothing else"),
        (["create-ws-token", "query-funds"], "ok", "gives tokens; beyond that it may only look (query-funds)"),
        (["create-ws-token", "a-new-one"], "warning", "may do more than it needs: a-new-one"),
    ):
        (found,) = permission_findings({"permissions": permissions}, 0)
        assert (found.state, found.what) == (state, said)
    soon = {"permissions": ["create-ws-token"], "validUntil": "1700000000"}
    assert [each.state for each in permission_findings(soon, 1_699_000_000 * NS_PER_S)] == ["ok", "warning"]
    assert "2023-11-14" in permission_findings(soon, 1_699_000_000 * NS_PER_S)[1].what
    for strange in ({}, {"permissions": 7}, {"permissions": "withdraw-funds"}, {"validUntil": ["x"]}):
        assert [each.state for each in permission_findings(strange, 0)] == ["warning"]


def test_a_key_that_was_refused_is_not_tried_again_at_once(tmp_path):
    for _ in range(2):
        found = by_check(diagnose(tmp_path, config={"api_key": "another-key-altogether"}))
        assert found["key"].state == "bad"
        assert found["key"].exit_code == 4
    assert "it was not tried again: EAPI:Invalid key" in found["key"].what
    assert "another-key" not in str(found)


def test_level3_refused_although_the_key_is_good(tmp_path):
    findings = diagnose(tmp_path, config={"depth": 1000}, limits=Limits(subscriptions_per_s=4))
    found = by_check(findings)
    assert found["key"].state == "ok"
    assert found["level3"].state == "bad"
    assert "refused BTC/USD although the key is good: Exceeded msg rate" in found["level3"].what
    assert exit_code_of(findings) == 4


def test_a_symbol_that_kraken_does_not_list(tmp_path):
    findings = diagnose(tmp_path, config={"symbols": ["BTC/USDD"]})
    assert "Did you mean BTC/USD?" in by_check(findings)["symbols"].remedy
    assert exit_code_of(findings) == 1


@pytest.mark.parametrize(
    ("error", "remedy"), [("EService:Busy", "status.kraken.com"), ("EGeneral:Temporary lockout", "Too many calls")]
)
def test_what_kraken_answers_instead_of_a_token(tmp_path, error, remedy):
    found = by_check(diagnose(tmp_path, faults=[TokenError(error=error)]))
    assert error in found["key"].what
    assert remedy in found["key"].remedy


@pytest.mark.parametrize(("ahead_s", "state"), [(0.0, "ok"), (0.3, "warning"), (-3.0, "bad")])
def test_a_clock_that_is_wrong(tmp_path, ahead_s, state):
    clock = JumpingClock(int(ahead_s * NS_PER_S))
    found = by_check(diagnose(tmp_path, clock=clock))
    assert found["clock by WebSocket"].state == state
    if ahead_s:
        assert ("ahead of" if ahead_s > 0 else "behind") in found["clock by WebSocket"].what
        assert "chrony" in found["clock by WebSocket"].remedy


def test_a_clock_that_is_not_synchronised():
    (found,) = check_clock(ClockStatus(synchronised=False))
    assert (found.state, "nothing synchronises it" in found.what) == ("warning", True)
    assert "timedatectl set-ntp true" in found.remedy
    assert check_clock(ClockStatus())[0].state == "skipped"
    assert check_clock(RIGHT)[0].state == "ok"


@asynccontextmanager
async def tcp_server(answer):
    """Calls `answer` with each connection's reader and writer."""
    writers = []

    async def answer_and_close(reader, writer):
        writers.append(writer)
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer_and_close, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


def against(tmp_path, answer, limit_s):
    async def go():
        async with tcp_server(answer) as port:
            urls = {"rest_url": f"http://127.0.0.1:{port}", "api_key": "k" * 56, "api_secret": "c2VjcmV0IQ=="}
            urls.update(ws_url=f"ws://127.0.0.1:{port}/v2", public_ws_url=f"ws://127.0.0.1:{port}/v2")
            return await examine(configuration(tmp_path, **urls), limit_s=limit_s, kernel=lambda: RIGHT)

    return asyncio.run(go())


def test_servers_that_hang_are_given_up(tmp_path):
    async def hang(_reader, _writer):
        await asyncio.Event().wait()

    began = time.monotonic()
    findings = against(tmp_path, hang, 0.3)
    assert time.monotonic() - began < 10
    found = by_check(findings)
    for check in ("rest", "public websocket"):
        assert (found[check].state, found[check].what) == ("bad", "no answer within 0.3 s")
    assert exit_code_of(findings) == 5


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "Server disconnected"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", "not as Kraken does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html>hi</html", "not as Kraken does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n" + b'{"result":{"unixtime":"yesterd"}}', "not as Kraken does"),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
    ],
)
def test_servers_that_are_not_kraken(tmp_path, reply, said):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)

    async def go():
        async with tcp_server(answer) as port:
            settings, _ = load_settings(configuration(tmp_path, rest_url=f"http://127.0.0.1:{port}"))
            return await network.check_rest(settings, SystemClock())

    (found,) = asyncio.run(go())
    assert found.state == "bad"
    assert said in found.what


def test_nobody_listens(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        config = configuration(tmp_path, rest_url=url, api_key="k" * 56, api_secret="c2VjcmV0IQ==")
        settings, _ = load_settings(config)
        (found,) = asyncio.run(network.check_rest(settings, SystemClock()))
    assert found.state == "bad"
    assert "Connect" in found.what
    assert "firewall" in found.remedy


def test_a_certificate_that_nobody_vouches_for(tmp_path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    async def go():
        async with Exchange(flow(), tls=tls) as exchange:
            return await examine(configuration(tmp_path, exchange), kernel=lambda: RIGHT)

    found = by_check(asyncio.run(go()))
    for check in ("rest", "public websocket"):
        assert found[check].state == "bad"
        assert "certificate" in found[check].what
        assert "ca-certificates" in found[check].remedy


def test_a_name_that_cannot_be_resolved(tmp_path):
    config = configuration(tmp_path, rest_url="https://kraken.invalid", ws_url="wss://kraken.invalid/v2")
    found = by_check(asyncio.run(examine(config, kernel=lambda: RIGHT)))
    assert found["configuration"].state == "bad"  # no key: nothing is asked of the network
    assert "rest" not in found


def test_a_call_that_never_returns_is_left_behind():
    never = threading.Event()
    try:
        findings = asyncio.run(bounded("disk", in_thread(never.wait), 0.05))
    finally:
        never.set()
    assert (findings[0].state, findings[0].check) == ("bad", "disk")


def test_the_disk(tmp_path):
    plan = make_plan(["BTC/USD"], 10, "standard")
    missing = tmp_path / "not" / "yet"
    space, speed = check_disk(missing, plan)
    assert str(tmp_path) in space.what
    assert not missing.exists()
    assert "/s, syncs in" in speed.what
    huge = plan._replace(disk_bytes_per_day=(1e15, 1e16))
    assert check_disk(tmp_path, huge)[0].state == "bad"
    (tmp_path / "file").touch()
    (found,) = check_disk(tmp_path / "file", plan)
    assert found.state == "bad"
    assert "output_dir" in found.remedy


@asynccontextmanager
async def http_server(answer, headers=None):
    async def tell(_request):
        return web.Response(text=answer, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield parse_address(f"127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("answer", "headers", "is_ours"),
    [
        ("there is no such page", {"Server": "kraken-l3"}, True),
        ('{"at": null, "live": true}', None, True),
        ('{"at": null}', None, False),
    ],
)
def test_a_port_is_free_or_the_recorders_own_or_taken(tmp_path, runs, answer, headers, is_ours):
    async def go():
        async with http_server(answer, headers) as address:
            taken = await check_port("http", address, tmp_path)
        return taken + await check_port("http", address, tmp_path)

    lock = DirectoryLock(tmp_path) if runs else None
    try:
        taken, free = asyncio.run(go())
    finally:
        if lock is not None:
            lock.release()
    assert (free.state, "is free" in free.what) == ("ok", True)
    if runs and is_ours:
        assert (taken.state, "the recorder serves there" in taken.what) == ("ok", True)
    else:
        assert (taken.state, taken.exit_code) == ("bad", 5)
        assert "choose another port" in taken.remedy


def test_a_server_that_never_answers_has_the_port(tmp_path):
    async def hang(_reader, _writer):
        await asyncio.Event().wait()

    async def go():
        async with tcp_server(hang) as port:
            return await check_port("relay", parse_address(f"127.0.0.1:{port}"), tmp_path, answer_s=0.1)

    lock = DirectoryLock(tmp_path)
    try:
        (found,) = asyncio.run(go())
    finally:
        lock.release()
    assert (found.state, "another program listens" in found.what) == ("bad", True)


def test_an_address_of_another_machine(tmp_path):
    (found,) = asyncio.run(check_port("http", parse_address("192.0.2.1:9464"), tmp_path))
    assert found.state == "bad"
    assert "an address of this machine" in found.remedy


def test_a_store_is_written_to_and_left_as_it_was(tmp_path):
    store = tmp_path / "store"
    (found,) = check_upload(store.as_uri(), tmp_path / "not-yet")
    assert (found.state, list(store.iterdir())) == ("ok", [])
    (found,) = check_upload(str(store), store)
    assert (found.state, found.exit_code, "is output_dir itself" in found.what) == ("bad", 1, True)


def test_a_store_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    config = {"seal": True, "upload": str(tmp_path / "file")}
    findings = diagnose(tmp_path, config=config)
    found = by_check(findings)
    assert found["upload"].state == "bad", found["upload"]
    assert "file" in found["upload"].what
    assert "may write to it" in found["upload"].remedy
    assert exit_code_of(findings) in (1, 5)


def test_a_store_whose_files_may_not_be_removed(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no")

    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    (found,) = check_upload(str(tmp_path / "store"), tmp_path)
    assert (found.state, ".kraken-l3-doctor stays there" in found.what) == ("ok", True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
@pytest.mark.parametrize(("says", "state"), [("yes", "ok"), ("no", "warning"), ("", "warning")])
def test_a_service_that_ends_at_logout(tmp_path, monkeypatch, says, state):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "loginctl").write_text(f"#!/bin/sh\necho {says}\n")
    (programs / "loginctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert machine.check_service()[0].state == "skipped"
    unit = tmp_path / "config" / "systemd" / "user" / "kraken-l3.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    (found,) = machine.check_service()
    assert found.state == state
    assert state == "ok" or "enable-linger" in found.remedy


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_limits_of_the_shell(tmp_path):
    command = f"ulimit -n 64; ulimit -f 1000; exec {sys.executable} -m kraken_l3 doctor --json"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    told = json.loads(done.stdout)
    assert (told["command"], told["exit_code"], done.returncode) == ("doctor", 1, 1)
    limits = next(each for each in told["result"]["findings"] if each["check"] == "limits")
    assert limits["state"] == "bad"
    assert "ulimit -f unlimited" in limits["remedy"]


def test_on_the_command_line(tmp_path):
    with simulate("--symbols", "BTC/USD,ETH/USD") as exports:
        env = {**exports, "KRAKEN_L3_SYMBOLS": "BTC/USD", "XDG_STATE_HOME": str(tmp_path / "state")}
        shown = run("doctor", directory=tmp_path, **env)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "gives tokens; beyond that it may only look" in shown.stdout
    assert exports["KRAKEN_API_SECRET"] not in shown.stdout
    nothing = run("doctor", directory=tmp_path)
    assert nothing.returncode == 1
    assert "symbols: nothing to record" in nothing.stdout
