"""A client that writes down what it hears: aiohttp's sockets, and nothing of the recorder's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from types import TracebackType
from typing import Any, Callable, Optional, Union

import aiohttp

from kraken_l3.conformance.transcript import Call, Entry, Message, Talk
from kraken_l3.redaction import SECRETS

__all__ = ["Ended", "OpenTalk", "Rest", "signature"]

_TIMEOUT_S = 15.0


class Ended(Exception):
    """The server ended the connection, or never let it begin."""


def signature(secret: str, path: str, nonce: int, body: bytes) -> str:
    """The header API-Sign. Source: https://docs.kraken.com/api/docs/guides/spot-rest-auth"""
    digest = hashlib.sha256(str(nonce).encode() + body).digest()
    return base64.b64encode(
        hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
    ).decode()


class Rest:
    """REST calls.

    Args:
        http: the session.
        url: "https://api.kraken.com".
        key: API key and its secret (base64); None: only public calls.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, key: Optional[tuple[str, str]]) -> None:
        self._http = http
        self._url = url
        self._key = key
        self.last_nonce = 0
        for each, kind in zip(key or (), ("api key", "api secret")):
            SECRETS.remember(each, kind)

    async def public(self, method: str, **query: str) -> Call:
        """GET of a public method."""
        async with self._http.get(f"{self._url}/0/public/{method}", params=query) as response:
            return Call(response.status, await response.text())

    async def private(
        self, method: str, *, as_json: bool = False, nonce: int = 0, key: str = "", spoil: str = "", **fields: str
    ) -> Call:
        """A signed POST.

        Args:
            method: "GetWebSocketsToken".
            as_json: a JSON body instead of a form.
            nonce: instead of a new one.
            key: instead of the right one.
            spoil: appended to the body after it was signed.
            fields: the body's, beside the nonce.
        """
        if self._key is None:
            raise ValueError("a private call needs a key")
        # nanoseconds, as the recorder's: a key must never go back to a coarser unit
        self.last_nonce = nonce or max(time.time_ns(), self.last_nonce + 1)
        path = f"/0/private/{method}"
        values = {"nonce": str(self.last_nonce), **fields}
        body = (json.dumps(values) if as_json else "&".join(f"{k}={v}" for k, v in values.items())).encode()
        sign = signature(self._key[1], path, self.last_nonce, body)
        SECRETS.remember(sign, "signature")
        headers = {
            "API-Key": key or self._key[0],
            "API-Sign": sign,
            "Content-Type": "application/json" if as_json else "application/x-www-form-urlencoded",
        }
        async with self._http.post(self._url + path, data=body + spoil.encode(), headers=headers) as response:
            return Call(response.status, await response.text())


class OpenTalk:
    """One WebSocket connection; an async context manager. What comes is written down at once, whoever waits.

    Args:
        http: the session.
        url: where to.
        talk: where to write it down.

    Raises:
        Ended: on entering, the server cannot be reached or refuses.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, talk: Talk) -> None:
        self.talk = talk
        self._http = http
        self._url = url
        self._changed = asyncio.Event()
        self.ended = False

    async def __aenter__(self) -> OpenTalk:
        try:
            # autoping off: pongs are to be seen, and the server's pings answered by hand
            self._ws = await self._http.ws_connect(self._url, autoping=False, max_msg_size=0)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise Ended(f"no connection: {error}") from error
        self._began = time.monotonic()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._ws.close()

    async def _read(self) -> None:
        kinds = {aiohttp.WSMsgType.TEXT: "text", aiohttp.WSMsgType.BINARY: "binary", aiohttp.WSMsgType.PONG: "pong"}
        while not self.ended:
            frame = await self._ws.receive()
            if frame.type is aiohttp.WSMsgType.PING:
                await self._ws.pong(frame.data)
            elif frame.type in kinds:
                text = frame.data if isinstance(frame.data, str) else bytes(frame.data).decode("latin-1")
                self._note(text, kinds[frame.type])
            else:
                self._note(f"code {frame.data if isinstance(frame.data, int) else self._ws.close_code}", "closed")
                self.ended = True
            self._changed.set()

    def _note(self, text: str, kind: str) -> None:
        self.talk.entries.append(Entry(time.monotonic() - self._began, text, kind))

    async def say(self, step: str, request: Union[Message, str]) -> None:
        """Begin a step with a request.

        Raises:
            Ended: the connection is over.
        """
        if self.ended:
            raise Ended(f"the connection ended before the step {step}")
        self.talk.begin(step)
        text = request if isinstance(request, str) else json.dumps(request)
        self._note(text, "sent")
        await self._send(self._ws.send_str(text))

    async def ask(self, step: str, request: Union[Message, str], answers: int = 1) -> list[Message]:
        """The same, and wait for so many answers; fewer where they do not come."""
        await self.say(step, request)
        await self.wait(lambda: len(self.talk.answers(step)) >= answers, _TIMEOUT_S)
        return self.talk.answers(step)

    async def ping_frame(self, step: str, payload: str) -> None:
        """Begin a step with a ping frame, and wait for its pong."""
        self.talk.begin(step)
        await self._send(self._ws.ping(payload.encode()))
        await self.wait(lambda: any(each.kind == "pong" for each in self.talk.step(step)), _TIMEOUT_S)

    async def listen(self, step: str, seconds: float) -> None:
        """A step in which nothing is said."""
        self.talk.begin(step)
        await self.wait(lambda: False, seconds)

    async def wait(self, is_enough: Callable[[], bool], seconds: float) -> None:
        """Until there is enough, the connection ends, or the time is over."""
        end = time.monotonic() + seconds
        while not is_enough() and not self.ended and (left := end - time.monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    @staticmethod
    async def _send(sending: Any) -> None:
        try:
            await sending
        except (ConnectionError, aiohttp.ClientError) as error:
            raise Ended("the connection ended while a request was sent") from error
