"""The signature of a private REST request.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-auth
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from kraken_l3.errors import ConfigError

__all__ = ["decode_secret", "sign"]


def decode_secret(secret: str) -> bytes:
    """The key bytes of an API secret.

    Raises:
        ConfigError: it is not base64. The text itself is never part of the error.
    """
    try:
        key = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_secret() from error
    if not key:
        raise _bad_secret()
    return key


def _bad_secret() -> ConfigError:
    return ConfigError(
        "the secret is not valid base64",
        where="api_secret",
        hint="Copy the whole private key again from Kraken (Settings, API); it usually ends in '=='",
    )


def sign(path: str, nonce: int, body: bytes, key: bytes) -> str:
    """API-Sign: base64 of HMAC-SHA512(key, path + SHA256(nonce + body)), over exactly the bytes that are sent."""
    message = path.encode() + hashlib.sha256(str(nonce).encode() + body).digest()
    return base64.b64encode(hmac.new(key, message, hashlib.sha512).digest()).decode()
