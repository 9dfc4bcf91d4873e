"""Disk and clock: forecasts, and what the kernel says."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.monitor.clock_sync import STA_NANO, STA_UNSYNC, TIME_ERROR, Timex, clock_status_of, read_clock_status
from kraken_l3.monitor.disk import DiskForecast
from kraken_l3.monitor.status import ClockStatus

S = 10**9


def test_the_recorders_own_rate_fills_the_disk():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 - n * 1000, n * 1000) for n in range(100)]
    assert told[0] is None
    assert told[2] is None  # too early
    assert told[99] == pytest.approx((10**9 - 99_000) / 100)


def test_another_program_that_fills_the_disk_shows():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 - n * 10**6, n * 1000) for n in range(100)]
    assert told[99] == pytest.approx((10**9 - 99 * 10**6) / 10**5)


def test_a_sealer_that_frees_space_hides_nothing():
    forecast = DiskForecast()
    told = [forecast.seconds_to_full(n * 10 * S, 10**9 + n * 10**6, n * 1000) for n in range(100)]
    assert told[99] == pytest.approx((10**9 + 99 * 10**6) / 100)


def test_what_is_an_hour_old_is_forgotten():
    forecast = DiskForecast()
    for n in range(360):
        forecast.seconds_to_full(n * 10 * S, 10**9, n * 10**6)
    for n in range(360, 800):
        told = forecast.seconds_to_full(n * 10 * S, 10**9, 359 * 10**6)
    assert told is None  # nothing has grown for an hour
    assert len(forecast._seen) <= 361


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1))
def test_a_forecast_is_a_length_of_time_or_nothing(steps):
    forecast, at_ns, written = DiskForecast(), 0, 0
    for passed, free, more in steps:
        at_ns, written = at_ns + passed, written + more
        told = forecast.seconds_to_full(at_ns, free, written)
        assert told is None or told >= 0


def timex(**values):
    found = Timex()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_a_clock_that_is_kept_right():
    assert clock_status_of(0, timex(offset=-1500, maxerror=2500)) == ClockStatus(
        synchronised=True, offset_s=pytest.approx(-0.0015), error_s=pytest.approx(0.0025)
    )
    nanoseconds = clock_status_of(0, timex(offset=1500, maxerror=2500, status=STA_NANO))
    assert nanoseconds.offset_s == pytest.approx(1.5e-6)


@pytest.mark.parametrize(("state", "status"), [(TIME_ERROR, 0), (0, STA_UNSYNC), (TIME_ERROR, STA_UNSYNC | STA_NANO)])
def test_a_clock_that_nobody_keeps_right_has_no_offset(state, status):
    answer = clock_status_of(state, timex(offset=123, maxerror=16_000_000, status=status))
    assert answer == ClockStatus(synchronised=False)


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex(2) is Linux's")
def test_the_kernel_answers():
    status = read_clock_status()
    assert status.synchronised in (True, False, None)
    assert (status.offset_s is not None) == bool(status.synchronised)
