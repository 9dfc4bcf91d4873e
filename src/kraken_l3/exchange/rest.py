"""The private REST call of the exchange: checks a signed request, hands out tokens. No sockets here.

Rules (https://docs.kraken.com/api/docs/guides/spot-rest-auth, .../guides/spot-rest-intro and
https://docs.kraken.com/api/docs/rest-api/get-websockets-token): an API error is HTTP 200 with a non-empty `error` array; the signature covers the
path, the nonce and the exact body; the nonce of a key always grows; a token lives 900 s unless a subscription made
with it is alive. The order in which Kraken checks is not documented: here it is lockout, key, counter, signature,
nonce, permission, and a nonce counts as used once the signature was right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Optional
from urllib.parse import parse_qs

from kraken_l3.exchange.limits import DecayingCounter, Limits

__all__ = ["TOKEN_PATH", "TokenServer"]

TOKEN_PATH = "/0/private/GetWebSocketsToken"
_NS_PER_S = 1_000_000_000
_MAX_NONCE = 2**64 - 1


def _field(body: bytes, content_type: str, name: str) -> str:
    """A field of a form or JSON body as text; empty when it is not there."""
    if "json" in content_type:
        try:
            value = json.loads(body).get(name, "")
        except (ValueError, AttributeError):
            return ""
        return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    values = parse_qs(body.decode("utf-8", "replace")).get(name)
    return values[0] if values else ""


class TokenServer:
    """Who may have a token, and which tokens are good.

    Args:
        api_key: the one key it knows.
        api_secret: its secret, base64.
        limits: see `Limits`.
    """

    def __init__(self, api_key: str, api_secret: str, limits: Limits) -> None:
        self.api_key = api_key
        self._secret = base64.b64decode(api_secret)
        self._limits = limits
        self._counter = DecayingCounter(limits.rest_counter, limits.rest_decay_per_s)
        self._last_nonce = -1
        self._invalid_keys = 0
        self._locked_until_ns = 0
        self.issued: dict[str, int] = {}
        self.given = 0
        self.permitted = True

    def answer(self, headers: Mapping[str, str], body: bytes, mono_ns: int) -> dict[str, object]:
        """The JSON object to answer a token request with."""
        error = self._refusal(headers, body, mono_ns)
        if error is not None:
            return {"error": [error]}
        token = secrets.token_urlsafe(33)
        self.issued[token] = mono_ns
        self.given += 1
        return {"error": [], "result": {"token": token, "expires": int(self._limits.token_s)}}

    def _refusal(self, headers: Mapping[str, str], body: bytes, mono_ns: int) -> Optional[str]:
        if mono_ns < self._locked_until_ns:
            return "EGeneral:Temporary lockout"
        if headers.get("API-Key") != self.api_key:
            self._invalid_keys += 1
            if self._invalid_keys >= self._limits.invalid_keys:
                self._locked_until_ns = mono_ns + int(self._limits.lockout_s * _NS_PER_S)
                self._invalid_keys = 0
            return "EAPI:Invalid key"
        self._invalid_keys = 0
        if not self._counter.take(1, mono_ns):
            return "EAPI:Rate limit exceeded"
        content_type = headers.get("Content-Type", "")
        nonce = _field(body, content_type, "nonce")
        if not self._signed(headers.get("API-Sign", ""), nonce, body):
            return "EAPI:Invalid signature"
        if not nonce.isascii() or not nonce.isdigit() or not self._last_nonce < int(nonce) <= _MAX_NONCE:
            return "EAPI:Invalid nonce"
        self._last_nonce = int(nonce)
        return None if self.permitted else "EGeneral:Permission denied"

    def _signed(self, signature: str, nonce: str, body: bytes) -> bool:
        digest = hashlib.sha256(nonce.encode() + body).digest()
        right = hmac.new(self._secret, TOKEN_PATH.encode() + digest, hashlib.sha512).digest()
        try:
            given = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, right)

    def good(self, token: object, mono_ns: int) -> bool:
        """Whether the token was given out here and is young enough."""
        at_ns = self.issued.get(token) if isinstance(token, str) else None
        return at_ns is not None and mono_ns - at_ns < self._limits.token_s * _NS_PER_S

    def expire_all(self) -> None:
        """All tokens given out so far are void from now on."""
        self.issued.clear()
