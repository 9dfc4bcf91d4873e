"""The clock, as the kernel tells of it."""

import sys

import pytest

from kraken_l3.monitor.clock_sync import STA_NANO, STA_UNSYNC, TIME_ERROR, Timex, clock_status_of, read_clock_status
from kraken_l3.monitor.status import ClockStatus


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
