"""The rules of alerts: what is one, and how few of them there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.journal import Alive, GapClosed, GapOpened, Rejected, Resync
from kraken_l3.model.alerts import ALERT_KINDS
from kraken_l3.monitor.alerts import AlertRules
from kraken_l3.monitor.status import DiskStatus, RecorderStatus

S = 10**9
NOW_NS = 1_790_000_000_000_000_000


def rules(*kinds):
    return AlertRules(list(kinds or ALERT_KINDS), "box", "/data")


def gap(cause, symbol="BTC/USD"):
    return GapOpened(at_ns=NOW_NS, channel="level3", symbol=symbol, cause=cause, left_ns=NOW_NS)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (gap("network"), "gap"),
        (gap("mismatch"), "gap"),
        (gap("a cause of tomorrow"), "gap"),
        (gap("silence"), "silence"),
        (gap("silent_symbol"), "silence"),
        (gap("disk"), "disk"),
        (gap("writer"), "disk"),
        (gap("rejected"), "refusal"),
        (gap("stop"), None),
        (Resync(at_ns=NOW_NS, symbol="A/B", cause="mismatch", attempt=4, connection=1), None),
        (Resync(at_ns=NOW_NS, symbol="A/B", cause="mismatch", attempt=5, connection=1), "quarantine"),
        (Rejected(at_ns=NOW_NS, connection=1, channel="level3", symbol="A/B", error="x"), None),
        (GapClosed(at_ns=NOW_NS, channel="level3", symbol="A", cause="network", left_ns=1, right_ns=2), None),
        (Alive(at_ns=NOW_NS, last_frame_ns={}), None),
    ],
)
def test_what_is_an_alert(record, kind):
    told = rules()
    told.record(record, 0)
    assert [alert.kind for alert in told.due(2 * S)] == ([] if kind is None else [kind])


def test_a_thousand_symbols_are_one_sentence():
    told = rules()
    for n in range(1_000):
        told.record(gap("network", f"S{n}/USD"), n * 1_000)
    assert told.due(S) == []
    (alert,) = told.due(3 * S)
    assert alert.text == (
        "Kraken L3 recorder on box: gap (network): S0/USD, S1/USD, S2/USD, S3/USD, S4/USD, S5/USD, S6/USD, S7/USD, "
        "S8/USD, S9/USD and 990 more"
    )
    assert (alert.events, len(alert.symbols), alert.directory) == (1_000, 10, "/data")


def test_more_of_the_same_come_after_longer_and_longer_pauses():
    told = rules()
    sent = []
    for second in range(4 * 3600):
        told.record(gap("mismatch"), second * S)
        sent += [(second, alert.events) for alert in told.due(second * S)]
    assert [at for at, _ in sent] == [2, 62, 362, 1262, 4862, 8462, 12062]
    assert sum(events for _, events in sent) == 12063  # every event is in one of them


def test_after_a_quiet_hour_it_starts_over():
    told = rules()
    for at in (0, 10, 1_000, 8_000, 8_010):
        told.record(gap("mismatch"), at * S)
        told.due((at + 5) * S)
        told.due((at + 400) * S)
    told.record(gap("mismatch"), 20_000 * S)
    assert told.due(20_001 * S) == []
    assert len(told.due(20_002 * S)) == 1
    told.record(gap("mismatch"), 20_010 * S)
    assert told.due(20_061 * S) == []
    assert len(told.due(20_062 * S)) == 1


def test_kinds_that_are_not_wanted_are_none():
    told = rules("stop")
    told.record(gap("network"), 0)
    told.add("start", "", "starts", NOW_NS, 0)
    told.add("stop", "", "has ended", NOW_NS, 0)
    assert [alert.kind for alert in told.due(0, everything=True)] == ["stop"]


def test_a_disk_that_fills_up_is_told_of_at_each_mark():
    told = rules()
    texts = []
    for number, mark in enumerate(["fine", "low", "low", "scarce", "low", "scarce", "fine", "scarce"]):
        disk = DiskStatus(free_bytes=3 * 2**30, seconds_to_full=None if number > 4 else 7_200.0, mark=mark)
        status = RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS, directory="d", rows=[], disk=disk)
        told.status(status, number * 10_000 * S)
        texts += [alert.text.partition(": ")[2] for alert in told.due((number * 10_000 + 5) * S)]
    scarce = "the disk is nearly full, only recording goes on: 3.0 GiB free"
    assert texts == [
        "the disk is running low: 3.0 GiB free, full in 2 h 00 min at the last hour's rate",
        f"{scarce}, full in 2 h 00 min at the last hour's rate",
        scarce,
        scarce,
    ]


def test_a_symbol_that_fails_again_and_again_is_no_other_symbol():
    told = rules()
    for n in range(5):
        told.record(gap("network", "A/B"), n)
    (alert,) = told.due(3 * S)
    assert alert.text == "Kraken L3 recorder on box: gap (network): A/B"
    assert (alert.events, alert.symbols) == (5, ["A/B"])


CAUSES = st.sampled_from(["network", "mismatch", "disk", "silence", "stop"])


@given(st.lists(st.tuples(st.integers(0, 10**12), CAUSES, st.integers(0, 3)), max_size=200))
def test_no_storm_and_nothing_forgotten(events):
    """At most one alert in two seconds of a kind and cause, four in an hour and a few more; all events are counted."""
    told, now_ns, sent = rules(), 0, []
    for passed_ns, cause, symbol in events:
        now_ns += passed_ns
        told.record(gap(cause, f"S{symbol}/USD"), now_ns)
        sent += [(now_ns, alert) for alert in told.due(now_ns)]
    sent += [(now_ns, alert) for alert in told.due(now_ns, everything=True)]
    for cause in ("network", "mismatch", "disk", "silence"):
        of_cause = [(at, alert) for at, alert in sent if alert.cause == cause]
        assert sum(alert.events for _, alert in of_cause) == sum(each == cause for _, each, _ in events)
        times = [at for at, _ in of_cause][:-1]
        assert all(later - earlier >= 60 * S for earlier, later in zip(times, times[1:]))
