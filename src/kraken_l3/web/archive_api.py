"""What the page asks for, as JSON: the archive, a day, a moment of it, and the stream of what is recorded now."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import msgspec
from aiohttp import web

from kraken_l3.archive.gaps import last_receive_ns
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.web.days import TILE_NS, Day
from kraken_l3.web.live import Live
from kraken_l3.web.shared import Busy, Made, SharedWork
from kraken_l3.web.viewers import ViewerBounds, Viewers

__all__ = ["ArchiveApi"]

_NS_PER_MS = 1_000_000
#: An archive is being recorded if its newest line is no older than this.
_FRESH_NS = 120 * NS_PER_S
#: Days that are kept open; the newest is opened anew after a while if it has grown, since its journal tells more then.
_DAYS_KEPT = 8
_NEWEST_KEPT_S = 60.0
#: A gap is told of later than it begins: what the page shows of this long before the newest line may still change.
_SETTLED_NS = 3_600 * NS_PER_S
#: Nobody watches for so long: following ends, until somebody does.
_UNWATCHED_S = 60.0
_LATEST_MS = 1 << 43


class _Opened(NamedTuple):
    day: Day
    at_s: float
    last_ns: int


class ArchiveApi:
    """Answers of one archive; made and used in an event loop.

    Args:
        path: an archive directory, or a data file.
        recorder: what the recorder that runs this says of itself (`Probes.summary`); None where none does.
        bounds: of the streams.
        engine_name: see `engine.choose`.
    """

    def __init__(
        self,
        path: Path,
        *,
        recorder: Optional[Callable[[], dict[str, Any]]] = None,
        bounds: Optional[ViewerBounds] = None,
        engine_name: str = "auto",
    ) -> None:
        self._recorder = recorder
        self._archive = open_archive(path)
        self._engine_name = engine_name
        self._days: OrderedDict[str, _Opened] = OrderedDict()
        self._opening = threading.Lock()
        self._stopping = threading.Event()
        self._work = SharedWork()
        self._counting = SharedWork(threads=1, most_waiting=_DAYS_KEPT)
        self._loop = asyncio.get_running_loop()
        self._live: Optional[Live] = None
        self._ending: Optional[asyncio.TimerHandle] = None
        self.viewers = Viewers(bounds)

    def routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """By their paths."""
        return {
            "/api/archive": self._show_archive,
            "/api/day": self._show_day,
            "/api/book": self._show_book,
            "/api/heat": self._show_heat,
            "/api/rates": self._show_rates,
            "/api/verdicts": self._show_verdicts,
            "/api/live": self._stream,
        }

    async def close(self) -> None:
        """End all work and all streams."""
        self._stopping.set()
        self.viewers.close()
        self._work.close()
        self._counting.close()
        if self._ending is not None:
            self._ending.cancel()
        self._end_live()

    # the archive and its days

    async def _show_archive(self, _: web.Request) -> web.Response:
        """Its name, the names of its data files, and whether it is being recorded now."""

        def look() -> Made:
            files = self._archive.files()
            newest_ns = last_receive_ns(self._archive, Stream.LEVEL3)
            is_fresh = self._recorder is not None or time.time_ns() - newest_ns < _FRESH_NS
            is_live = self._archive.is_directory and is_fresh
            told = {"name": self._archive.path.resolve().name, "files": [file.name for file in files], "live": is_live}
            return Made(msgspec.json.encode(told), is_final=False)

        return _json(await self._work.get("archive", look))

    async def _show_day(self, request: web.Request) -> web.Response:
        name = request.query.get("file", "")
        return _json(await self._work.get(("day", name), lambda: _made(self._day(name).facts())))

    async def _show_verdicts(self, request: web.Request) -> web.Response:
        """Begins to count them, where nobody has; the page asks again until they are there."""
        name = request.query.get("file", "")

        def look() -> Made:
            return _made(self._day(name).verdicts())

        def count() -> Made:
            self._day(name).count_verdicts()
            return Made(b"", is_final=False)

        body = await self._work.get(("verdicts", name), look)
        if b'"counting"' in body:
            counting = asyncio.ensure_future(self._counting.get(name, count))
            counting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _json(body)

    def _day(self, name: str) -> Day:
        """A data file by its name, which has to be one of the archive's."""
        files = {file.name: file for file in self._archive.files()}
        if name not in files:
            raise DataMissing("the archive has no such data file", where=name[:100])
        is_first, is_newest = name == next(iter(files)), name == next(reversed(files))
        with self._opening:
            opened = self._days.get(name)
            is_old = opened is not None and is_newest and time.monotonic() - opened.at_s > _NEWEST_KEPT_S
            if opened is None or (is_old and opened.day.last_ns() != opened.last_ns):
                directory = self._archive.directory if self._archive.is_directory and not is_first else None
                day = Day(files[name], directory, stopping=self._stopping, engine_name=self._engine_name)
                opened = _Opened(day, time.monotonic(), day.last_ns())
                self._days[name] = opened
                while len(self._days) > _DAYS_KEPT:
                    self._days.popitem(last=False)
            return opened.day

    # a moment

    async def _show_book(self, request: web.Request) -> web.Response:
        name, symbol, at_ns = request.query.get("file", ""), _symbol(request), _moment_ns(request)

        def look() -> Made:
            day = self._day(name)
            return _made(day.book(symbol, at_ns), is_final=at_ns + _SETTLED_NS < day.last_ns())

        return _json(await self._work.get(("book", name, symbol, at_ns), look))

    async def _show_heat(self, request: web.Request) -> web.Response:
        name, symbol = request.query.get("file", ""), _symbol(request)
        start_ns = _moment_ns(request) // TILE_NS * TILE_NS

        def look() -> Made:
            day = self._day(name)
            return _made(day.heat(symbol, start_ns), is_final=start_ns + TILE_NS + _SETTLED_NS <= day.last_ns())

        return _json(await self._work.get(("heat", name, symbol, start_ns), look))

    async def _show_rates(self, request: web.Request) -> web.Response:
        name, at_ns = request.query.get("file", ""), _moment_ns(request)

        def look() -> Made:
            day = self._day(name)
            return _made(day.rates(at_ns), is_final=at_ns < day.last_ns())

        return _json(await self._work.get(("rates", name, at_ns), look))

    # what is recorded now

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET" or not self._archive.is_directory:
            raise UsageError("only a directory can be followed, by GET")
        symbol = request.query.get("symbol", "")
        live = self._begin_live()
        if symbol and not live.watch(symbol):
            raise Busy("too many different symbols are watched", hint="Choose one that somebody else looks at")
        try:
            first = self.viewers.frame("table", live.table)
            return await self.viewers.serve(request, {"table", f"book {symbol}"}, [first])
        finally:
            if symbol:
                live.unwatch(symbol)
            if not len(self.viewers) and self._ending is None:
                self._ending = self._loop.call_later(_UNWATCHED_S, self._end_live)

    def _begin_live(self) -> Live:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._live is None or self._live.has_ended:
            self._live = Live(self._archive.directory, self._publish, engine_name=self._engine_name)
            self._live.start()
        return self._live

    def _end_live(self) -> None:
        self._ending = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _publish(self, topic: str, event: str, data: bytes) -> None:
        """Called from the thread that follows."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already: nobody is left to be told
            self._loop.call_soon_threadsafe(self._hand, topic, event, data)

    def _hand(self, topic: str, event: str, data: bytes) -> None:
        self.viewers.publish(topic, self.viewers.frame(event, data))
        if event == "table" and self._recorder is not None:  # once a second too
            self.viewers.publish(topic, self.viewers.frame("recorder", msgspec.json.encode(self._recorder())))


def _made(told: dict[str, Any], *, is_final: bool = False) -> Made:
    return Made(msgspec.json.encode(told), is_final)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _symbol(request: web.Request) -> str:
    symbol = request.query.get("symbol", "")
    if not 0 < len(symbol) <= 255:
        raise UsageError("a symbol is needed: symbol=BTC/USD")
    return symbol


def _moment_ns(request: web.Request) -> int:
    text = request.query.get("at", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 13 and int(text) < _LATEST_MS):
        raise UsageError("a moment is needed: at=MILLISECONDS since 1970")
    return int(text) * _NS_PER_MS
