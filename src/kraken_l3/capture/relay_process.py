"""The relay from the recorder's side: a child process that tells once a second how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from kraken_l3.capture.child import Child
from kraken_l3.capture.web_process import WebLimits, WebProcess
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.relay import RelayProgress, decode_relay

__all__ = ["RelayProcess"]

log = structlog.get_logger("kraken_l3.capture.relay_process")


class RelayProcess(WebProcess):
    """Keeps one relay running. One that tells nothing for a minute is stuck, and is restarted.

    Args:
        command: starts the child, which writes `model.relay` to stdout, and ends when stdin does.
        environment: the child's environment variables.
        limits: see `WebLimits`.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        limits: WebLimits = WebLimits(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(command, environment, name="relay", limits=limits)
        #: What the current child has told last.
        self.progress = RelayProgress()

    async def _read(self, child: Child) -> None:
        loop, silence_s = asyncio.get_running_loop(), self._limits.silence_s

        def replace() -> None:
            log.warning("the relay is stuck and is restarted", seconds=silence_s)
            child.signal_kill()

        timer = loop.call_later(silence_s, replace)
        try:
            async for line in child.lines():
                timer.cancel()
                timer = loop.call_later(silence_s, replace)
                self.progress = decode_relay(line)
                self._serves_at(self.progress.url)
        except (MalformedMessage, ValueError) as error:
            log.warning("unreadable output of the relay", error=str(error))
            child.signal_kill()
        finally:
            timer.cancel()
            self.progress = RelayProgress()
