"""The rules of health: each thing that can be wrong, alone."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.monitor.health import Health, health_of
from kraken_l3.monitor.status import (
    ConnectionStatus,
    DiskStatus,
    RecorderStatus,
    RelayStatus,
    SymbolStatus,
    VerifierStatus,
    decode_status,
    encode_status,
)

NOW_NS = 1_790_000_000_000_000_000
S = 10**9


def row(symbol="BTC/USD", **values):
    usual = {"connection": 1, "state": "recording", "messages": 5, "last_snapshot_ns": NOW_NS - 60 * S}
    return SymbolStatus(symbol=symbol, **{**usual, **values})


def sound(**values):
    usual = {
        "rows": [row("BTC/USD"), row("ETH/USD")],
        "connections": [ConnectionStatus(number=1, channel="level3", symbols=2, last_frame_ns=NOW_NS - S)],
        "verifier": VerifierStatus(ok=10, symbols=2, lag_s=0.8),
    }
    return RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS - 100 * S, directory="data", **{**usual, **values})


def said(health: Health) -> "list[tuple[str, str, str]]":
    assert health.healthy == (not health.problems)
    return [(problem.symbol, problem.what, problem.why) for problem in health.problems]


def test_a_sound_recording_is_healthy():
    assert health_of(sound(), age_s=1.0) == Health(True, 2, [])


def test_nothing_told_yet_is_not_healthy():
    assert said(health_of(None, age_s=0)) == [("", "recorder", "the recorder has not told its status yet")]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (sound(stopped=True), ("", "recorder", "the recorder was stopped")),
        (sound(rows=[]), ("", "recorder", "the recorder waits for Kraken's list of pairs")),
        (sound(disk=DiskStatus(is_full=True)), ("", "disk", "the disk is full")),
        (sound(paused=True), ("", "disk", "reading is paused")),
        (sound(verifier=VerifierStatus()), ("", "verified", "the verifier has not told anything yet")),
        (sound(verifier=VerifierStatus(lag_s=45.0)), ("", "verified", "the verifier is 45 s behind")),
        (
            sound(verifier=VerifierStatus(lag_s=0.0, not_synced=["ETH/USD"])),
            ("ETH/USD", "verified", "its book does not agree"),
        ),
        (sound(relay=RelayStatus()), ("", "relay", "the relay does not serve yet")),
        (sound(relay=RelayStatus(restarts=4)), ("", "relay", "the relay does not serve; it was started again")),
        (sound(relay=RelayStatus(url="http://x", lag_s=31.0)), ("", "relay", "the relay is 31 s behind")),
        (sound(rows=[row(state="waiting", connection=0)]), ("BTC/USD", "acknowledged", "it is waiting")),
        (sound(rows=[row(last_snapshot_ns=None)]), ("BTC/USD", "acknowledged", "its snapshot is not written yet")),
        (
            sound(rows=[row(state="rejected", gap_cause="rejected", gap_since_ns=NOW_NS)]),
            ("BTC/USD", "acknowledged", "it is rejected, since 2026-09-21T14:13:20Z (rejected)"),
        ),
        (
            sound(rows=[row(gap_cause="mismatch", gap_since_ns=NOW_NS)]),
            ("BTC/USD", "fresh", "it has a gap since 2026-09-21T14:13:20Z (mismatch)"),
        ),
        (sound(connections=[]), ("BTC/USD", "fresh", "connection 1 has been silent")),
    ],
)
def test_each_thing_that_is_wrong_is_told(status, problem):
    (first, *_) = said(health_of(status, age_s=1.0))
    assert first[:2] == problem[:2]
    assert first[2].startswith(problem[2])


def test_a_recorder_that_tells_nothing_for_some_seconds_is_not_healthy():
    assert health_of(sound(), age_s=4.9).healthy
    assert said(health_of(sound(), age_s=12.2)) == [("", "recorder", "the recorder has told nothing for 12 s")]


def test_without_a_verifier_nothing_need_be_verified():
    assert health_of(sound(verifier=None), age_s=1.0).healthy


def test_a_relay_that_serves_is_no_problem_and_neither_is_one_with_nothing_to_pass_on():
    assert health_of(sound(relay=RelayStatus(url="http://x", lag_s=0.9)), age_s=1.0).healthy
    silent = sound(rows=[row(messages=0)], relay=RelayStatus(), verifier=VerifierStatus())
    assert health_of(silent, age_s=1.0).healthy


def test_with_many_problems_each_symbol_is_named_once():
    rows = [row(f"S{n}/USD", state="subscribing", gap_cause="network", gap_since_ns=NOW_NS) for n in range(300)]
    not_synced = [each.symbol for each in rows]
    status = sound(rows=rows, verifier=VerifierStatus(lag_s=99.0, not_synced=not_synced), connections=[])
    problems = said(health_of(status, age_s=1.0))
    assert [symbol for symbol, _, _ in problems] == ["", *not_synced]


STATES = st.sampled_from(["recording", "recording", "waiting", "rejected"])


@given(
    rows=st.lists(st.builds(row, st.text(max_size=8), state=STATES, gap_cause=st.sampled_from(["", "", "network"]))),
    age_s=st.floats(0, 10),
    stopped=st.booleans(),
    verifier=st.sampled_from([None, VerifierStatus(lag_s=0.0), VerifierStatus(), VerifierStatus(lag_s=31.0)]),
)
def test_healthy_means_that_nothing_is_wrong(rows, age_s, stopped, verifier):
    status = sound(rows=rows, stopped=stopped, verifier=verifier)
    health = health_of(decode_status(encode_status(status)), age_s=age_s)
    wanted = (
        bool(rows)
        and all(each.state == "recording" and not each.gap_cause for each in rows)
        and age_s <= 5
        and not stopped
        and (verifier is None or (verifier.lag_s is not None and verifier.lag_s <= 30))
    )
    assert health.healthy == wanted
    assert msgspec.json.decode(msgspec.json.encode(health), type=Health) == health
