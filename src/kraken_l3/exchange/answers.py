"""How requests are answered: acknowledgements, rejections, and what stands in all of them. Texts out, no sockets.

Kraken does not list the texts of its errors; those here were seen in the wild unless a comment says INVENTED.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from kraken_l3.model.timestamps import format_rfc3339

__all__ = [
    "ALREADY", "BAD_DEPTH", "INVALID_SESSION", "MALFORMED", "NOT_FOUND", "RATE", "TOO_MANY", "UNKNOWN_CHANNEL",
    "UNKNOWN_PAIR", "Answer", "Now", "Refused", "Request", "acknowledge", "finish", "flag_in", "reject", "symbols_in",
]  # fmt: skip

MALFORMED = "Malformed request"
UNKNOWN_CHANNEL = "Subscription name invalid"
INVALID_SESSION = "ESession:Invalid session"
BAD_DEPTH = "Subscription depth not supported"
UNKNOWN_PAIR = "Currency pair not supported {symbol}"
ALREADY = "Already subscribed"
NOT_FOUND = "Subscription Not Found"
RATE = "Exceeded msg rate"
TOO_MANY = "Exceeded symbols per connection"  # INVENTED: Kraken's text for the 201st symbol is not known

#: A request, decoded.
Request = dict[str, Any]


class Now(NamedTuple):
    """One moment on both clocks, in ns."""

    wall_ns: int
    mono_ns: int


class Answer(NamedTuple):
    """A text to send; `channel` is "answer" or the data channel whose snapshot it is, `symbol` whose."""

    payload: bytes
    channel: str = "answer"
    symbol: str = ""


class Refused(Exception):
    """The whole request is refused."""

    def __init__(self, error: str, extra: Mapping[str, object] = {}) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


def symbols_in(params: Mapping[str, Any]) -> list[str]:
    """The symbols that a request names.

    Raises:
        Refused: it names none, or not as a list of strings.
    """
    symbols = params.get("symbol")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
        raise Refused(MALFORMED)
    return symbols


def flag_in(params: Mapping[str, Any], name: str, default: bool) -> bool:
    """A field that is true or false.

    Raises:
        Refused: it is neither.
    """
    value = params.get(name, default)
    if not isinstance(value, bool):
        raise Refused(MALFORMED)
    return value


def acknowledge(request: Request, now: Now, symbol: str, more: Mapping[str, object] = {}) -> Answer:
    """A subscription, or its end, is accepted for one symbol."""
    params = request["params"]
    result: dict[str, object] = {"channel": params["channel"]}
    if type(params.get("depth")) is int:
        result["depth"] = params["depth"]
    result.update(more)
    result["symbol"] = symbol
    return finish({"method": request["method"], "result": result, "success": True}, request, now)


def reject(request: Request, now: Now, method: str, error: str, **extra: object) -> Answer:
    """A request, or one symbol of it, is refused."""
    return finish({"error": error, "method": method, "success": False, **extra}, request, now)


def finish(answer: dict[str, object], request: Request, now: Now) -> Answer:
    """The answer with the request's id and the times that every answer has."""
    req_id = request.get("req_id")
    if isinstance(req_id, int) and not isinstance(req_id, bool):
        answer["req_id"] = req_id
    answer["time_in"] = _micros(now.wall_ns)
    answer["time_out"] = _micros(now.wall_ns + 21_000)
    text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    return Answer(text.encode("utf-8", "replace"))


def _micros(ns: int) -> str:
    return format_rfc3339(ns)[:-4] + "Z"
