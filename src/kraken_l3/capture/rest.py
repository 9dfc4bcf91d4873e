"""The recorder's only REST call, GetWebSocketsToken, and the token that all connections share.

Source: https://docs.kraken.com/api/docs/rest-api/get-websockets-token
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import urlencode

import aiohttp
import msgspec
import structlog

from kraken_l3._version import __version__
from kraken_l3.capture.credentials import KeyMemory
from kraken_l3.clock import Clock
from kraken_l3.errors import DiskFull, MalformedMessage, RefusedByKraken
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.refusals import LOCKOUT_S, REFUSED_KEY_S, Action, Refusal, refusal_of, throttled_until_s
from kraken_l3.protocol.signature import decode_secret, sign
from kraken_l3.redaction import SECRETS

__all__ = ["TOKEN_MAX_AGE_NS", "TokenClient", "Tokens"]

PATH = "/0/private/GetWebSocketsToken"
TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 1024 * 1024
#: A token expires after 15 minutes; one older than this is renewed before use.
TOKEN_MAX_AGE_NS = 600 * NS_PER_S
#: After a rate limit, retry after seconds, not tenths of a second.
RATE_LIMIT_MIN_S = 5.0
LARGEST_BACKOFF_S = 60.0
#: When Kraken rejects even new tokens, request them no more often than this.
REFUSED_SPACING_NS = 5 * NS_PER_S

log = structlog.get_logger("kraken_l3.capture.rest")


class _Answer(msgspec.Struct):
    error: list[str] = []
    result: Optional[dict[str, Any]] = None


_answer = msgspec.json.Decoder(_Answer)


class _Failure(NamedTuple):
    """No token now: log `what` and `remedy`, retry after `wait_s`."""

    what: str
    remedy: str
    wait_s: float


class TokenClient:
    """Requests session tokens from Kraken.

    Args:
        rest_url: "https://api.kraken.com".
        api_key: the public half of the key.
        api_secret: the private half, base64.
        memory: the key's nonce and refusals.
        clock: nonces are taken from the wall clock.
    """

    def __init__(self, rest_url: str, api_key: str, api_secret: str, memory: KeyMemory, clock: Clock) -> None:
        self._url = rest_url.rstrip("/") + PATH
        self._api_key = api_key
        self._secret = decode_secret(api_secret)
        SECRETS.remember(api_key, "api key")
        SECRETS.remember(api_secret, "api secret")
        self._memory = memory
        self._clock = clock

    async def ask(self) -> _Answer:
        """One signed call.

        Raises:
            aiohttp.ClientError, asyncio.TimeoutError: there was no response.
        """
        async with self._memory.held():
            answer = await self._post(await self._nonce())
            refusal = refusal_of(answer.error)
            if answer.result is None and refusal.action is Action.NONCE:
                answer = await self._post(await self._nonce())
                refusal = refusal_of(answer.error)
            if answer.result is None and refusal.action is not Action.BACK_OFF:
                await asyncio.to_thread(self._memory.remember_refusal, refusal.error, self._clock.wall_ns())
            return answer

    async def _nonce(self) -> int:
        """A new nonce, saved in a thread: fsync can be slow, and must not delay the frames' receive times."""
        return await asyncio.to_thread(self._memory.take_nonce, self._clock.wall_ns())

    async def _post(self, nonce: int) -> _Answer:
        body = urlencode({"nonce": nonce}).encode()
        signature = sign(PATH, nonce, body, self._secret)
        SECRETS.remember(signature, "signature")
        headers = {
            "API-Key": self._api_key,
            "API-Sign": signature,
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "User-Agent": f"kraken-l3-recorder/{__version__}",
        }
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self._url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            response.raise_for_status()
            content = await _read_limited(response)
        try:
            answer = decode_json(_answer, content)
        except MalformedMessage as error:
            raise aiohttp.ClientPayloadError("the response is not Kraken's JSON") from error
        # These go to the log, into errors and into the state file, and a server may echo what it was sent.
        answer.error = [SECRETS.redact(text) for text in answer.error]
        return answer

    def remembered_refusal(self) -> tuple[Optional[Refusal], float]:
        """Why Kraken refused this key in the last 15 minutes, and for how many more seconds not to use it."""
        said, wait_s = self._memory.refusal(self._clock.wall_ns())
        return (refusal_of([said]), wait_s) if said else (None, 0.0)


class Tokens:
    """The session token, shared by all connections and replaced in time.

    Args:
        client: asks for a new one.
        clock: tells the age of a token.
        sleep: waits the given seconds; tests skip it.
    """

    def __init__(
        self, client: TokenClient, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
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
            answer = await self._client.ask()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return self._unreachable(error)
        except DiskFull as error:  # no nonce without it on disk; there will be room again
            return _Failure(error.what, error.hint, self._backoff_s())
        token = (answer.result or {}).get("token")
        if isinstance(token, str) and token:
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
        what = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientResponseError):
            what = f"HTTP {error.status} {error.message}"
        remedy = "Kraken's REST API could not be reached; check rest_url and the network"
        return _Failure(SECRETS.redact(what), remedy, self._backoff_s())

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


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for part in response.content.iter_any():
        content += part
        if len(content) > ANSWER_LIMIT_BYTES:
            raise aiohttp.ClientPayloadError(f"the response is longer than {ANSWER_LIMIT_BYTES:,} bytes")
    return content
