"""Whether the machine's clock is kept right, as its kernel knows it: no network is asked.

Linux answers by adjtimex(2), which NTP daemons keep informed: chrony, systemd-timesyncd, ntpd. Elsewhere nobody tells,
and what is not known is None.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, ClassVar

from kraken_l3.monitor.status import ClockStatus

__all__ = ["Timex", "clock_status_of", "read_clock_status"]

#: <sys/timex.h>
STA_UNSYNC = 0x0040
STA_NANO = 0x2000
TIME_ERROR = 5


class Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>; only what is read is named as there."""

    _fields_: ClassVar[list[Any]] = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),  # more than any architecture has behind it
    ]


def read_clock_status() -> ClockStatus:
    """What the kernel says now; everything None where it says nothing."""
    if sys.platform != "linux":
        return ClockStatus()
    timex = Timex()  # modes 0: nothing is set
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # a libc without it
        return ClockStatus()
    return ClockStatus() if state < 0 else clock_status_of(state, timex)


def clock_status_of(state: int, timex: Timex) -> ClockStatus:
    """The answer of adjtimex(2) as values. Of a clock that nobody keeps right, offset and error say nothing."""
    if state == TIME_ERROR or timex.status & STA_UNSYNC:
        return ClockStatus(synchronised=False)
    unit_s = 1e-9 if timex.status & STA_NANO else 1e-6
    return ClockStatus(synchronised=True, offset_s=timex.offset * unit_s, error_s=timex.maxerror * 1e-6)
