"""The way to Kraken: names, TLS, both WebSocket endpoints, its clock against ours, and what it says of the key.

Sources: https://docs.kraken.com/api/docs/rest-api/get-server-time, .../get-api-key-info, .../websocket-v2/ping
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Annotated, Any, NamedTuple, Optional, Union
from urllib.parse import urlsplit

import aiohttp
import msgspec

from kraken_l3.app.doctor.finding import Finding, bad, failed, good, in_thread, skipped, warning
from kraken_l3.capture.credentials import KeyMemory, state_directory
from kraken_l3.capture.private_rest import PrivateRest, what_failed
from kraken_l3.capture.rest import PATH as TOKEN
from kraken_l3.capture.transport import WebSocket, connect
from kraken_l3.clock import Clock
from kraken_l3.config.settings import Settings, require_key
from kraken_l3.errors import KrakenL3Error, RefusedByKraken
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339, parse_rfc3339
from kraken_l3.protocol.frames import Data, Response, Status, classify
from kraken_l3.protocol.refusals import REFUSED_KEY_S, refusal_of
from kraken_l3.protocol.requests import ping, subscribe
from kraken_l3.redaction import SECRETS

__all__ = [
    "check_key",
    "check_level3",
    "check_public",
    "check_rest",
    "offset_finding",
    "permission_findings",
]

TIME = "/0/public/Time"
#: Needs no permission.
KEY_INFO = "/0/private/GetApiKeyInfo"
PINGS = 3
#: The cheapest: a recorder that runs with the same account has the same budget of subscriptions.
DEPTH = 10
#: Our receive times are compared with Kraken's times in microseconds; a lag of this much is misread.
OFFSET_WARNING_NS = 50_000_000
OFFSET_BAD_NS = NS_PER_S
EXPIRES_SOON_NS = 30 * 86_400 * NS_PER_S
_NETWORK = "Check the network, a proxy, and the firewall"
_CLOCK = "Synchronise the clock (chrony, or sudo timedatectl set-ntp true)"
#: What each permission lets a thief do, worst first. A recorder needs create-ws-token and nothing else.
_DANGEROUS = {
    "withdraw-funds": "withdraw your funds",
    "add-withdraw-address": "add withdrawal addresses",
    "update-withdraw-address": "change withdrawal addresses",
    "modify-trades": "trade",
    "close-trades": "cancel your orders",
    "add-funds": "make deposit addresses",
    "earn-funds": "move funds to Earn",
}
#: What lets a thief look, no more; `audit` asks a key that may.
_HARMLESS = frozenset({"query-funds", "query-open-trades", "query-closed-trades", "query-ledger", "export-data"})
_WS_PERMISSION = "create-ws-token"
_NEW_KEY = "Make a key for the recorder alone, with the single permission 'WebSocket interface - On'"


class _Time(msgspec.Struct):
    unixtime: Annotated[int, msgspec.Meta(ge=0, lt=2**40)]


class _TimeAnswer(msgspec.Struct):
    result: _Time


class _Offset(NamedTuple):
    """Kraken's clock minus ours, and how wrong that may be, in ns."""

    offset_ns: int
    bound_ns: int


class _KeyGood(NamedTuple):
    """A session token, and what was found of the key that it came from."""

    token: str
    findings: list[Finding]


async def _resolve(url: str) -> None:
    """Look the name up where a resolver that hangs can be left behind."""
    host = urlsplit(url).hostname or ""
    try:
        await in_thread(lambda: socket.getaddrinfo(host, None))
    except OSError as error:
        hint = "Check the name, and the resolver in /etc/resolv.conf"
        raise KrakenL3Error(f"the name {host} cannot be resolved: {error.strerror}", where=url, hint=hint) from error


async def check_rest(settings: Settings, clock: Clock) -> list[Finding]:
    """REST answers, over TLS whose certificate this machine trusts, with a time that is about ours."""
    url = settings.rest_url
    await _resolve(url)
    before_ns = clock.wall_ns()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url + TIME, allow_redirects=False) as response,
        ):
            tls = _tls_of(response)
            response.raise_for_status()
            answer = msgspec.json.decode(await response.content.read(65536), type=_TimeAnswer)
        after_ns = clock.wall_ns()
        offset = _offset_of_seconds(answer.result.unixtime, before_ns, after_ns)
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLError) as error:
        return [bad("rest", f"{url}: {_certificate(error)}", _certificate_remedy(error))]
    except (aiohttp.ClientError, OSError) as error:
        said = what_failed(getattr(error, "os_error", error)).partition("\n")[0]
        return [bad("rest", f"{url}: {said}", f"Check rest_url. {_NETWORK}")]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [bad("rest", f"{url} answers, but not as Kraken does", f"Check rest_url. {_NETWORK}")]
    took_ms = (after_ns - before_ns) / 1e6
    return [good("rest", f"{url}: {tls}, {took_ms:,.0f} ms"), offset_finding("clock by REST", offset)]


def _tls_of(response: aiohttp.ClientResponse) -> str:
    transport = response.connection.transport if response.connection else None
    session = transport.get_extra_info("ssl_object") if transport else None
    return str(session.version()) if session is not None else "no TLS"


def _certificate(error: Exception) -> str:
    inner = getattr(error, "certificate_error", error)
    return f"its certificate is not trusted ({getattr(inner, 'verify_message', '') or inner})"


def _certificate_remedy(error: Exception) -> str:
    said = str(error)
    if "expired" in said or "not yet valid" in said:
        return f"{_CLOCK}; if it is right, something between here and Kraken shows an old certificate"
    return "Install ca-certificates, or name your proxy's authority in SSL_CERT_FILE"


def _offset_of_seconds(unix_s: int, before_ns: int, after_ns: int) -> _Offset:
    """From a time in whole seconds, which were cut off somewhere between two readings of our clock."""
    middle_ns = (before_ns + after_ns) // 2
    return _Offset(unix_s * NS_PER_S + NS_PER_S // 2 - middle_ns, NS_PER_S // 2 + max(after_ns - before_ns, 0) // 2)


def offset_finding(check: str, offset: _Offset) -> Finding:
    """Only what is certain counts: the measured offset less what it may be wrong by."""
    certain_ns = max(abs(offset.offset_ns) - offset.bound_ns, 0)
    told = f"within {_ms(offset.bound_ns)} ms of Kraken's"
    if certain_ns:
        side = "behind" if offset.offset_ns > 0 else "ahead of"
        told = f"{_ms(abs(offset.offset_ns))} ms {side} Kraken's, give or take {_ms(offset.bound_ns)} ms"
    if certain_ns > OFFSET_BAD_NS:
        return bad(check, told, _CLOCK)
    return warning(check, told, _CLOCK) if certain_ns > OFFSET_WARNING_NS else good(check, told)


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.1f}"


class _Messages:
    """What arrives on a connection, one at a time; implements `transport.Receiver`."""

    def __init__(self) -> None:
        #: Messages with their receive times; a text says why the connection ended.
        self._waiting: asyncio.Queue[Union[tuple[bytes, int], str]] = asyncio.Queue()

    def on_opened(self, extensions: str) -> None:
        """Nothing to do: who connects goes on."""

    def on_message(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        self._waiting.put_nowait((payload, recv_ns))

    def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
        """Only messages count here."""

    def on_violation(self, payload: bytes, what: str) -> None:
        self._waiting.put_nowait(what)

    def on_closed(self, code: Optional[int], reason: str) -> None:
        self._waiting.put_nowait(f"the connection was closed (code {code})")

    async def next(self) -> tuple[bytes, int]:
        """A message and its receive time.

        Raises:
            KrakenL3Error: the connection has ended.
        """
        message = await self._waiting.get()
        if isinstance(message, str):
            raise KrakenL3Error(message, hint=_NETWORK)
        return message


class _Pong(msgspec.Struct):
    req_id: int
    time_in: str
    time_out: str


async def check_public(settings: Settings, clock: Clock) -> list[Finding]:
    """The public WebSocket endpoint, the state of the exchange, and Kraken's clock against ours."""
    url = settings.public_ws_url
    await _resolve(url)
    messages = _Messages()
    connection = await _connect(url, messages, clock)
    try:
        system = await _system(messages)
        offset = await _offset(connection, messages, clock)
    finally:
        connection.close()
    state = good("public websocket", f"{url}: Kraken is {system}")
    if system != "online":
        state = warning("public websocket", f"{url}: Kraken is in {system}", "Nothing to do; see status.kraken.com")
    if offset is None:
        return [state, skipped("clock by WebSocket", "its pongs have no times")]
    return [state, offset_finding("clock by WebSocket", offset)]


async def _connect(url: str, messages: _Messages, clock: Clock) -> WebSocket:
    try:
        return await connect(url, messages, clock)
    except KrakenL3Error as error:
        is_certificate = "certificate" in error.what
        error.hint = _certificate_remedy(error) if is_certificate else _NETWORK
        raise


async def _system(messages: _Messages) -> str:
    """The state that is the first message on every connection."""
    while True:
        payload, _ = await messages.next()
        message = classify(payload)
        if isinstance(message, Status):
            return message.system[:50]


async def _offset(connection: WebSocket, messages: _Messages, clock: Clock) -> Optional[_Offset]:
    """By the way of NTP (RFC 5905, section 8), from the quickest of some pings."""
    found: list[_Offset] = []
    for number in range(1, PINGS + 1):
        sent_ns = clock.wall_ns()
        connection.send(ping(number))
        while True:
            payload, recv_ns = await messages.next()
            if b'"pong"' in payload:
                break
        try:
            pong = msgspec.json.decode(payload, type=_Pong)
            in_ns, out_ns = parse_rfc3339(pong.time_in), parse_rfc3339(pong.time_out)
        except (msgspec.MsgspecError, KrakenL3Error, ValueError):
            return None
        bound_ns = max(recv_ns - sent_ns - (out_ns - in_ns), 0) // 2
        found.append(_Offset(((in_ns - sent_ns) + (out_ns - recv_ns)) // 2, bound_ns))
    return min(found, key=lambda offset: offset.bound_ns)


async def check_key(settings: Settings, clock: Clock) -> _KeyGood:
    """The key gives a token, and can do nothing else.

    Raises:
        KrakenL3Error: it gives none.
    """
    key, secret = require_key(settings)
    await _resolve(settings.rest_url)
    client = PrivateRest(settings.rest_url, key, secret, KeyMemory(state_directory(), key), clock)
    refusal, wait_s = client.remembered_refusal()
    if refusal is not None:
        what = (
            f"Kraken refused it {(REFUSED_KEY_S - wait_s) / 60:.0f} min ago, so it was not tried again: {refusal.error}"
        )
        raise RefusedByKraken(what, where="api_key", hint=refusal.remedy)
    token = (await _call(client, TOKEN)).get("token")
    if not isinstance(token, str):
        raise KrakenL3Error("an answer without a token", where=settings.rest_url, hint=_NETWORK)
    SECRETS.remember(token, "token")
    try:
        info = await _call(client, KEY_INFO)
    except KrakenL3Error as error:
        told = f"gives tokens; what it may do is not known: {error.what}"
        return _KeyGood(token, [warning("key", told, "Look at its permissions at kraken.com (Settings, API)")])
    return _KeyGood(token, permission_findings(info, clock.wall_ns()))


async def _call(client: PrivateRest, path: str) -> dict[str, Any]:
    try:
        answer = await client.call(path)
        if answer.has_result:
            return msgspec.json.decode(answer.result, type=dict[str, Any])
    except (aiohttp.ClientError, OSError) as error:
        raise KrakenL3Error(what_failed(error), where="api_key", hint=_NETWORK) from error
    except msgspec.MsgspecError as error:
        raise KrakenL3Error("the answer is not Kraken's", where="rest_url", hint=_NETWORK) from error
    refusal = refusal_of(answer.error)
    raise RefusedByKraken(f"Kraken refused it: {refusal.error}", where="api_key", hint=refusal.remedy)


def permission_findings(info: dict[str, Any], now_ns: int) -> list[Finding]:
    """What GetApiKeyInfo says of a key that gives tokens: what it may do beyond that, and until when it is valid."""
    listed = info.get("permissions")
    permissions = [str(each) for each in listed] if isinstance(listed, list) else []
    deeds = [deed for name, deed in _DANGEROUS.items() if name in permissions]
    others = [name for name in permissions if name != _WS_PERMISSION and name not in _DANGEROUS]
    told = SECRETS.redact(", ".join(others))[:200]
    if not permissions:
        found = warning("key", "gives tokens; Kraken does not say what else it may do", "Look at it at kraken.com")
    elif deeds:
        found = warning("key", f"whoever steals it can {', '.join(deeds)}", _NEW_KEY)
    elif not _HARMLESS.issuperset(others):
        found = warning("key", f"may do more than it needs: {told}", _NEW_KEY)
    elif others:
        found = good("key", f"gives tokens; beyond that it may only look ({told})")
    else:
        found = good("key", "gives tokens, and may do nothing else")
    return [found, *_expiry(str(info.get("validUntil") or "0"), now_ns)]


def _expiry(text: str, now_ns: int) -> list[Finding]:
    until_ns = int(text) * NS_PER_S if text.isascii() and text.isdigit() and len(text) < 11 else 0
    if not until_ns or until_ns - now_ns > EXPIRES_SOON_NS:
        return []
    return [warning("key", f"it expires on {format_rfc3339(until_ns)[:10]}", "Make a new one in time")]


async def check_level3(settings: Settings, clock: Clock, symbol: str, token: str) -> list[Finding]:
    """The level3 endpoint takes a subscription; only that proves that the key may have the data."""
    url = settings.ws_url
    await _resolve(url)
    messages = _Messages()
    connection = await _connect(url, messages, clock)
    try:
        await _system(messages)
        connection.send(subscribe("level3", symbol, req_id=1, depth=DEPTH, token=token))
        while True:
            payload, _ = await messages.next()
            message = classify(payload)
            if isinstance(message, Data):
                return [good("level3", f"{url}: {symbol} arrives")]
            if isinstance(message, Response) and not message.success:
                return [_level3_refused(symbol, SECRETS.redact(message.error))]
    finally:
        connection.close()


def _level3_refused(symbol: str, said: str) -> Finding:
    remedy = "Check the symbol; if it is right, ask Kraken's support to enable level3 for this account"
    what = f"Kraken refused {symbol} although the key is good: {said or 'without a reason'}"
    return failed("level3", RefusedByKraken(what, hint=remedy))
