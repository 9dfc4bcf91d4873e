"""SIGINT and SIGTERM for commands that serve until they are told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys

__all__ = ["stop_on_signal"]


def stop_on_signal() -> asyncio.Event:
    """An event of the running loop that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    return stop
