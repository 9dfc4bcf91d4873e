"""The checks against our own server, live and replayed, and against servers that do one thing wrong."""

import asyncio
import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tampering import SHORT, TAMPERING, copied

from kraken_l3.conformance.check import Certainty, Outcome, judge
from kraken_l3.conformance.checks import CHECKS
from kraken_l3.conformance.client import signature
from kraken_l3.conformance.run import Request, converse
from kraken_l3.conformance.transcript import Entry, Talk, Transcript
from kraken_l3.errors import LocalFault
from kraken_l3.exchange.faults import Close, Corrupt, Skip, TokenError
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.replay.relay import RELAY_LIMITS, Relay
from kraken_l3.exchange.replay.server import Replay
from kraken_l3.exchange.server import Exchange, made_up_keys
from kraken_l3.exchange.written import write_archive
from recording import Recording

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ["BTC/USD", "ETH/USD", "SOL/USD"]
ONLY_ON_REQUEST = {"limits.symbols", "limits.subscription-rate", "limits.idle"}
#: A rare event may not be in a few seconds of a quiet market.
BY_CHANCE = {"level3.modify", "checksum.queue-by-time", "trade.form", "trade.times", "trade.sequence"}
BY_ID = {check.id: check for check in CHECKS}


def running(test):
    return functools.wraps(test)(lambda *args, **kwargs: asyncio.run(test(*args, **kwargs)))


def request(exchange, **how):
    key = (exchange.api_key, exchange.api_secret)
    asked = {"listen_s": 2.2, "quiet_s": 1.1, "refusals": True, **how}
    return Request(exchange.rest_url, exchange.ws_url, exchange.public_ws_url, key, **asked)


def flow(rate=220.0, **how):
    return OrderFlow(SYMBOLS, rate=rate, now_ns=time.time_ns(), unsorted_adds=0.5, **how)


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory):
    """Three servers at the same time: synthetic trading, a replay, and one with faults."""
    archive = tmp_path_factory.mktemp("conformance") / "archive"
    write_archive(archive, duration_ns=60 * 10**9, symbols=SYMBOLS, depth=100, rate=60, seed=3)

    async def converse_with_all():
        faults = [Corrupt(what="checksum", after_messages=20), Skip(after_messages=40)]
        async with (
            Exchange(flow()) as simulated,
            Replay(archive, speed="4", engine_name="python") as replayed,
            Exchange(flow(), faults=faults) as faulty,
        ):
            return await asyncio.gather(
                converse(request(simulated)),
                # its clock starts two seconds after the last new subscription
                converse(request(replayed, depths=(10, 100), listen_s=4.0)),
                converse(request(faulty, depths=(10,), listen_s=1.0)),
            )

    return asyncio.run(converse_with_all())


def judged(transcript):
    """What is broken and what was skipped, each with what was seen."""
    results = judge(transcript, CHECKS)
    return [
        {each.check.id: each.seen for each in results if each.outcome is outcome}
        for outcome in (Outcome.BROKEN, Outcome.SKIPPED)
    ]


def test_synthetic_trading_is_kraken(transcripts):
    broken, skipped = judged(transcripts[0])
    assert broken == {}
    assert set(skipped) == ONLY_ON_REQUEST


def test_a_replay_is_kraken(transcripts):
    broken, skipped = judged(transcripts[1])
    assert broken == {}
    assert set(skipped) - BY_CHANCE == ONLY_ON_REQUEST | {"level3.depths-offered"}


def test_faults_of_a_script_are_found(transcripts):
    found, _ = judged(transcripts[2])
    assert "checksum.update" in found
    assert not [name for name in found if name.startswith(("rest.", "ping.", "status.", "instrument."))]


def test_each_check_breaks_where_the_server_does_something_else(transcripts):
    # one test for all of them: each worker that runs one of several would talk to the servers again
    unbroken = {}
    for name, tamper in TAMPERING.items():
        changed = copied(transcripts[0], short=name in SHORT)
        tamper(changed)
        (result,) = judge(changed, [BY_ID[name]])
        if result.outcome is not Outcome.BROKEN:
            unbroken[name] = result.seen
    assert unbroken == {}


def test_every_check_was_seen_to_break():
    assert set(BY_ID) - set(TAMPERING) == ONLY_ON_REQUEST | {"level3.several-symbols"}


def limits_transcript(refused_at=201, fast_refused=4, closes_after=61.0):
    """What a server says that is asked for 201 symbols, then for too much in a second, and one that is left alone."""
    transcript = Transcript(SYMBOLS)

    def answered(name, step, answers):
        talk = transcript.talks.setdefault(name, Talk("level3"))
        talk.begin(step)
        talk.entries += [Entry(1.0, json.dumps({"method": "subscribe", **each})) for each in answers]

    good, bad = {"success": True, "result": {}}, {"success": False, "error": "no more"}
    answered("limits", "batch-0", [good if number < refused_at else bad for number in range(1, 201)])
    answered("limits", "too-many", [bad if refused_at <= 201 else good])
    answered("rate", "too-fast", [bad] * fast_refused + [good] * (6 - fast_refused))
    for name in ("limits", "rate"):
        answered(name, "ping-last", [{"method": "pong"}])
    answered("idle", "idle", [])
    transcript.talks["idle"].entries.append(Entry(closes_after, "code 1000", "closed" if closes_after < 90 else "text"))
    return transcript


def test_a_step_in_which_nothing_came_is_empty():
    talk = Talk("level3")
    talk.begin("silence")
    talk.begin("subscribe")
    talk.entries.append(Entry(1.0, "{}"))
    assert (talk.step("silence"), talk.step("subscribe"), talk.step("later")) == ([], talk.entries, [])


def test_limits_hold_and_break():
    checks = [BY_ID[name] for name in sorted(ONLY_ON_REQUEST)]
    assert {each.outcome for each in judge(limits_transcript(), checks)} == {Outcome.HOLDS}
    for change in ({"refused_at": 150}, {"refused_at": 300}, {"fast_refused": 0}, {"closes_after": 90.0}):
        outcomes = [each.outcome for each in judge(limits_transcript(**change), checks)]
        assert outcomes.count(Outcome.BROKEN) == 1, change


@pytest.mark.soak
@running
async def test_a_relay_is_kraken_but_for_nonces(tmp_path):
    async with (
        Exchange(flow(), keys=made_up_keys(2)) as exchange,
        Recording(tmp_path, exchange, symbols=SYMBOLS, trades=True) as recording,
        Relay(tmp_path, engine_name="python", limits=RELAY_LIMITS) as relay,
    ):
        await recording.until_lines(500)
        transcript = await converse(request(relay, depths=(10,)))
    broken, skipped = judged(transcript)
    assert set(broken) == {"rest.same-nonce"}, broken
    assert set(skipped) - BY_CHANCE == ONLY_ON_REQUEST | {"level3.depths-offered", "checksum.every-depth"}


@pytest.mark.soak
@running
async def test_our_server_keeps_the_limits():
    pairs = OrderFlow(201, rate=50.0, now_ns=time.time_ns())
    async with Exchange(pairs, limits=Limits(idle_s=5.0)) as exchange:
        transcript = await converse(request(exchange, limits=True))
    results = {each.check.id: each for each in judge(transcript, CHECKS)}
    assert {results[name].outcome for name in ONLY_ON_REQUEST} == {Outcome.HOLDS}


@running
async def test_a_server_that_cannot_be_reached_is_no_broken_check():
    async with Exchange(flow()) as exchange:
        url = exchange.rest_url
    with pytest.raises(LocalFault, match="cannot be reached"):
        await converse(Request(url))


@running
async def test_what_cannot_be_checked_is_skipped_with_its_reason():
    async with (
        Exchange(flow(), limits=Limits(idle_s=2.0)) as quiet,
        Exchange(flow(), faults=[Close(code=1013, after_messages=3)]) as closing,
    ):
        short = {"symbols": ("BTC/USD",), "depths": (10,), "listen_s": 0.3, "quiet_s": 0.1}
        one_symbol = request(quiet, limits=True, **short)._replace(public_ws_url="")
        one, cut = await asyncio.gather(converse(one_symbol), converse(request(closing, **short)))
    broken, skipped = judged(one)
    assert broken == {}
    assert "limits.idle" not in skipped
    assert skipped["limits.symbols"] == "the server lists 3 pairs, and 201 are needed"
    assert skipped["subscribe.ack-each-symbol"] == "there is only one symbol"
    assert skipped["public.acks"] == "no URL of a public endpoint was given"
    broken, skipped = judged(cut)
    assert broken["connection.stays-open"] == "main was closed: ['code 1013']"
    assert skipped["rejection.again"] == "the connection ended before the step again"


@running
async def test_a_refused_key_leaves_level3_out_and_makes_one_attempt():
    async with Exchange(flow()) as exchange:
        asked = request(exchange, listen_s=0.1, quiet_s=0.1)._replace(key=("no-such-key", exchange.api_secret))
        transcript = await converse(asked)
    broken, skipped = judged(transcript)
    assert "rest.token" in broken
    assert "EAPI:Invalid key" in skipped["checksum.update"]
    assert "token-json" not in transcript.calls


def test_the_signature_is_that_of_krakens_example():
    """https://docs.kraken.com/api/docs/guides/spot-rest-auth"""
    secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    signed = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert signature(secret, "/0/private/AddOrder", 1616492376594, body) == signed


@running
async def test_a_server_that_gives_no_token_and_no_reason_is_judged():
    async with Exchange(flow(), faults=[TokenError(http_status=502, times=0)]) as exchange:
        asked = request(exchange, listen_s=0.1, quiet_s=0.1)._replace(public_ws_url="")
        results = {each.check.id: each for each in judge(await converse(asked), CHECKS)}
    assert results["rest.token"].outcome is Outcome.BROKEN
    assert results["level3.modify"].seen == "no token was given: HTTP 502"


def test_a_check_names_a_public_source():
    for check in CHECKS:
        assert check.source.startswith("https://"), check.id
        assert (check.certainty is Certainty.DOCUMENTED) <= ("docs.kraken.com" in check.source), check.id
        assert re.fullmatch(r"[a-z0-9]+\.[a-z0-9-]+", check.id)
        assert check.says.endswith("."), check.id
    assert len(BY_ID) == len(CHECKS)


def test_the_page_lists_every_check_as_it_is():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "conformance_checks.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@running
async def test_the_command_reports_and_exits_with_2_where_something_is_broken(tmp_path):
    async with Exchange(flow()) as exchange:

        async def ask(*words, rest_url=exchange.rest_url):
            command = [sys.executable, "-m", "kraken_l3", "conformance", "--rest-url", rest_url, *words]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("KRAKEN_")}
            child = await asyncio.create_subprocess_exec(
                *command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            out, err = await child.communicate()
            return child.returncode, out.decode(), err.decode()

        code, out, err = await ask("--json", "--duration", "1s")
        assert code == 0, err
        checks = json.loads(out)["result"]["checks"]
        assert {each["outcome"] for each in checks} == {"holds", "skipped"}
        assert next(each for each in checks if each["id"] == "rest.token")["seen"] == "no API key was given"
        code, out, err = await ask("--duration", "1s", rest_url=exchange.rest_url + "/elsewhere")
        assert code == 3, out
        assert "lists no pair" in err
