"""Kraken's REST errors: what to do about each, and what to tell the user.

    FATAL        stop and tell the user; the key is not used again for 15 minutes
    LOCKOUT      wait 15 minutes; every call in between makes it longer
    NONCE        retry once with a larger nonce, then FATAL
    BACK_OFF     retry with growing delays

Sources: https://docs.kraken.com/api/docs/guides/spot-errors and .../spot-rest-ratelimits
"""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["LOCKOUT_S", "REFUSED_KEY_S", "Action", "Refusal", "refusal_of", "throttled_until_s"]

#: How long a key that Kraken refused is left alone, restarts included: trying it on would lock the address out.
REFUSED_KEY_S = 900
#: How long a temporary lockout is waited out, and the longest wait for a throttled call.
LOCKOUT_S = 900


class Action(enum.Enum):
    """What to do about an error."""

    FATAL = "fatal"
    LOCKOUT = "lockout"
    NONCE = "nonce"
    BACK_OFF = "back off"


class Refusal(NamedTuple):
    """A REST error, what to do about it, and what the user can do."""

    action: Action
    error: str
    remedy: str


_PERMISSION = "Give the key the permission 'WebSocket interface - On' (kraken.com, Settings, API); it needs no other"
_KEY = "Copy api_key again from Kraken (Settings, API); make sure the key has not been deleted and has not expired"
_OWN_KEY = "Another program uses this key; create a key for the recorder alone"
_SHARED_LIMIT = "Other programs use up this account's rate limit; stop them or slow them down"
_TABLE: tuple[tuple[str, Action, str], ...] = (
    ("EAPI:Invalid key", Action.FATAL, _KEY),
    (
        "EAPI:Invalid signature",
        Action.FATAL,
        "Copy api_secret again from Kraken: it must be the complete private key that belongs to api_key",
    ),
    ("EGeneral:Permission denied", Action.FATAL, _PERMISSION),
    ("EAccount:Invalid permissions", Action.FATAL, _PERMISSION),
    (
        "EAuth:Account temporary disabled",
        Action.FATAL,
        "Sign in at kraken.com and follow the instructions there to enable the account",
    ),
    (
        "EAuth:Account unconfirmed",
        Action.FATAL,
        "Sign in at kraken.com and confirm the account",
    ),
    (
        "EGeneral:Temporary lockout",
        Action.LOCKOUT,
        "Too many calls with an invalid key came from this address; check the key, and stop other programs that use it",
    ),
    (
        "EAPI:Invalid nonce",
        Action.NONCE,
        "Another program uses this key, or has used it with larger nonces; create a key for the recorder alone",
    ),
    ("EAPI:Rate limit exceeded", Action.BACK_OFF, _OWN_KEY),
    ("EAuth:Rate limit exceeded", Action.BACK_OFF, _SHARED_LIMIT),
    (
        "EGeneral:Too many requests",
        Action.BACK_OFF,
        "Other programs at this address call Kraken too often",
    ),
    ("EAuth:Too many requests", Action.BACK_OFF, _SHARED_LIMIT),
    ("EService:Throttled", Action.BACK_OFF, "Nothing to do: the recorder retries at the time that Kraken names"),
    ("EService:Unavailable", Action.BACK_OFF, "Kraken is down or under maintenance; see status.kraken.com"),
    ("EService:Busy", Action.BACK_OFF, "Kraken is busy; see status.kraken.com"),
    ("EGeneral:Internal error", Action.BACK_OFF, "Kraken has an internal error; see status.kraken.com"),
)
_UNKNOWN = "This error is not in Kraken's list; the recorder retries. See status.kraken.com"


def refusal_of(errors: list[str]) -> Refusal:
    """The most serious error in a REST response. Entries that start with W are warnings and are ignored.

    Spaces and case are ignored ("EService: Throttled: 1700000000" occurs), and Kraken may append details. An unknown
    error is quoted as it is, and retried.
    """
    found = [_refusal(error) for error in errors if not error.startswith("W")]
    if not found:
        return Refusal(Action.BACK_OFF, "a response with neither a result nor an error", _UNKNOWN)
    gravity = list(Action)
    return min(found, key=lambda refusal: gravity.index(refusal.action))


def _refusal(error: str) -> Refusal:
    folded = _fold(error)
    for text, action, remedy in _TABLE:
        if folded.startswith(_fold(text)):
            return Refusal(action, error[:200], remedy)
    return Refusal(Action.BACK_OFF, error[:200], _UNKNOWN)


def _fold(text: str) -> str:
    return text.replace(" ", "").lower()


def throttled_until_s(error: str) -> int:
    """The time in "EService: Throttled: <unix time>", in seconds since 1970, else 0."""
    if not _fold(error).startswith(_fold("EService:Throttled")):
        return 0
    stamp = error.rsplit(":", 1)[-1].strip()
    return int(stamp) if stamp.isdigit() and len(stamp) < 12 else 0
