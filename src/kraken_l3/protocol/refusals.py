"""What Kraken's REST errors mean for us: what to do, and the sentence that tells the user what to change.

    FATAL        stop and tell the user; the key is not tried again for 15 minutes
    LOCKOUT      wait 15 minutes; asking makes it longer
    NONCE        ask once more with a larger nonce, then FATAL
    BACK_OFF     try again later, with growing delays

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
    """One REST error, understood."""

    action: Action
    error: str
    remedy: str


_PERMISSION = "Give the key the permission 'WebSocket interface - On' (Settings, API, Other); it needs no other"
_KEY = "Check api_key: copy it again from Kraken (Settings, API), and see that the key was not deleted or expired"
_TABLE: tuple[tuple[str, Action, str], ...] = (
    ("EAPI:Invalid key", Action.FATAL, _KEY),
    (
        "EAPI:Invalid signature",
        Action.FATAL,
        "Check api_secret: it must be the private key that belongs to api_key, whole, without spaces",
    ),
    ("EGeneral:Permission denied", Action.FATAL, _PERMISSION),
    ("EAccount:Invalid permissions", Action.FATAL, _PERMISSION),
    (
        "EAuth:Account temporary disabled",
        Action.FATAL,
        "Sign in at kraken.com: the account is disabled until you do what it asks",
    ),
    (
        "EAuth:Account unconfirmed",
        Action.FATAL,
        "Sign in at kraken.com and confirm the account",
    ),
    (
        "EGeneral:Temporary lockout",
        Action.LOCKOUT,
        "Too many calls with a wrong key from here; check the key, and that nothing else uses it",
    ),
    (
        "EAPI:Invalid nonce",
        Action.NONCE,
        "Another program uses this key, or used a larger nonce with it: make a key for the recorder alone",
    ),
    ("EAPI:Rate limit exceeded", Action.BACK_OFF, "Other programs use this key; make one for the recorder alone"),
    ("EAuth:Rate limit exceeded", Action.BACK_OFF, "Other programs use this account's limit"),
    ("EGeneral:Too many requests", Action.BACK_OFF, "Other programs behind this address ask Kraken too often"),
    ("EAuth:Too many requests", Action.BACK_OFF, "Other programs use this account's limit"),
    ("EService:Throttled", Action.BACK_OFF, "Kraken names the time from which on it answers again"),
    ("EService:Unavailable", Action.BACK_OFF, "Kraken is down or in maintenance; see status.kraken.com"),
    ("EService:Busy", Action.BACK_OFF, "Kraken is busy; see status.kraken.com"),
    ("EGeneral:Internal error", Action.BACK_OFF, "Kraken has an internal error; see status.kraken.com"),
)
_UNKNOWN = "This error is not in Kraken's list; it is treated as passing"


def refusal_of(errors: list[str]) -> Refusal:
    """The gravest of the errors in a REST answer. Entries that start with W are warnings and do not count.

    Texts are compared without spaces and case ("EService: Throttled: 1700000000" is one of them); Kraken may append a
    detail. An unknown text is passed on as it is and treated as passing.
    """
    found = [_refusal(error) for error in errors if not error.startswith("W")]
    if not found:
        return Refusal(Action.BACK_OFF, "an answer without result and without error", _UNKNOWN)
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
    """The moment named by "EService: Throttled: <unix time>" in seconds since 1970, else 0."""
    if not _fold(error).startswith(_fold("EService:Throttled")):
        return 0
    stamp = error.rsplit(":", 1)[-1].strip()
    return int(stamp) if stamp.isdigit() and len(stamp) < 12 else 0
