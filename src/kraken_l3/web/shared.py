"""Work that many viewers ask for, done once: in threads, bounded, and kept while there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple, Optional

from kraken_l3.errors import LocalFault

__all__ = ["Busy", "Made", "SharedWork", "Stopped"]


class Busy(LocalFault):
    """Too much was asked for at once; a moment later there may be room."""


class Stopped(LocalFault):
    """The server ends, and nobody waits for this work any more."""


class Made(NamedTuple):
    """What came of a piece of work.

    Attributes:
        body: the answer.
        is_final: whether it would come out the same later on.
    """

    body: bytes
    is_final: bool


class SharedWork:
    """Runs work in threads; who asks for the same meanwhile waits for the same.

    Args:
        threads: so much is done at a time.
        most_waiting: so much more may wait.
        kept_bytes: final results are kept, the newest of them, up to this size.
    """

    def __init__(self, *, threads: int = 2, most_waiting: int = 64, kept_bytes: int = 64 * 1024 * 1024) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="page")
        self._most = threads + most_waiting
        self._running: dict[Hashable, asyncio.Future[Made]] = {}
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._most_bytes = kept_bytes

    async def get(self, key: Hashable, work: Callable[[], Made]) -> bytes:
        """The result of a piece of work that `key` tells apart.

        Raises:
            Busy: too much waits already.
            KrakenL3Error: what the work raises.
        """
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= self._most:
                raise Busy("too much is being looked up at once", hint="Try again in a moment")
            running = asyncio.get_running_loop().run_in_executor(self._pool, work)
            self._running[key] = running
            running.add_done_callback(lambda done: self._done(key, done))
        # a viewer that leaves must not take it away from the others
        return (await asyncio.shield(running)).body

    def _done(self, key: Hashable, done: asyncio.Future[Made]) -> None:
        del self._running[key]
        made: Optional[Made] = None if done.cancelled() or done.exception() is not None else done.result()
        if made is None or not made.is_final:
            return
        self._kept[key] = made.body
        self._kept_bytes += len(made.body)
        while self._kept_bytes > self._most_bytes:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
