"""The recorder's only private REST call, GetWebSocketsToken, and the token that all connections share.

Source: https://docs.kraken.com/api/docs/rest-api/get-websockets-token
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable, NamedTuple, Optional

import aiohttp
import msgspec
import structlog

from kraken_l3.capture.private_rest import Answer, PrivateRest, what_failed
from kraken_l3.clock import Clock
from kraken_l3.errors import DiskFull, MalformedMessage, RefusedByKraken
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.refusals import LOCKOUT_S, REFUSED_KEY_S, Action, Refusal, refusal_of, throttled_until_s
from kraken_l3.redaction import SECRETS

__all__ = ["TOKEN_MAX_AGE_NS", "Tokens"]

PATH = "/0/private/GetWebSocketsToken"
#: A token expires after 15 minutes; one older than this is renewed before use.
TOKEN_MAX_AGE_NS = 600 * NS_PER_S
#: After a rate limit, retry after seconds, not tenths of a second.
RATE_LIMIT_MIN_S = 5.0
LARGEST_BACKOFF_S = 60.0
#: When Kraken rejects even new tokens, request them no more often than this.
REFUSED_SPACING_NS = 5 * NS_PER_S

log = structlog.get_logger("kraken_l3.capture.rest")


class _Failure(NamedTuple):
    """No token now: log `what` and `remedy`, retry after `wait_s`."""

    what: str
    remedy: str
    wait_s: float


class _Result(msgspec.Struct):
    token: str = ""


_result = msgspec.json.Decoder(_Result)


class Tokens:
    """The session token, shared by all connections and replaced in time.

    Args:
        client: the key's private calls.
        clock: tells the age of a token.
        sleep: waits the given seconds; tests skip it.
    """

    def __init__(
        self, client: PrivateRest, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._token = ""
        self._born_ns = 0
        self._not_before_ns = 0
        self._failures = 0

    def refuse(self, token: str) -> None:
        """Kraken rejected this token: the next `get` fetches another, unless it has been replaced already."""
        if token == self._token:
            self._token = ""
            self._not_before_ns = self._born_ns + REFUSED_SPACING_NS

    async def get(self, *, newer_than_ns: int = 0) -> str:
        """A token made after the monotonic time `newer_than_ns` and less than 10 minutes old; waits until there is one.

        Raises:
            RefusedByKraken: Kraken will not give one for this key; the text says what to change.
        """
        async with self._lock:
            while not self._is_good(newer_than_ns):
                born_ns = self._clock.mono_ns()
                if born_ns < self._not_before_ns:
                    await self._sleep((self._not_before_ns - born_ns) / NS_PER_S)
                    born_ns = self._clock.mono_ns()
                failure = await self._renew(born_ns)
                if failure is not None:
                    log.warning("no session token", what=failure.what, hint=failure.remedy, retry_s=failure.wait_s)
                    await self._sleep(failure.wait_s)
            return self._token

    def _is_good(self, newer_than_ns: int) -> bool:
        age_ns = self._clock.mono_ns() - self._born_ns
        return bool(self._token) and self._born_ns >= newer_than_ns and age_ns < TOKEN_MAX_AGE_NS

    async def _renew(self, born_ns: int) -> Optional[_Failure]:
        refusal, wait_s = self._client.remembered_refusal()
        if refusal is not None:
            return self._left_alone(refusal, wait_s)
        try:
            answer = await self._client.call(PATH)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return self._unreachable(error)
        except DiskFull as error:  # no nonce without it on disk; there will be room again
            return _Failure(error.what, error.hint, self._backoff_s())
        token = _token_in(answer)
        if token:
            SECRETS.remember(token, "token")
            self._token, self._born_ns, self._failures = token, born_ns, 0
            return None
        return self._refused(refusal_of(answer.error))

    def _left_alone(self, refusal: Refusal, wait_s: float) -> _Failure:
        if refusal.action is Action.LOCKOUT:
            return _Failure(f"Kraken locked the key out: {refusal.error}", refusal.remedy, wait_s)
        raise RefusedByKraken(
            f"Kraken refused this API key less than {REFUSED_KEY_S // 60} minutes ago: {refusal.error}",
            where="api_key",
            hint=f"{refusal.remedy}. Try this key again in {wait_s / 60:.0f} min; another key can be used at once",
        )

    def _unreachable(self, error: Exception) -> _Failure:
        remedy = "Kraken's REST API could not be reached; check rest_url and the network"
        return _Failure(what_failed(error), remedy, self._backoff_s())

    def _refused(self, refusal: Refusal) -> _Failure:
        if refusal.action in (Action.FATAL, Action.NONCE):
            raise RefusedByKraken(f"Kraken refused the API key: {refusal.error}", where="api_key", hint=refusal.remedy)
        if refusal.action is Action.LOCKOUT:
            self._failures += 1
            return _Failure(refusal.error, refusal.remedy, float(LOCKOUT_S))
        folded = refusal.error.lower()
        least_s = RATE_LIMIT_MIN_S if "rate limit" in folded or "too many" in folded else 0.0
        until_s = throttled_until_s(refusal.error) - self._clock.wall_ns() / NS_PER_S
        return _Failure(refusal.error, refusal.remedy, max(self._backoff_s(), least_s, min(until_s, float(LOCKOUT_S))))

    def _backoff_s(self) -> float:
        self._failures += 1
        return min(2.0 ** (min(self._failures, 16) - 1), LARGEST_BACKOFF_S)


def _token_in(answer: Answer) -> str:
    """The token in an answer, "" where it has none."""
    try:
        return decode_json(_result, answer.result).token if answer.has_result else ""
    except MalformedMessage:
        return ""
