"""What is asked of a server, in order: the conversation whose transcript the checks judge.

Its limits are Kraken's own: few connections, one subscription after the other, nothing that is counted towards a
lockout unless it was asked for. Kraken's limits: https://docs.kraken.com/api/docs/guides/spot-ws-intro and
https://docs.kraken.com/api/docs/websocket-v2/level3
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Optional

import aiohttp

from kraken_l3.conformance.client import Ended, OpenTalk, Rest
from kraken_l3.conformance.transcript import Message, Talk, Transcript, symbol_of
from kraken_l3.errors import DataMissing, LocalFault
from kraken_l3.redaction import SECRETS

__all__ = ["ODD_SYMBOL", "Request", "converse"]

#: The pair's name in the API's version 1, which version 2 refuses.
ODD_SYMBOL = "XBT/USD"
_PREFERRED = ("BTC/USD", "ETH/USD", "SOL/USD")
#: Symbols of one request where 200 are subscribed: at depth 10 they cost 150 of the 200 that a second allows.
_BATCH = 30
_IDLE_S = 90.0


class Request(NamedTuple):
    """What to ask, and of whom.

    Attributes:
        rest_url: "https://api.kraken.com".
        ws_url: "wss://ws-l3.kraken.com/v2"; empty leaves level3 out.
        public_ws_url: "wss://ws.kraken.com/v2"; empty leaves the public channels out.
        key: API key and its secret; None leaves out what needs one.
        symbols: pairs; up to three are used. Empty: BTC/USD, ETH/USD and SOL/USD, or others that are listed.
        depths: the level3 depths to ask for; Kraken has 10, 100 and 1000.
        listen_s: how long to listen to updates.
        quiet_s: how long to listen where nothing is to come.
        refusals: also make REST calls that Kraken counts towards a lockout, each once.
        limits: also exceed the limits on symbols and subscriptions, and be idle for a minute.
    """

    rest_url: str
    ws_url: str = ""
    public_ws_url: str = ""
    key: Optional[tuple[str, str]] = None
    symbols: tuple[str, ...] = ()
    depths: tuple[int, ...] = (10, 100, 1000)
    listen_s: float = 15.0
    quiet_s: float = 1.5
    refusals: bool = False
    limits: bool = False


async def converse(request: Request) -> Transcript:
    """Talk to a server and give what was said.

    Raises:
        LocalFault: it cannot be reached.
        DataMissing: it lists no pair to ask for.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        try:
            return await _Run(request, http).whole()
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise LocalFault(f"the server cannot be reached: {error}", where=request.rest_url) from error


class _Run:
    """One conversation."""

    def __init__(self, request: Request, http: aiohttp.ClientSession) -> None:
        self._request = request
        self._http = http
        self._rest = Rest(http, request.rest_url.rstrip("/"), request.key)
        self._token = ""
        self.transcript = Transcript([], request.depths)

    async def whole(self) -> Transcript:
        request, transcript = self._request, self.transcript
        await self._public_calls()
        transcript.symbols = self._symbols()
        await self._tokens()
        level3 = self._reason_against_level3()
        talks = [] if level3 else [self._main(), *(self._deep(depth) for depth in request.depths if depth != 10)]
        if level3:
            transcript.missing.update(dict.fromkeys(("main", *map(_name, request.depths), "limits", "rate"), level3))
        if request.public_ws_url:
            talks.append(self._public())
        else:
            transcript.missing["public"] = "no URL of a public endpoint was given"
        if request.limits and not level3:
            talks.append(self._idle())
        await asyncio.gather(*talks)
        if request.limits and not level3:
            await self._too_many()  # alone: the subscription counter may be one for all connections of a key
        if self._token:
            await self._later_calls()
        return transcript

    # REST

    async def _public_calls(self) -> None:
        calls, rest = self.transcript.calls, self._rest
        calls["time"] = await rest.public("Time")
        calls["system-status"] = await rest.public("SystemStatus")
        calls["asset-pairs"] = await rest.public("AssetPairs")
        calls["assets"] = await rest.public("Assets")
        calls["unknown-pair"] = await rest.public("AssetPairs", pair="NOSUCHPAIR")
        calls["unknown-method"] = await rest.public("NoSuchMethod")
        first = next(iter(self.transcript.asset_pairs().values()), None)
        if first is not None:
            calls["one-pair"] = await rest.public("AssetPairs", pair=first["altname"])

    def _symbols(self) -> list[str]:
        if self._request.symbols:
            return list(self._request.symbols[:3])
        listed = [symbol_of(p["wsname"]) for p in self._pairs_online()]
        chosen = [*(s for s in _PREFERRED if s in listed), *(s for s in listed if s not in _PREFERRED)][:3]
        if not chosen:
            raise DataMissing("the server lists no pair in AssetPairs", where=self._request.rest_url)
        return chosen

    def _pairs_online(self) -> list[Message]:
        return [pair for pair in self.transcript.asset_pairs().values() if pair.get("status", "online") == "online"]

    async def _tokens(self) -> None:
        calls, rest = self.transcript.calls, self._rest
        if self._request.key is None:
            reason = "no API key was given"
            self.transcript.missing.update(dict.fromkeys(("token", "token-json", "level3-call"), reason))
            return
        calls["token"] = await rest.private("GetWebSocketsToken")
        if calls["token"].errors:  # the next would be refused too, and refusals are counted
            reason = f"the key was refused: {', '.join(calls['token'].errors)}"
            self.transcript.missing.update(dict.fromkeys(("token-json", "level3-call"), reason))
            return
        calls["token-json"] = await rest.private("GetWebSocketsToken", as_json=True)
        for call in (calls["token"], calls["token-json"]):
            result = call.answer.get("result")
            if isinstance(result, dict) and result.get("token"):
                self._token = str(result["token"])
                SECRETS.remember(self._token, "token")

    async def _later_calls(self) -> None:
        """After all else: a replay has no book before somebody has subscribed; and a refusal is to spoil nothing."""
        calls, rest = self.transcript.calls, self._rest
        pair = next((p for p in self._pairs_online() if symbol_of(p["wsname"]) == self.transcript.symbols[0]), None)
        calls["level3-call"] = await rest.private("Level3", pair=pair["altname"] if pair else ODD_SYMBOL, depth="10")
        if self._request.refusals:
            calls["same-nonce"] = await rest.private("GetWebSocketsToken", nonce=rest.last_nonce)
            calls["wrong-signature"] = await rest.private("GetWebSocketsToken", spoil="&x=1")
            calls["wrong-key"] = await rest.private("GetWebSocketsToken", key="no-such-key")

    def _reason_against_level3(self) -> str:
        if not self._request.ws_url:
            return "no URL of a level3 endpoint was given"
        if self._request.key is None:
            return "no API key was given"
        if self._token:
            return ""
        call = self.transcript.calls["token"]
        return f"no token was given: {', '.join(call.errors) or f'HTTP {call.status}'}"

    # WebSocket

    def _open(self, name: str, *, public: bool = False) -> OpenTalk:
        talk = self.transcript.talks[name] = Talk("public" if public else "level3")
        return OpenTalk(self._http, self._request.public_ws_url if public else self._request.ws_url, talk)

    def _level3(self, symbols: list[str], req_id: int, method: str = "subscribe", **params: object) -> Message:
        asked = {"channel": "level3", "symbol": symbols, "token": self._token, **params}
        return {"method": method, "params": asked, "req_id": req_id}

    async def _main(self) -> None:
        quiet, listen = self._request.quiet_s, self._request.listen_s
        first, *others = self.transcript.symbols
        second, third, *_ = *others, first, first
        try:
            async with self._open("main") as talk:
                await talk.wait(lambda: bool(talk.talk.entries), quiet)
                await talk.ask("ping", {"method": "ping", "req_id": 101})
                await talk.ask("ping-bare", {"method": "ping"})
                await talk.ping_frame("ping-frame", "conformance")
                await talk.ask("malformed", "no JSON")
                await talk.ask("unknown-channel", self._level3([first], 2, channel="nosuchchannel"))
                await talk.ask("bad-token", self._level3([first], 3, token="no-such-token"))
                await talk.ask("bad-depth", self._level3([first], 4, depth=27))
                await talk.ask("unknown-symbol", self._level3([ODD_SYMBOL], 5, depth=10))
                await talk.ask("unsubscribe-unknown", self._level3([first], 6, "unsubscribe"))
                await talk.listen("quiet", quiet)
                await talk.ask("ping-after-refusals", {"method": "ping", "req_id": 102})
                await talk.ask("subscribe", self._level3([first], 7))
                await talk.listen("listen", listen)
                await talk.ask("again", self._level3([first], 8))
                await talk.ask("other-depth", self._level3([first], 9, depth=100))
                if others:
                    several = [second, ODD_SYMBOL, *others[1:]]
                    await talk.ask("several", self._level3(several, 10, depth=10, snapshot=True), len(several))
                    await talk.listen("listen-several", quiet)
                else:
                    self.transcript.missing["main.several"] = "there is only one symbol"
                await talk.ask("unsubscribe", self._level3([second], 11, "unsubscribe", depth=10))
                await talk.listen("silence", quiet)
                await talk.ask("resubscribe", self._level3([second], 12, depth=10))
                await talk.listen("listen-again", quiet)
                await talk.ask("unsubscribe-third", self._level3([third], 13, "unsubscribe", depth=10))
                await talk.ask("no-snapshot", self._level3([third], 14, depth=10, snapshot=False))
                await talk.listen("listen-without", quiet)
                await talk.ask("ping-last", {"method": "ping", "req_id": 103})
        except Ended as ended:
            self.transcript.missing.setdefault("main", str(ended))

    async def _deep(self, depth: int) -> None:
        """A deeper subscription of the main symbol, at the same time: a connection has one depth a symbol."""
        name = _name(depth)
        try:
            async with self._open(name) as talk:
                await talk.ask("subscribe", self._level3([self.transcript.symbols[0]], 1, depth=depth))
                await talk.listen("listen", self._request.listen_s + 2 * self._request.quiet_s)
        except Ended as ended:
            self.transcript.missing.setdefault(name, str(ended))

    async def _public(self) -> None:
        symbols = self.transcript.symbols

        def asks(channel: str, req_id: int, method: str = "subscribe", **params: object) -> Message:
            return {"method": method, "params": {"channel": channel, **params}, "req_id": req_id}

        try:
            async with self._open("public", public=True) as talk:
                await talk.wait(lambda: bool(talk.talk.entries), self._request.quiet_s)
                await talk.ask("unknown-channel", asks("nosuchchannel", 1, symbol=symbols))
                await talk.ask("level3", asks("level3", 2, symbol=symbols[:1], token="no-such-token"))
                await talk.ask("bad-depth", asks("book", 3, symbol=symbols[:1], depth=27))
                await talk.ask("unknown-symbol", asks("book", 4, symbol=[ODD_SYMBOL]))
                await talk.ask("instrument", asks("instrument", 5, snapshot=True))
                await talk.ask("trade", asks("trade", 6, symbol=symbols, snapshot=True), len(symbols))
                await talk.ask("book", asks("book", 7, symbol=symbols[:1]))
                await talk.ask("ticker", asks("ticker", 8, symbol=symbols[:1], event_trigger="bbo"))
                await talk.listen("listen", self._request.listen_s + self._request.quiet_s)
                await talk.ask("unsubscribe", asks("book", 9, "unsubscribe", symbol=symbols[:1], depth=10))
                await talk.ask("ping-last", {"method": "ping", "req_id": 104})
        except Ended as ended:
            self.transcript.missing.setdefault("public", str(ended))

    # limits

    async def _idle(self) -> None:
        try:
            async with self._open("idle") as talk:
                talk.talk.begin("idle")
                await talk.wait(lambda: False, _IDLE_S)
        except Ended as ended:
            self.transcript.missing["idle"] = str(ended)

    async def _too_many(self) -> None:
        """201 symbols on a connection, in batches that the subscription rate allows; then too many in a second."""
        listed = [symbol_of(pair["wsname"]) for pair in self._pairs_online()]
        if len(listed) <= 200:
            self.transcript.missing["limits"] = f"the server lists {len(listed)} pairs, and 201 are needed"
            return
        try:
            async with self._open("limits") as talk:
                for start in range(0, 200, _BATCH):
                    batch = listed[start : min(start + _BATCH, 200)]
                    await talk.ask(f"batch-{start}", self._level3(batch, 1, depth=10), len(batch))
                    await asyncio.sleep(1.1)
                await talk.ask("too-many", self._level3(listed[200:201], 2, depth=10))
                await talk.ask("ping-last", {"method": "ping", "req_id": 105})
            await asyncio.sleep(1.1)
            async with self._open("rate") as talk:
                await talk.ask("too-fast", self._level3(listed[:6], 1, depth=1000), 6)
                await talk.ask("ping-last", {"method": "ping", "req_id": 106})
        except Ended as ended:
            self.transcript.missing["limits"] = str(ended)


def _name(depth: int) -> str:
    """A deeper connection's name in the transcript."""
    return f"depth-{depth}"
