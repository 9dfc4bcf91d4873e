"""How fast a recording is shown: one clock for all clients, mapped from receive times to now."""

from __future__ import annotations

import math
from typing import Optional

__all__ = ["Pace"]


class Pace:
    """The recording's clock.

    Args:
        speed: seconds of the recording in a second; `inf` shows all as fast as it is read.

    Attributes:
        paused: whether the clock stands still; messages then come by `step` alone.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.paused = False
        self._speed = speed
        self._steps = 0
        #: A receive time, and the monotonic time at which it is shown; None: the clock has not begun.
        self._anchor: Optional[tuple[int, int]] = None

    @property
    def speed(self) -> float:
        """See the argument."""
        return self._speed

    @property
    def has_begun(self) -> bool:
        """Whether the clock runs, or has run."""
        return self._anchor is not None

    def begin(self, recv_ns: int, mono_ns: int) -> None:
        """The moment `recv_ns` of the recording is now."""
        self._anchor = recv_ns, mono_ns

    def set_speed(self, speed: float, mono_ns: int) -> None:
        """From now on so fast."""
        shown_ns = self.shown_ns(mono_ns)
        self._speed = speed
        if shown_ns is not None:
            self.begin(shown_ns, mono_ns)

    def pause(self, mono_ns: int) -> None:
        """The clock stands still."""
        shown_ns = self.shown_ns(mono_ns)
        self.paused = True
        if shown_ns is not None:
            self.begin(shown_ns, mono_ns)

    def go_on(self, mono_ns: int) -> None:
        """The clock runs again, from where it stood or has been stepped to."""
        self.paused, self._steps = False, 0
        if self._anchor is not None:
            self.begin(self._anchor[0], mono_ns)

    def step(self, messages: int) -> None:
        """While it stands still: so many more messages are due."""
        self._steps += messages

    def shown_ns(self, mono_ns: int) -> Optional[int]:
        """The receive time up to which everything is due; None where the clock has not begun or knows no limit."""
        if self._anchor is None or (math.isinf(self._speed) and not self.paused):
            return None
        recv_ns, began_ns = self._anchor
        return recv_ns if self.paused else recv_ns + int((mono_ns - began_ns) * self._speed)

    def due(self, times: list[int], first: int, most: int, mono_ns: int) -> int:
        """How many lines are due.

        Args:
            times: receive times of lines, never falling.
            first: index of the next line.
            most: so many at most.
            mono_ns: now.
        """
        end = min(len(times), first + most)
        if not self.has_begun:
            return 0
        if self.paused:
            count = min(self._steps, end - first)
            self._steps -= count
            if count:
                self._anchor = times[first + count - 1], mono_ns
            return count
        shown_ns = self.shown_ns(mono_ns)
        if shown_ns is None:
            return end - first
        at = first
        while at < end and times[at] <= shown_ns:
            at += 1
        return at - first

    def mono_of(self, recv_ns: int) -> Optional[int]:
        """When a line is due: 0 at once, None not by itself."""
        if self._anchor is None or self.paused:
            return 0 if self.paused and self._steps else None
        if math.isinf(self._speed):
            return 0
        began_recv_ns, began_ns = self._anchor
        return began_ns + int((recv_ns - began_recv_ns) / self._speed)
