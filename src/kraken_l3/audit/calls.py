"""The calls of an audit: paced for all pairs together, tried a few times, each with the moments around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable, NamedTuple, Optional, Union

import aiohttp

from kraken_l3.audit.rest_book import LEVEL3_PATH, RestBook, read_rest_book
from kraken_l3.capture.private_rest import Answer, PrivateRest, what_failed
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage, RefusedByKraken
from kraken_l3.protocol.refusals import Action, Refusal, refusal_of

__all__ = ["SPACING_S", "Asked", "Failed", "Level3Calls", "Pace", "answered"]

#: Kraken's smallest REST counter sinks by 0.33 a second (https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits).
SPACING_S = 3.0
ATTEMPTS = 3
_PERMISSION = (
    "Give the audit's key the permission 'Query open orders & trades' (kraken.com, Settings, API); it needs no other"
)
_PERMISSION_ERRORS = ("EGeneral:Permission", "EAccount:Invalid permissions")


class Failed(NamedTuple):
    """There was no answer to use: why, in words."""

    reason: str


class Asked(NamedTuple):
    """A book, and the moments on the wall clock between which Kraken read it."""

    book: RestBook
    asked_ns: int
    answered_ns: int


class Pace:
    """Lets one call begin at a time, and none sooner than `spacing_s` after the one before."""

    def __init__(self, spacing_s: float = SPACING_S) -> None:
        self.spacing_s = spacing_s
        self._lock = asyncio.Lock()
        self._not_before = 0.0

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        except asyncio.CancelledError:
            self._lock.release()
            raise
        self._not_before = loop.time() + self.spacing_s

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def answered(call: Callable[[], Awaitable[Answer]], pace: Pace) -> tuple[Optional[Answer], str]:
    """The answer to a call, or why there was none after `ATTEMPTS` of them.

    Raises:
        RefusedByKraken: Kraken refuses the key.
    """
    failure = ""
    for _ in range(ATTEMPTS):
        async with pace:
            try:
                answer = await call()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                failure = what_failed(error)
                continue
        if answer.has_result:
            return answer, ""
        refusal = refusal_of(answer.error)
        if refusal.action in (Action.FATAL, Action.NONCE):
            raise _refused(refusal)
        failure = refusal.error
        if refusal.action is Action.LOCKOUT or failure.startswith("EQuery"):
            break  # another attempt makes the one worse and the other no better
    return None, failure


class Level3Calls:
    """Asks for books.

    Args:
        client: the private calls of the audit's key.
        clock: the recorder's machine's.
        pace: of the calls.
    """

    def __init__(self, client: PrivateRest, clock: Clock, pace: Pace) -> None:
        self._client = client
        self._clock = clock
        self._pace = pace

    async def ask(self, symbol: str, depth: int) -> Union[Asked, Failed]:
        """The book of a pair, so many price levels a side.

        Raises:
            RefusedByKraken: Kraken refuses the key, or did so less than 15 minutes ago.
        """
        asked_ns = 0

        async def call() -> Answer:
            nonlocal asked_ns
            refusal, wait_s = self._client.remembered_refusal()
            if refusal is not None:
                raise _refused(refusal, wait_s)
            asked_ns = self._clock.wall_ns()
            return await self._client.call(LEVEL3_PATH, pair=symbol, depth=depth)

        answer, failure = await answered(call, self._pace)
        if answer is None:
            return Failed(failure)
        try:
            return Asked(read_rest_book(answer.result), asked_ns, self._clock.wall_ns())
        except MalformedMessage as error:
            return Failed(str(error))


def _refused(refusal: Refusal, wait_s: float = 0.0) -> RefusedByKraken:
    remedy = _PERMISSION if refusal.error.startswith(_PERMISSION_ERRORS) else refusal.remedy
    if wait_s:
        remedy += f". Try this key again in {wait_s / 60:.0f} min; another key can be used at once"
    return RefusedByKraken(
        f"Kraken refused the audit's key: {refusal.error}", where="KRAKEN_AUDIT_API_KEY", hint=remedy
    )
