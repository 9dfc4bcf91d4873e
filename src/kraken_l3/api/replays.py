"""A replay for programs and tests that are not asynchronous themselves: the server runs in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, Union

from kraken_l3.api.arguments import Moment, moment_ns
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.replay.server import NO_LIMITS, Replay
from kraken_l3.exchange.sent_log import SentLog

__all__ = ["RunningReplay", "replay"]

_T = TypeVar("_T")


def replay(
    path: Union[str, os.PathLike[str]],
    *,
    speed: Union[str, float] = 1.0,
    start: Optional[Moment] = None,
    end: Optional[Moment] = None,
    loop: bool = False,
    retime: bool = False,
    faithful_gaps: bool = False,
    port: int = 0,
) -> RunningReplay:
    """Serve a recorded archive as if Kraken were live; a context manager (docs/replay.md).

    Args:
        path: an archive directory, or an NDJSON file of level3 messages.
        speed: recorded seconds per second, "max" or "step".
        start: receive time at which to begin.
        end: receive time before which to end.
        loop: begin again at the end.
        retime: move all timestamps so that the recording begins now.
        faithful_gaps: where the recorder lost its connection, clients lose theirs.
        port: to listen on; 0 takes a free one.

    Raises:
        UsageError: there is no such file, or an argument is out of its range.
        DataMissing: there is no level3 data, or none between `start` and `end`.
        LocalFault: at the beginning of the block: it cannot listen on `port`.
    """
    if not 0 <= port < 1 << 16:
        raise UsageError(f"port must be 0 to 65535, got {port}")
    start_ns = None if start is None else moment_ns(start, "start")
    end_ns = None if end is None else moment_ns(end, "end")
    served = Replay(
        Path(path),
        speed=speed,
        start_ns=start_ns,
        end_ns=end_ns,
        loop=loop,
        retime=retime,
        faithful_gaps=faithful_gaps,
        port=port,
        limits=NO_LIMITS,
        sent=SentLog(keep=False),
    )
    return RunningReplay(served)


class RunningReplay:
    """A replay that is served while its `with` block lasts.

    Attributes:
        rest_url, ws_url, public_ws_url: its endpoints, once it runs.
        environment: variables with its endpoints and its key, for `kraken-l3 record`.
    """

    def __init__(self, served: Replay) -> None:
        self._served = served
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="replay", daemon=True)

    def __enter__(self) -> RunningReplay:
        self._thread.start()
        try:
            self._run(self._served.__aenter__())
        except OSError as error:
            self._end()
            raise LocalFault(
                f"cannot listen: {error.strerror}", hint="Choose another port; 0 takes a free one"
            ) from error
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._served.__aexit__(None, None, None))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if not self._thread.is_alive():
            work.close()
            raise UsageError(
                "the replay does not run", hint="It does inside its block: with kraken_l3.replay(...) as exchange"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def rest_url(self) -> str:
        """Base URL of REST."""
        return self._served.rest_url

    @property
    def ws_url(self) -> str:
        """The level3 endpoint."""
        return self._served.ws_url

    @property
    def public_ws_url(self) -> str:
        """The public endpoint."""
        return self._served.public_ws_url

    @property
    def api_key(self) -> str:
        """An API key that it accepts."""
        return self._served.api_key

    @property
    def api_secret(self) -> str:
        """The secret of that key."""
        return self._served.api_secret

    @property
    def environment(self) -> dict[str, str]:
        """See the class."""
        return self._served.environment

    def state(self) -> dict[str, object]:
        """Where the recording is: `at`, `at_ns`, `speed`, `has_begun`, `paused`, `is_over`, `hidden`, `clients`."""
        return self._call(self._served.state)

    def set_speed(self, speed: Union[str, float]) -> None:
        """Change the speed: recorded seconds per second, "max" or "step".

        Raises:
            UsageError: it is no speed.
        """
        self._call(lambda: self._served.set_speed(speed))

    def pause(self) -> None:
        """The recording stands still; heartbeats go on."""
        self._call(self._served.pause)

    def go_on(self) -> None:
        """It runs again, from where it stood."""
        self._call(self._served.go_on)

    def step(self, messages: int = 1) -> None:
        """While it stands still: show so many more messages."""
        self._call(lambda: self._served.step(messages))

    def seek(self, at: Moment) -> None:
        """Go on at another moment; whoever is subscribed is sent the book of that moment.

        Raises:
            UsageError: `at` is no moment.
        """
        at_ns = moment_ns(at)
        self._call(lambda: self._served.seek(at_ns))

    def _require_running(self) -> None:
        if not self._thread.is_alive():
            raise UsageError(
                "the replay does not run", hint="Use it in a block: with kraken_l3.replay(...) as exchange"
            )

    def _call(self, work: Callable[[], _T]) -> _T:
        self._require_running()

        async def call() -> _T:
            return work()

        return self._run(call())

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Wait until everything was shown; whether it was in time."""

        async def until_over() -> None:
            while not self._served.recording.is_over:
                self._served.changed.clear()
                await self._served.changed.wait()

        self._require_running()
        try:
            self._run(asyncio.wait_for(until_over(), timeout_s))
        except asyncio.TimeoutError:
            return False
        return True
