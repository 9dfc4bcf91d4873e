"""What callers may pass to the Python API, and what each wrong argument is answered with."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.api.arguments import bar_ns, count, moment_ns, one_of, span_ns, symbol_among, windows
from kraken_l3.errors import DataMissing, UsageError, did_you_mean
from kraken_l3.model.timestamps import format_rfc3339

NOON_NS = 1_795_348_800_000_000_000
UTC = dt.timezone.utc


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22 13:00:00+01:00",
        dt.datetime(2026, 11, 22, 12),
        dt.datetime(2026, 11, 22, 12, tzinfo=UTC),
        dt.datetime(2026, 11, 22, 13, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        NOON_NS,
    ],
)
def test_every_way_to_say_noon(moment):
    assert moment_ns(moment) == NOON_NS


def test_a_date_is_its_midnight():
    assert moment_ns(dt.date(2026, 11, 22)) == moment_ns("2026-11-22") == NOON_NS - 12 * 3600 * 10**9


def test_numpy_and_pandas_times_keep_their_nanoseconds():
    numpy = pytest.importorskip("numpy")
    assert moment_ns(numpy.datetime64(NOON_NS + 7, "ns")) == NOON_NS + 7
    assert moment_ns(numpy.datetime64("2026-11-22T12:00")) == NOON_NS
    assert moment_ns(numpy.int64(NOON_NS)) == NOON_NS
    with pytest.raises(UsageError, match="between 1970 and 2262"):
        moment_ns(numpy.datetime64("NaT"))
    pandas = pytest.importorskip("pandas")
    assert moment_ns(pandas.Timestamp(NOON_NS + 7, tz="UTC")) == NOON_NS + 7


@given(st.integers(946_684_800 * 10**9, (1 << 63) - 1))
def test_text_and_integer_are_the_same_moment(ns):
    assert moment_ns(format_rfc3339(ns)) == moment_ns(ns) == ns


@pytest.mark.parametrize("seconds_ago", [1, 10**3, 10**6])
def test_seconds_milliseconds_and_microseconds_are_refused(seconds_ago):
    with pytest.raises(UsageError, match="integers are nanoseconds"):
        moment_ns(NOON_NS // 10**9 * seconds_ago)


@pytest.mark.parametrize("moment", [1.5, True, b"2026", None, [], "yesterday", "", -1, 1 << 63, dt.datetime.max])
def test_no_moment(moment):
    with pytest.raises(UsageError, match=r"^at: "):
        moment_ns(moment)


def test_windows():
    assert windows() == [(0, None)]
    assert windows(NOON_NS, NOON_NS) == [(NOON_NS, NOON_NS)]
    with pytest.raises(UsageError, match="lies before"):
        windows(NOON_NS, NOON_NS - 1)
    with pytest.raises(UsageError, match=r"^end: "):
        windows(None, "later")


@pytest.mark.parametrize(
    ("text", "ns"), [("1s", 10**9), ("100ms", 10**8), ("5m", 3 * 10**11), ("7ns", 7), ("change", None)]
)
def test_spans(text, ns):
    assert span_ns(text) == ns


@pytest.mark.parametrize("every", [1, 1.0, None, "", "s", "0s", "-1s", "1.5s", "1 s", "1d", "²s", "9" * 30 + "h"])
def test_no_span(every):
    with pytest.raises(UsageError, match="100ms"):
        span_ns(every)


@pytest.mark.parametrize("value", [0, 1001, 1.0, "10", True, None])
def test_counts_say_their_range(value):
    with pytest.raises(UsageError, match="levels must be 1 to 1,000, got"):
        count(value, "levels")


def test_words():
    assert one_of("trade", "stream", ["level3", "trade"]) == "trade"
    with pytest.raises(UsageError, match=r"unknown stream 'trades'\. Use level3 or trade"):
        one_of("trades", "stream", ["level3", "trade"])


def test_an_unknown_symbol_is_told_what_there_is():
    assert symbol_among("BTC/USD", ["ETH/USD", "BTC/USD"], "data") == "BTC/USD"
    with pytest.raises(DataMissing, match=r"Did you mean BTC/USD\? The archive has BTC/USD, ETH/USD"):
        symbol_among("BTCUSD", ["ETH/USD", "BTC/USD"], "data")
    with pytest.raises(DataMissing, match="and 80 more"):
        symbol_among("X", [f"S{number}/USD" for number in range(100)], "data")
    with pytest.raises(DataMissing, match="has no symbols"):
        symbol_among("X", [], "data")
    with pytest.raises(UsageError, match="a symbol is a text"):
        symbol_among(None, ["BTC/USD"], "data")


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("BTCUSD", ["BTC/USD", "ETH/USD"], "BTC/USD"),
        ("xbt/usd", ["BTC/USD", "ETH/USD"], "BTC/USD"),
        ("exprot", ["export", "verify"], "export"),
        ("entirely", ["BTC/USD"], ""),
        ("", ["BTC/USD"], ""),
    ],
)
def test_did_you_mean(name, known, meant):
    assert did_you_mean(name, known) == (f"Did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(("text", "ns"), [("1s", 10**9), ("250ms", 250_000_000), ("24h", 86_400 * 10**9)])
def test_lengths_of_bars(text, ns):
    assert bar_ns(text) == ns


@pytest.mark.parametrize("text", ["7s", "change", "25h", "0s", "1"])
def test_a_bar_divides_a_day(text):
    with pytest.raises(UsageError, match="divides a day"):
        bar_ns(text)
