"""The private REST calls of the exchange: checks signed requests, hands out tokens. No sockets here.

Rules (https://docs.kraken.com/api/docs/guides/spot-rest-auth, .../guides/spot-rest-intro,
https://docs.kraken.com/api/docs/rest-api/get-websockets-token and .../get-api-key-info): an API error is HTTP 200 with
a non-empty `error` array; the signature covers the path, the nonce and the exact body; the nonce of a key always grows;
a token lives 900 s unless a subscription made with it is alive. The order in which Kraken checks is not documented:
here it is lockout, key, counter, signature, nonce, permission, and a nonce counts as used once the signature was right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional
from urllib.parse import parse_qs

from kraken_l3.exchange.limits import DecayingCounter, Limits, SlidingWindow

__all__ = ["KEY_INFO_PATH", "QUERY_PERMISSION", "TOKEN_PATH", "Account", "TokenServer", "field_of"]

TOKEN_PATH = "/0/private/GetWebSocketsToken"
KEY_INFO_PATH = "/0/private/GetApiKeyInfo"
#: What the key settings at kraken.com call "WebSocket interface - On".
TOKEN_PERMISSION = "create-ws-token"
#: "Query open orders & trades", which REST Level3 needs.
QUERY_PERMISSION = "query-open-trades"
_NS_PER_S = 1_000_000_000
_MAX_NONCE = 2**64 - 1


def field_of(body: bytes, content_type: str, name: str) -> str:
    """A field of a form or JSON body as text; empty when it is not there."""
    if "json" in content_type:
        try:
            value = json.loads(body).get(name, "")
        except (ValueError, AttributeError, RecursionError):
            return ""
        return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    values = parse_qs(body.decode("utf-8", "replace")).get(name)
    return values[0] if values else ""


class Account:
    """What is counted for one API key: its nonce, its REST calls, its subscriptions.

    Args:
        api_secret: base64.
        limits: see `Limits`.

    Raises:
        ValueError: the secret is not base64.
    """

    def __init__(self, api_secret: str, limits: Limits) -> None:
        self.secret = base64.b64decode(api_secret, validate=True)
        self.calls = DecayingCounter(limits.rest_counter, limits.rest_decay_per_s)
        self.subscriptions = SlidingWindow(limits.subscriptions_per_s, 1.0)
        self.last_nonce = -1


class _Issued(NamedTuple):
    account: Account
    at_ns: int


class TokenServer:
    """Who may have a token, and which tokens are good.

    Args:
        keys: API key to its secret.
        limits: see `Limits`.

    Attributes:
        given: tokens handed out so far.
        permissions: of every key, as GetApiKeyInfo names them.
        valid_until_s: when every key expires, in seconds since 1970; 0 for never.
    """

    def __init__(self, keys: Mapping[str, str], limits: Limits) -> None:
        self.given = 0
        self.permissions: tuple[str, ...] = (TOKEN_PERMISSION, QUERY_PERMISSION)
        self.valid_until_s = 0
        self._accounts = {key: Account(secret, limits) for key, secret in keys.items()}
        self._limits = limits
        self._issued: dict[str, _Issued] = {}
        self._invalid_keys = 0
        self._locked_until_ns = 0

    def answer(self, headers: Mapping[str, str], body: bytes, mono_ns: int) -> dict[str, Any]:
        """The JSON object to answer a token request with."""
        account, error = self.admit(TOKEN_PATH, headers, body, mono_ns)
        if account is not None and TOKEN_PERMISSION not in self.permissions:
            error = "EGeneral:Permission denied"
        if account is None or error:
            return {"error": [error]}
        token = secrets.token_urlsafe(33)
        # a token that is too old is worth nothing here; what was subscribed with it, its connection remembers
        self._issued = {each: issued for each, issued in self._issued.items() if self._is_young(issued, mono_ns)}
        self._issued[token] = _Issued(account, mono_ns)
        self.given += 1
        return {"error": [], "result": {"token": token, "expires": int(self._limits.token_s)}}

    def key_info(self, headers: Mapping[str, str], body: bytes, mono_ns: int) -> dict[str, Any]:
        """The JSON object to answer GetApiKeyInfo with, which needs no permission."""
        account, error = self.admit(KEY_INFO_PATH, headers, body, mono_ns)
        if account is None:
            return {"error": [error]}
        info = {
            "apiKeyName": "simulated",
            "apiKey": headers["API-Key"],
            "nonce": str(account.last_nonce),
            "nonceWindow": 0,
            "permissions": list(self.permissions),
            "iban": "AA00 N84G SIMU LATE",
            "validUntil": str(self.valid_until_s),
            "queryFrom": "0",
            "queryTo": "0",
            "createdTime": "0",
            "modifiedTime": "0",
            "ipAllowlist": [],
            "lastUsed": None,
        }
        return {"error": [], "result": info}

    def admit(self, path: str, headers: Mapping[str, str], body: bytes, mono_ns: int) -> tuple[Optional[Account], str]:
        """Whose a private call is, or None and why it is refused."""
        if mono_ns < self._locked_until_ns:
            return None, "EGeneral:Temporary lockout"
        account = self._accounts.get(headers.get("API-Key", ""))
        if account is None:
            self._invalid_keys += 1
            if self._invalid_keys >= self._limits.invalid_keys:
                self._locked_until_ns = mono_ns + int(self._limits.lockout_s * _NS_PER_S)
                self._invalid_keys = 0
            return None, "EAPI:Invalid key"
        self._invalid_keys = 0
        if not account.calls.take(1, mono_ns):
            return None, "EAPI:Rate limit exceeded"
        nonce = field_of(body, headers.get("Content-Type", ""), "nonce")
        if not self._signed(account, path, headers.get("API-Sign", ""), nonce, body):
            return None, "EAPI:Invalid signature"
        least = account.last_nonce + 1 if self._limits.rising_nonces else 0
        if not nonce.isascii() or not nonce.isdigit() or not least <= int(nonce) <= _MAX_NONCE:
            return None, "EAPI:Invalid nonce"
        account.last_nonce = int(nonce)
        return account, ""

    @staticmethod
    def _signed(account: Account, path: str, signature: str, nonce: str, body: bytes) -> bool:
        digest = hashlib.sha256(nonce.encode("utf-8", "replace") + body).digest()
        right = hmac.new(account.secret, path.encode() + digest, hashlib.sha512).digest()
        try:
            return hmac.compare_digest(base64.b64decode(signature, validate=True), right)
        except (binascii.Error, ValueError):
            return False

    def owner(self, token: object, mono_ns: int) -> Optional[Account]:
        """Whose token this is; None unless it was given out here and is young enough."""
        issued = self._issued.get(token) if isinstance(token, str) else None
        return issued.account if issued is not None and self._is_young(issued, mono_ns) else None

    @property
    def kept(self) -> int:
        """How many tokens are remembered."""
        return len(self._issued)

    def _is_young(self, issued: _Issued, mono_ns: int) -> bool:
        return mono_ns - issued.at_ns < self._limits.token_s * _NS_PER_S

    def expire_all(self) -> None:
        """All tokens given out so far are void from now on."""
        self._issued.clear()
