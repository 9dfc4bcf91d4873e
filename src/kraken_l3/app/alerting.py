"""Alerts of a running recorder: from its journal and status, by the rules, to where the user wants them."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections import deque
from typing import Optional

from kraken_l3.archive.journal import Record
from kraken_l3.clock import Clock
from kraken_l3.config.settings import Settings, environment_without_secrets
from kraken_l3.errors import RefusedByKraken
from kraken_l3.model.alerts import Alert
from kraken_l3.monitor.alert_delivery import AlertDelivery, DeliveryTimes
from kraken_l3.monitor.alerts import AlertRules
from kraken_l3.monitor.status import RecorderStatus
from kraken_l3.telemetry import get_logger

__all__ = ["Alerting"]

LOOK_S = 0.25
#: So long the recorder waits at its end until the last alerts are delivered.
FINISH_S = 5.0

log = get_logger("kraken_l3.alerts")


class Alerting:
    """Told what happens; a task of its own sends.

    Args:
        settings: which alerts, and where to.
        clock: dates them.
        times: see `DeliveryTimes`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        times: DeliveryTimes = DeliveryTimes(),  # noqa: B008 - immutable
    ) -> None:
        self._clock = clock
        self._rules = AlertRules(settings.alerts, socket.gethostname(), str(settings.output_dir))
        self._delivery = AlertDelivery(
            shlex.split(settings.alert_hook),
            settings.alert_webhook.get_secret_value(),
            environment_without_secrets(settings),
            times=times,
        )
        #: The first of them is being delivered now; if the end interrupts that, it is delivered again.
        self._undelivered: deque[Alert] = deque()

    def record(self, record: Record) -> None:
        """See `capture.sink.RecordObserver`."""
        self._rules.record(record, self._clock.mono_ns())

    def status(self, status: RecorderStatus) -> None:
        """The recorder's status, about once a second."""
        self._rules.status(status, self._clock.mono_ns())

    async def run(self) -> None:
        """Send what is due, one after the other, until cancelled."""
        self._rules.add("start", "", "recording starts", self._clock.wall_ns(), self._clock.mono_ns())
        while True:
            self._undelivered += self._rules.due(self._clock.mono_ns())
            while self._undelivered:
                await self._delivery.deliver(self._undelivered[0])
                self._undelivered.popleft()
            await asyncio.sleep(LOOK_S)

    async def finish(self, error: Optional[BaseException]) -> None:
        """Say that the recording has ended, and why; and what could not be said before. Takes FINISH_S at most.

        Args:
            error: what ended it; None: it was told to stop.
        """
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        if isinstance(error, RefusedByKraken):
            self._rules.add("refusal", "key", f"recording ends: {error}", wall_ns, mono_ns)
        reason = "it was told to stop" if error is None else str(error) or type(error).__name__
        self._rules.add("stop", "", f"recording has ended: {reason}", wall_ns, mono_ns)
        last = [*self._undelivered, *self._rules.due(mono_ns, everything=True)]
        sending = [asyncio.ensure_future(self._delivery.deliver(alert, retry=False)) for alert in last]
        if not sending:
            return
        _, late = await asyncio.wait(sending, timeout=FINISH_S)
        if late:
            log.warning("alerts were not delivered before the end", count=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
