"""`/metrics` and `/healthz`: what the recorder says of itself, for Prometheus and for whoever restarts or pages."""

from __future__ import annotations

from typing import Any, Optional

import msgspec
from aiohttp import web

from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.health import health_of
from kraken_l3.monitor.metrics import CONTENT_TYPE, metrics_text
from kraken_l3.monitor.status import RecorderStatus, decode_status
from kraken_l3.monitor.units import size
from kraken_l3.web.status_lines import StatusLines

__all__ = ["Probes"]

#: However many ask, metrics are made twice a second at most: a thousand symbols take some milliseconds.
METRICS_KEPT_NS = NS_PER_S // 2
#: More of them are not read on a page; `/healthz` has all.
SHOWN_PROBLEMS = 5


class Probes:
    """The two answers.

    Args:
        line: what the recorder said last.
        clock: tells how long ago that was.
    """

    def __init__(self, line: StatusLines, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._decoded: tuple[bytes, Optional[RecorderStatus]] = (b"", None)
        self._text = b""
        self._text_at_ns = 0

    async def metrics(self, request: web.Request) -> web.Response:
        """All metrics, in Prometheus' text format."""
        now_ns = self._clock.mono_ns()
        if not self._text or now_ns - self._text_at_ns > METRICS_KEPT_NS:
            self._text, self._text_at_ns = metrics_text(self._status(), age_s=self._age_s()), now_ns
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE})

    async def health(self, request: web.Request) -> web.Response:
        """200 while all is well, else 503; the body says in JSON what is not, and why."""
        health = health_of(self._status(), age_s=self._age_s())
        body = msgspec.json.format(msgspec.json.encode(health), indent=1) + b"\n"
        return web.Response(status=200 if health.healthy else 503, body=body, content_type="application/json")

    def summary(self) -> dict[str, Any]:
        """What the page says of the recorder: `healthy`, `text` (one line), and the first `problems`."""
        status = self._status()
        health = health_of(status, age_s=self._age_s())
        words = [status.headline()] if status is not None else []
        if status is not None and status.disk.free_bytes is not None:
            words.append(f"{size(status.disk.free_bytes)} free")
        problems = [f"{each.symbol}: {each.why}" if each.symbol else each.why for each in health.problems]
        return {"healthy": health.healthy, "text": ", ".join(words), "problems": problems[:SHOWN_PROBLEMS]}

    def _age_s(self) -> float:
        return (self._clock.mono_ns() - self._line.received_ns) / NS_PER_S

    def _status(self) -> Optional[RecorderStatus]:
        line = self._line.line
        if line != self._decoded[0]:
            try:
                self._decoded = line, decode_status(line)
            except MalformedMessage:  # not our recorder, or one of another version
                self._decoded = line, None
        return self._decoded[1]
