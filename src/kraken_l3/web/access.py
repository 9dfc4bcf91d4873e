"""Who may ask: the check of the Host header, the token, and the headers that tell browsers what the page may do."""

from __future__ import annotations

import hashlib
import hmac
from typing import Optional

from aiohttp import web

from kraken_l3.errors import UsageError
from kraken_l3.model.address import Address, is_loopback
from kraken_l3.redaction import SECRETS

__all__ = ["HEADERS", "SHORTEST_TOKEN", "Access"]

SHORTEST_TOKEN = 16
#: The page loads only its own files, sends data nowhere else, and is shown in no other page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "kraken-l3",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Access:
    """Decides on requests by their headers.

    Without a token only this machine is served, and only under a name of its own: else a page of a stranger could have
    its name resolve to 127.0.0.1 and read what is served here (DNS rebinding). With a token any name will do, since a
    browser sends the cookie to no other.

    Args:
        address: where the server listens.
        token: what a client has to show ("": none): in `Authorization: Bearer`, or once as `?token=` in a browser,
            which gets a cookie for it.

    Raises:
        UsageError: the address can be reached from other machines and there is no token, or the token is too short.
    """

    def __init__(self, address: Address, token: str = "") -> None:
        if not token and not is_loopback(address.host):
            raise UsageError(
                f"{address} can be reached from other machines, and there is no token",
                hint="Use 127.0.0.1, or set KRAKEN_L3_HTTP_TOKEN to a long random text",
            )
        if token and not (len(token) >= SHORTEST_TOKEN and token.isascii() and token.isprintable()):
            raise UsageError(f"a token must have at least {SHORTEST_TOKEN} printable ASCII characters")
        SECRETS.remember(token, "token")
        self._token = token
        self._cookie = hmac.new(token.encode(), b"kraken-l3 page", hashlib.sha256).hexdigest()
        # Cookies know no ports: two recorders on one machine would sign each other out.
        self._cookie_name = f"kraken-l3-{address.port}"

    def refusal(self, request: web.Request) -> Optional[web.Response]:
        """The answer to a request that is not to be served; None where it is."""
        if not self._token:
            if _is_own_name(request.headers.get("Host", "")):
                return None
            return web.Response(status=403, text="ask for this page as http://localhost or http://127.0.0.1\n")
        if _is_equal(request.headers.get("Authorization", ""), f"Bearer {self._token}"):
            return None
        if _is_equal(request.cookies.get(self._cookie_name, ""), self._cookie):
            return None
        if _is_equal(request.query.get("token", ""), self._token):
            return self._let_in(request)
        headers = {"WWW-Authenticate": "Bearer"}
        return web.Response(status=401, text="a token is needed: open /?token=TOKEN once\n", headers=headers)

    def _let_in(self, request: web.Request) -> web.Response:
        """Lead to the same path without the token, which would stay in the browser's history."""
        response = web.Response(status=303, headers={"Location": request.path})
        response.set_cookie(self._cookie_name, self._cookie, httponly=True, samesite="Strict", path="/")
        return response


def _is_equal(shown: str, expected: str) -> bool:
    """In a time that does not tell how much of it is right."""
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), expected.encode())


def _is_own_name(host: str) -> bool:
    """Whether a Host header names this machine, with or without a port."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return is_loopback(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
