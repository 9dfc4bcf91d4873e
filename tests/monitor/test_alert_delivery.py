"""Alerts on their way: a server that hangs, refuses, redirects; a command that hangs, fails, is missing."""

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from kraken_l3.model.alerts import Alert
from kraken_l3.monitor.alert_delivery import AlertDelivery, DeliveryTimes
from kraken_l3.redaction import SECRETS
from recording import WAIT_S, run

SECRET_PATH = "a-path-that-only-we-know"
ALERT = Alert(
    kind="gap", cause="network", text="a gap: BTC/USD", symbols=["BTC/USD"], events=3, at_ns=5, host="h", directory="d"
)  # fmt: skip


@asynccontextmanager
async def server(*answers):
    """Answers one request after the other; the last answer stays. Yields its URL and what it was sent."""
    asked = []

    async def answer(request):
        asked.append((request.path, await request.json()))
        result = answers[min(len(asked), len(answers)) - 1]
        return await result() if callable(result) else result

    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_route("*", "/{path:.*}", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/{SECRET_PATH}", asked
    finally:
        await runner.cleanup()


def delivered(*, command=(), webhook="", retry=True, limit_s=0.5, retries_s=(0.01, 0.01)):
    async def main():
        delivery = AlertDelivery(
            command, webhook, {"PATH": os.environ["PATH"]}, times=DeliveryTimes(limit_s=limit_s, retries_s=retries_s)
        )
        await asyncio.wait_for(delivery.deliver(ALERT, retry=retry), WAIT_S)

    return main()


def ok():
    return web.Response(text="ok")


def test_a_webhook_gets_the_alert_with_its_sentence_for_chats():
    async def main():
        async with server(ok()) as (url, asked):
            await delivered(webhook=url)
        return asked

    ((path, body),) = run(main())
    assert path == f"/{SECRET_PATH}"
    assert body["text"] == body["content"] == "a gap: BTC/USD"
    assert (body["kind"], body["cause"], body["symbols"], body["events"]) == ("gap", "network", ["BTC/USD"], 3)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: web.Response(status=500), "127.0.0.1 answers with 500"),
        (lambda: web.Response(status=404, text="x" * 1_000_000), "127.0.0.1 answers with 404"),
        (
            lambda: web.Response(status=307, headers={"Location": "https://elsewhere.example/x"}),
            "127.0.0.1 answers with 307, a redirect to elsewhere.example, which is not followed",
        ),
        (lambda: web.Response(status=301, headers={"Location": "/a"}), "127.0.0.1 answers with 301"),
    ],
)
def test_one_that_refuses_or_redirects_is_tried_again_and_given_up(answer, why):
    async def main():
        async with server(*(answer() for _ in range(5))) as (url, asked):
            with structlog.testing.capture_logs() as said:
                await delivered(webhook=url)
        return asked, said

    asked, said = run(main())
    assert len(asked) == 3
    assert [line["why"] for line in said] == [why]
    assert SECRET_PATH not in str(said)


def test_one_that_comes_back_gets_the_alert_late():
    async def main():
        async with server(web.Response(status=503), ok()) as (url, asked):
            with structlog.testing.capture_logs() as said:
                await delivered(webhook=url)
        return asked, said

    asked, said = run(main())
    assert len(asked) == 2
    assert not said


def test_one_that_hangs_is_left():
    async def hang():
        await asyncio.sleep(1_000)

    async def main():
        async with server(hang) as (url, asked):
            began = time.monotonic()
            with structlog.testing.capture_logs() as said:
                await delivered(webhook=url, retry=False, limit_s=0.2)
            took = time.monotonic() - began
        return asked, said, took

    asked, said, took = run(main())
    assert len(asked) == 1
    assert took < 10
    assert said[0]["why"] == "127.0.0.1 does not answer within 0.2 s"


def test_one_that_is_not_there_is_said():
    with structlog.testing.capture_logs() as said:
        run(delivered(webhook=f"http://127.0.0.1:9/{SECRET_PATH}"))
    assert said[0]["why"].startswith("127.0.0.1: Client")
    assert SECRET_PATH not in str(said)


def test_the_address_is_a_secret_from_then_on():
    run(delivered(webhook=f"http://127.0.0.1:9/{SECRET_PATH}-2", retry=False))
    assert SECRET_PATH not in SECRETS.redact(f"could not ask http://127.0.0.1:9/{SECRET_PATH}-2 now")


def script(tmp_path: Path, text: str) -> "list[str]":
    path = tmp_path / "hook.py"
    path.write_text(text)
    return [sys.executable, str(path), str(tmp_path / "out")]


def test_a_command_gets_the_alert_and_none_of_our_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KRAKEN_API_SECRET", "c2VjcmV0")
    text = (
        "import json, os, sys\n"
        "json.dump([sys.argv[2:], json.load(sys.stdin), dict(os.environ)], open(sys.argv[1], 'w'))\n"
    )
    with structlog.testing.capture_logs() as said:
        run(delivered(command=script(tmp_path, text), limit_s=WAIT_S))
    arguments, alert, environment = json.loads((tmp_path / "out").read_text())
    assert arguments == ["a gap: BTC/USD"]
    assert alert["kind"] == "gap"
    assert "KRAKEN_API_SECRET" not in environment
    assert not said


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path):
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "time.sleep(1000)\n"
    )
    with structlog.testing.capture_logs() as said:
        run(delivered(command=script(tmp_path, text), limit_s=2.0))
    assert said[0]["event"] == "the alert command hangs and is killed"
    child = int((tmp_path / "out").read_text())
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and Path(f"/proc/{child}").exists():
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":  # killed, and nobody here collects orphans
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (["/nowhere/hook"], "cannot run the alert command"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "the alert command failed"),
        ([sys.executable, "-c", "import sys; sys.stdin.close(); raise SystemExit(3)"], "the alert command failed"),
    ],
)
def test_a_command_that_fails_is_said(command, event):
    with structlog.testing.capture_logs() as said:
        run(delivered(command=command, limit_s=WAIT_S))
    assert [line["event"] for line in said] == [event]
