"""Nanoseconds and their text, held against the standard library's datetime."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, day_of, day_start_ns, format_rfc3339, parse_rfc3339

MOMENTS = st.integers(0, (1 << 63) - 1)
DATETIMES = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2261, 1, 1))
ZONES = st.integers(-14 * 60, 14 * 60)


@given(MOMENTS)
def test_what_is_written_is_read_back(ns):
    assert parse_rfc3339(format_rfc3339(ns)) == ns


@given(DATETIMES, ZONES, st.sampled_from("Tt "))
def test_every_zone_and_separator_is_read_as_datetime_reads_it(moment, minutes, separator):
    aware = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
    since = aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    expected = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000
    assert parse_rfc3339(aware.isoformat().replace("T", separator)) == expected


@given(DATETIMES, st.integers(1, 15))
def test_digits_beyond_the_ninth_are_cut(moment, digits):
    text = f"{moment:%Y-%m-%dT%H:%M:%S}"
    fraction = "123456789987654"[:digits]
    assert parse_rfc3339(f"{text}.{fraction}Z") == parse_rfc3339(text + "Z") + int(fraction[:9].ljust(9, "0"))


@given(MOMENTS)
def test_a_moment_lies_in_its_day(ns):
    start_ns = day_start_ns(day_of(ns))
    assert start_ns <= ns < start_ns + NS_PER_DAY
    assert start_ns % NS_PER_DAY == 0


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("2026-11-22T12:30", "2026-11-22T12:30:00Z"),
        ("2026-11-22T12:30:00", "2026-11-22T12:30:00Z"),
        ("2026-11-22T12:30:00+0100", "2026-11-22T11:30:00Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_short_forms_and_the_leap_second(text, same):
    assert parse_rfc3339(text) == parse_rfc3339(same)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026",
        "2026-13-01",
        "2026-02-30",
        "2026-11-22T24:00",
        "2026-11-22T12:60",
        "2026-11-22T12",
        "٢٠٢٦-11-22",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)
