"""Signed REST calls: one at a time for each key, with nonces that grow, and bounded in time and size.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-auth
"""

from __future__ import annotations

import asyncio
from typing import Optional, Union
from urllib.parse import urlencode

import aiohttp
import msgspec

from kraken_l3._version import __version__
from kraken_l3.capture.credentials import KeyMemory
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json
from kraken_l3.protocol.refusals import Action, Refusal, refusal_of
from kraken_l3.protocol.signature import decode_secret, sign
from kraken_l3.redaction import SECRETS

__all__ = ["TIMEOUT_S", "Answer", "PrivateRest", "get_public", "what_failed"]

TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 1024 * 1024
_USER_AGENT = f"kraken-l3-recorder/{__version__}"


class Answer(msgspec.Struct):
    """Kraken's answer: `result` is JSON text, empty where there is none."""

    error: list[str] = []
    result: msgspec.Raw = msgspec.Raw()

    def __post_init__(self) -> None:
        # These go to the log, into errors and into the state file, and a server may echo what it was sent.
        self.error = [SECRETS.redact(text) for text in self.error]

    @property
    def has_result(self) -> bool:
        """Whether the call was answered, and not only refused."""
        return bytes(self.result) not in (b"", b"null")


_answer = msgspec.json.Decoder(Answer)


class PrivateRest:
    """The private calls of one API key.

    Args:
        rest_url: "https://api.kraken.com".
        api_key: the public half of the key.
        api_secret: the private half, base64.
        memory: the key's nonce and refusals.
        clock: nonces are taken from the wall clock.
        timeout_s: how long an answer may take.
        limit_bytes: how long it may be.
    """

    def __init__(
        self,
        rest_url: str,
        api_key: str,
        api_secret: str,
        memory: KeyMemory,
        clock: Clock,
        *,
        timeout_s: float = TIMEOUT_S,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> None:
        self._url = rest_url.rstrip("/")
        self._api_key = api_key
        self._secret = decode_secret(api_secret)
        SECRETS.remember(api_key, "api key")
        SECRETS.remember(api_secret, "api secret")
        self._memory = memory
        self._clock = clock
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes

    async def call(self, path: str, **fields: Union[str, int]) -> Answer:
        """One signed call of `path` ("/0/private/...") with these fields.

        Raises:
            aiohttp.ClientError, asyncio.TimeoutError: there was no response.
        """
        async with self._memory.held():
            answer = await self._post(path, fields)
            refusal = refusal_of(answer.error)
            if not answer.has_result and refusal.action is Action.NONCE:
                answer = await self._post(path, fields)
                refusal = refusal_of(answer.error)
            if not answer.has_result and refusal.action is not Action.BACK_OFF:
                await asyncio.to_thread(self._memory.remember_refusal, refusal.error, self._clock.wall_ns())
            return answer

    async def _post(self, path: str, fields: dict[str, Union[str, int]]) -> Answer:
        # The nonce is saved in a thread: fsync can be slow, and must not delay the frames' receive times.
        nonce = await asyncio.to_thread(self._memory.take_nonce, self._clock.wall_ns())
        body = urlencode({"nonce": nonce, **fields}).encode()
        signature = sign(path, nonce, body, self._secret)
        SECRETS.remember(signature, "signature")
        headers = {
            "API-Key": self._api_key,
            "API-Sign": signature,
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "User-Agent": _USER_AGENT,
        }
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s)) as session,
            session.post(self._url + path, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return await _read_answer(response, self._limit_bytes)

    def remembered_refusal(self) -> tuple[Optional[Refusal], float]:
        """Why Kraken refused this key in the last 15 minutes, and for how many more seconds not to use it."""
        said, wait_s = self._memory.refusal(self._clock.wall_ns())
        return (refusal_of([said]), wait_s) if said else (None, 0.0)


async def get_public(rest_url: str, path: str, **fields: Union[str, int]) -> Answer:
    """One call of a public path ("/0/public/...").

    Raises:
        aiohttp.ClientError, asyncio.TimeoutError: there was no response.
    """
    url, timeout = rest_url.rstrip("/") + path, aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": _USER_AGENT}) as session,
        session.get(url, params=fields, allow_redirects=False) as response,
    ):
        return await _read_answer(response, ANSWER_LIMIT_BYTES)


def what_failed(error: Exception) -> str:
    """Why there was no answer, in words and without secrets."""
    what = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientResponseError):
        what = f"HTTP {error.status} {error.message}"
    elif isinstance(error, asyncio.TimeoutError):
        what = "no answer in time"
    return SECRETS.redact(what)


async def _read_answer(response: aiohttp.ClientResponse, limit_bytes: int) -> Answer:
    response.raise_for_status()
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > limit_bytes:
            raise aiohttp.ClientPayloadError(f"the response is longer than {limit_bytes:,} bytes")
    try:
        return decode_json(_answer, bytes(content))
    except MalformedMessage as error:
        raise aiohttp.ClientPayloadError("the response is not Kraken's JSON") from error
