"""A replay: the exchange's server with a recorded archive as its feed, and how its clock is controlled.

`GET /replay` tells where the recording is; `POST /replay` with a JSON object changes that: `{"speed": 10}` or
`{"speed": "max"}`, `{"paused": true}`, `{"step": 5}` (messages, while paused), `{"seek": "2026-11-22T14:30:00Z"}`.
It is for programs: a request with an `Origin` header comes from a page in a browser, and is refused.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Optional, Union

from aiohttp import web

from kraken_l3.errors import UsageError
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.replay.feed import ArchiveFeed
from kraken_l3.exchange.replay.pace import Pace
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

__all__ = ["NO_LIMITS", "Replay", "speed_of"]

#: None that a client on this machine would meet.
NO_LIMITS = Limits(subscriptions_per_s=10**6, attempts=10**6, rest_counter=1e6, rest_decay_per_s=1e6)

#: Causes of gaps for which a connection ended.
_CONNECTION_LOST = frozenset(
    {"network", "closed", "silence", "protocol", "writer", "disk", "clock", "fault", "crash", "stop"}
)
#: Times at any such speed are numbers that the clock can hold.
_SLOWEST, _FASTEST = 1e-6, 1e9


def speed_of(speed: Union[str, float]) -> float:
    """A speed as people say it: a number above 0, "max", or "step" (0: nothing comes by itself).

    Raises:
        UsageError: it is none of these.
    """
    words = {"max": math.inf, "step": 0.0}
    if isinstance(speed, str) and speed in words:
        return words[speed]
    try:
        value = math.nan if isinstance(speed, bool) else float(speed)
    except (ValueError, TypeError, OverflowError):
        value = math.nan
    if not _SLOWEST <= value <= _FASTEST:
        raise UsageError(
            f"speed must be a number above 0, max or step, got {speed}",
            hint=f"A number is recorded seconds per second, {_SLOWEST:g} to {_FASTEST:g}",
        )
    return value


class Replay(Exchange):
    """An exchange that shows a recording; an async context manager like `Exchange`.

    Args:
        path: an archive directory, or an NDJSON file.
        speed: seconds of the recording in a second, "max" or "step".
        start_ns: receive time at which to begin; None: at the first line.
        end_ns: receive time before which to end.
        loop: begin again at the end.
        retime: move all timestamps, so that the recording begins now.
        faithful_gaps: where the recorder lost a connection, those who read its pairs lose theirs.
        engine_name: which engine rebuilds the books.
        exchange: see `Exchange`.
    """

    def __init__(
        self,
        path: Path,
        *,
        speed: Union[str, float] = 1.0,
        start_ns: Optional[int] = None,
        end_ns: Optional[int] = None,
        loop: bool = False,
        retime: bool = False,
        faithful_gaps: bool = False,
        engine_name: str = "auto",
        **exchange: Any,
    ) -> None:
        pace = Pace(speed_of(speed))
        pace.paused = pace.speed == 0
        self.recording = ArchiveFeed(
            path,
            pace,
            begin_ns=start_ns,
            end_ns=end_ns,
            loop=loop,
            retime=retime,
            on_gap=self._cut if faithful_gaps else None,
            engine_name=engine_name,
        )
        routes = [web.get("/replay", self._tell), web.post("/replay", self._change)]
        super().__init__(self.recording, routes=routes, **exchange)

    def _cut(self, symbol: str, cause: str) -> None:
        if cause in _CONNECTION_LOST:
            for connection in list(self.clients.level3.values()):
                if symbol in connection.session.depths:
                    connection.flush()
                    connection.hang_up()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        self.recording.close()

    # the clock

    def set_speed(self, speed: Union[str, float]) -> None:
        """From now on so fast; "step" pauses.

        Raises:
            UsageError: it is no speed.
        """
        value = speed_of(speed)
        if value == 0:
            self.pause()
            return
        self.recording.pace.set_speed(value, self.clock.mono_ns())

    def pause(self) -> None:
        """The recording stands still; heartbeats go on."""
        self.recording.pace.pause(self.clock.mono_ns())

    def go_on(self) -> None:
        """It runs again, from where it stood."""
        if self.recording.pace.speed == 0:
            self.recording.pace.set_speed(1.0, self.clock.mono_ns())
        self.recording.pace.go_on(self.clock.mono_ns())

    def step(self, messages: int = 1) -> None:
        """While it stands still: show so many more messages.

        Raises:
            UsageError: it is no whole number above 0, or the recording runs.
        """
        _check_step(messages, is_paused=self.recording.pace.paused)
        self.recording.pace.step(messages)

    def seek(self, at_ns: int) -> None:
        """Go on at another moment; whoever is subscribed is sent the book of that moment."""
        self.recording.seek(at_ns, self.clock.wall_ns(), self.clock.mono_ns())
        for connection in self.clients.level3.values():
            for symbol, depth in connection.session.depths.items():
                book = self.recording.snapshot(symbol, depth)
                if book is not None:
                    connection.send("level3", book)
        self._delivery.begin_again()

    def state(self) -> dict[str, object]:
        """Where the recording is, as `GET /replay` tells it."""
        pace, at_ns = self.recording.pace, self.recording.at_ns
        return {
            "at": format_rfc3339(at_ns) if at_ns is not None else None,
            "at_ns": at_ns,
            "speed": "max" if math.isinf(pace.speed) else pace.speed,
            "has_begun": pace.has_begun,
            "paused": pace.paused,
            "is_over": self.recording.is_over,
            "hidden": [str(error) for error in self.recording.hidden],
            "clients": len(self.clients.all()),
        }

    async def _tell(self, _request: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _change(self, request: web.Request) -> web.Response:
        # Browsers send it with every POST of a page, which may be anybody's; there is no page of ours
        if "Origin" in request.headers:
            return web.json_response({"error": "a web page cannot control a replay"}, status=403)
        try:
            self._apply(json.loads(await request.read()))
        except (ValueError, RecursionError) as error:
            return web.json_response({"error": f"not JSON: {error}"}, status=400)
        except UsageError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self.state())

    def _apply(self, wanted: object) -> None:
        """All of it, or nothing where a part is wrong."""
        if not isinstance(wanted, dict):
            raise UsageError("send a JSON object with speed, paused, step or seek")
        unknown = wanted.keys() - {"speed", "paused", "step", "seek"}
        if unknown:
            raise UsageError(f"a replay has no {sorted(unknown)[0]}; it has speed, paused, step and seek")
        speed = speed_of(wanted["speed"]) if "speed" in wanted else None
        seek_ns = _moment_of(wanted["seek"]) if "seek" in wanted else None
        pause = wanted.get("paused", speed == 0 or self.recording.pace.paused)
        if type(pause) is not bool:
            raise UsageError(f"paused must be true or false, got {pause}")
        if "step" in wanted:
            _check_step(wanted["step"], is_paused=pause)
        if "speed" in wanted:
            self.set_speed(wanted["speed"])
        if "paused" in wanted:
            (self.pause if pause else self.go_on)()
        if seek_ns is not None:
            self.seek(seek_ns)
        if "step" in wanted:
            self.step(wanted["step"])


def _check_step(messages: object, *, is_paused: bool) -> None:
    if type(messages) is not int or messages < 1:
        raise UsageError(f"step must be a whole number above 0, got {messages}")
    if not is_paused:
        raise UsageError("step is for a replay that is paused")


def _moment_of(moment: object) -> int:
    try:
        at_ns = parse_rfc3339(moment) if isinstance(moment, str) else moment
    except ValueError as error:
        raise UsageError(str(error), where="seek") from error
    if type(at_ns) is not int or not 0 <= at_ns < 2**63:
        raise UsageError(f"seek must be an RFC 3339 time, or nanoseconds since 1970, got {moment}")
    return at_ns
