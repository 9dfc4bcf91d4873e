"""What the recorder says of itself: one JSON object a line, about once a second, on the standard input of the page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import Callable

from kraken_l3.clock import Clock

__all__ = ["LINE_LIMIT_BYTES", "StatusLines"]

#: A longer line is none of the recorder's: 10,000 symbols take half of it.
LINE_LIMIT_BYTES = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


class StatusLines:
    """The newest line, and when it came.

    Attributes:
        line: the JSON object as it was sent, without its newline; b"" before the first.
        received_ns: when it came, on the monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.line = b""
        self.received_ns = 0

    def listen(self, fd: int, ended: Callable[[], None]) -> None:
        """Read lines in a thread of their own, and call `ended` in the event loop when there are no more.

        A daemon thread, since nothing ends a read of a pipe that stays open; and it reads the file descriptor itself,
        since Python cannot end while such a thread holds the lock of `sys.stdin`.
        """
        loop = asyncio.get_running_loop()

        def read() -> None:
            rest = b""
            while len(rest) <= LINE_LIMIT_BYTES and (part := os.read(fd, _READ_BYTES)):
                *lines, rest = (rest + part).split(b"\n")
                if lines:
                    self.line, self.received_ns = lines[-1], self._clock.mono_ns()
            with contextlib.suppress(RuntimeError):  # the loop has ended first
                loop.call_soon_threadsafe(ended)

        threading.Thread(target=read, name="recorder-status", daemon=True).start()
