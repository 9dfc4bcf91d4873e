"""Where alerts go: a command of the user's, and a webhook. Each has ten seconds, and neither can hold up the recorder.

The command gets the alert as JSON on its standard input and its sentence as its last argument; its environment has none
of our secrets. The webhook gets the JSON by POST, with the sentence as `text` (Slack, Mattermost) and `content`
(Discord). Redirects are not followed: the address may be a secret, and is for the configured host alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional
from urllib.parse import urlsplit

import msgspec

from kraken_l3.redaction import SECRETS
from kraken_l3.telemetry import get_logger

if TYPE_CHECKING:
    from kraken_l3.model.alerts import Alert

__all__ = ["AlertDelivery", "DeliveryTimes"]

log = get_logger("kraken_l3.alerts")


class DeliveryTimes(msgspec.Struct, frozen=True):
    """How long a delivery may take, in seconds.

    Attributes:
        limit_s: for a command, or for a webhook to answer.
        retries_s: waits before further attempts at the webhook: the network that an alert is about may be its own.
    """

    limit_s: float = 10.0
    retries_s: Sequence[float] = (5.0, 30.0, 120.0)


class AlertDelivery:
    """Delivers alerts, one at a time.

    Args:
        command: the words of the command (None: there is none).
        webhook: URL ("": there is none).
        environment: the command's environment variables.
        times: see `DeliveryTimes`.
    """

    def __init__(
        self,
        command: Sequence[str],
        webhook: str,
        environment: Mapping[str, str],
        *,
        times: DeliveryTimes = DeliveryTimes(),  # noqa: B008 - immutable
    ) -> None:
        SECRETS.remember(webhook, "webhook")
        self._command = command
        self._webhook = webhook
        self._environment = environment
        self._times = times

    async def deliver(self, alert: Alert, *, retry: bool = True) -> None:
        """Run the command and ask the webhook; failures are logged, and raise nothing.

        Args:
            alert: what to say.
            retry: ask a webhook that fails again.
        """
        body = SECRETS.redact(msgspec.json.encode(alert).decode())
        work = []
        if self._command:
            work.append(self._run(body, SECRETS.redact(alert.text)))
        if self._webhook:
            work.append(self._post_patiently(body, self._times.retries_s if retry else ()))
        await asyncio.gather(*work)

    async def _run(self, body: str, text: str) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                text,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=dict(self._environment),
                start_new_session=True,  # so that what it has started can be killed with it
            )
        except (OSError, ValueError) as error:
            log.warning("cannot run the alert command", command=self._command[0], error=str(error))
            return
        try:
            await asyncio.wait_for(process.communicate(body.encode()), self._times.limit_s)
            if process.returncode:
                log.warning("the alert command failed", command=self._command[0], exit_code=process.returncode)
        except asyncio.TimeoutError:
            log.warning("the alert command hangs and is killed", command=self._command[0], seconds=self._times.limit_s)
        finally:
            await _kill(process)

    async def _post_patiently(self, body: str, retries_s: Sequence[float]) -> None:
        for wait_s in (*retries_s, None):
            failure = await self._post(body)
            if failure is None:
                return
            if wait_s is None:
                log.warning("an alert was not delivered to the webhook", why=failure)
                return
            await asyncio.sleep(wait_s)

    async def _post(self, body: str) -> Optional[str]:
        """Ask once; None if all went well, else why not, without the address."""
        import aiohttp  # most recorders send no alerts

        sentence = msgspec.json.decode(body)["text"]
        data = msgspec.json.encode({**msgspec.json.decode(body), "content": sentence})
        host = urlsplit(self._webhook).hostname
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._times.limit_s)) as session:
                headers = {"Content-Type": "application/json"}
                async with session.post(self._webhook, data=data, headers=headers, allow_redirects=False) as answer:
                    if answer.status < 300:
                        return None
                    target = urlsplit(answer.headers.get("Location", "")).hostname
                    led = f", a redirect to {target or 'another path'}, which is not followed" if target else ""
                    return f"{host} answers with {answer.status}{led}"
        except asyncio.TimeoutError:
            return f"{host} does not answer within {self._times.limit_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{host}: {type(error).__name__}"


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End it, with what it has started; nothing if it has ended alone."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
