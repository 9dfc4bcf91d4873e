"""Streams to browsers (server-sent events): what is published once goes to all who watch its topic, as the same bytes.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from itertools import count
from typing import NamedTuple, Optional

from aiohttp import web

from kraken_l3.web.shared import Busy

__all__ = ["ViewerBounds", "Viewers"]


class ViewerBounds(NamedTuple):
    """What viewers can make this process hold.

    Attributes:
        viewers: streams at a time.
        waiting_bytes: what a viewer may leave unread here; beyond that it is dropped. Its browser comes back by itself,
            and begins anew.
        stalled_s: so long may its connection take in nothing.
        quiet_s: after so long without news a comment is sent, which finds connections that are dead.
    """

    viewers: int = 256
    waiting_bytes: int = 1024 * 1024
    stalled_s: float = 20.0
    quiet_s: float = 15.0


class _Viewer:
    def __init__(self, topics: frozenset[Hashable], transport: asyncio.Transport, most_bytes: int) -> None:
        self.topics = topics
        self.transport = transport
        self._most_bytes = most_bytes
        self.waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.news = asyncio.Event()

    def hand(self, frame: bytes) -> None:
        """One more frame; one that leaves too much unread is dropped, with what it has not read."""
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._most_bytes:
            self.waiting.clear()
            self.transport.abort()  # ends the wait for it too
            return
        self.waiting.append(frame)
        self.news.set()

    def take(self) -> bytes:
        frames = b"".join(self.waiting)
        self.waiting.clear()
        self._waiting_bytes = 0
        self.news.clear()
        return frames


class Viewers:
    """All streams of one server. Everything here runs in its event loop.

    Args:
        bounds: see there.
    """

    def __init__(self, bounds: Optional[ViewerBounds] = None) -> None:
        self._bounds = bounds or ViewerBounds()
        self._viewers: set[_Viewer] = set()
        self._ids = count(1)

    def __len__(self) -> int:
        return len(self._viewers)

    def frame(self, event: str, data: bytes) -> bytes:
        """One event as it goes over the wire; `data` is JSON without line breaks. Ids rise in the order of making."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (next(self._ids), event.encode(), data)

    def publish(self, topic: Hashable, frame: bytes) -> None:
        """Hand a frame to all who watch a topic."""
        for viewer in self._viewers:
            if topic in viewer.topics:
                viewer.hand(frame)

    def close(self) -> None:
        """End all streams."""
        for viewer in self._viewers:
            viewer.transport.abort()

    async def serve(
        self, request: web.Request, topics: Iterable[Hashable], first: Iterable[bytes]
    ) -> web.StreamResponse:
        """Stream to one viewer until it leaves, or does not read what it is sent.

        Args:
            request: of the browser.
            topics: what it watches.
            first: frames that it begins with.

        Raises:
            Busy: there are too many viewers.
        """
        if len(self._viewers) >= self._bounds.viewers:
            raise Busy("too many viewers", hint="Close other tabs, or try again in a moment")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        transport = request.transport
        if transport is None:  # it has left
            return response
        viewer = _Viewer(frozenset(topics), transport, self._bounds.waiting_bytes)
        for frame in first:
            viewer.hand(frame)
        self._viewers.add(viewer)  # before anything is awaited: no frame is missed
        try:
            await response.prepare(request)
            while not transport.is_closing():
                await self._next(viewer, response)
        except (ConnectionError, asyncio.TimeoutError):
            pass
        finally:
            self._viewers.discard(viewer)
        transport.abort()  # what it did not read is thrown away, not waited for
        return response

    async def _next(self, viewer: _Viewer, response: web.StreamResponse) -> None:
        try:
            await asyncio.wait_for(viewer.news.wait(), self._bounds.quiet_s)
        except asyncio.TimeoutError:
            viewer.waiting.append(b":\n\n")
        await asyncio.wait_for(response.write(viewer.take()), self._bounds.stalled_s)
