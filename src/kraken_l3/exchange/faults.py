"""What can go wrong, as values: for tests in Python and for fault scripts in YAML.

Each fault says what happens (`do` in YAML is the lower-case name) and when: at a time, after so many level3 messages,
on which connection, for which symbol, how often. `docs/exchange.md` lists them with examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Optional, Union

import msgspec
import yaml

from kraken_l3.errors import ConfigError

__all__ = [
    "Close",
    "Corrupt",
    "Drop",
    "Duplicate",
    "ExpireTokens",
    "Fault",
    "Fragment",
    "Garbage",
    "Giant",
    "Maintenance",
    "PairStatus",
    "RefuseConnections",
    "Reject",
    "Skip",
    "Slow",
    "Stall",
    "Status",
    "TokenError",
    "load_script",
]


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag=str.lower, forbid_unknown_fields=True):
    """What all faults have in common: when.

    Attributes:
        at_s: seconds after the start of the exchange (or after the push) from which it is live.
        after_messages: so many level3 messages that match go out first, counted from `at_s` on.
        every_messages: with `times` over 1: it comes again each so many matching messages (1: each of them).
        every_s: with `times` over 1 and no count of messages: seconds between two times.
        times: how often; 0 is for ever.
        connection: only this one; the connections of an endpoint are numbered from 1 as they are made.
        symbol: only messages and requests of this symbol, or connections that are subscribed to it.
        public: connections of the public endpoint instead of level3's.
    """

    at_s: float = 0.0
    after_messages: int = 0
    every_messages: int = 1
    every_s: float = 1.0
    times: int = 1
    connection: Optional[int] = None
    symbol: Optional[str] = None
    public: bool = False


class Drop(Fault, frozen=True, kw_only=True):
    """The TCP connection ends without a close frame: RST, or FIN with `reset: false`."""

    reset: bool = True


class Close(Fault, frozen=True, kw_only=True):
    """The server closes with this code."""

    code: int = 1001
    reason: str = ""


class Stall(Fault, frozen=True, kw_only=True):
    """Half-open silence: nothing comes any more, not even pongs. After `for_s` all that waited comes (0: never)."""

    for_s: float = 0.0


class Slow(Fault, frozen=True, kw_only=True):
    """The way to the client carries only so much; messages queue and none is lost. `for_s` 0 is for ever."""

    bytes_per_s: float = 10_000.0
    for_s: float = 0.0


class Skip(Fault, frozen=True, kw_only=True):
    """A level3 message is not sent."""


class Duplicate(Fault, frozen=True, kw_only=True):
    """A level3 message is sent twice."""


class Corrupt(Fault, frozen=True, kw_only=True):
    """A level3 message is sent with one digit of the checksum, a price or a quantity changed, or cut in the middle."""

    what: Literal["checksum", "price", "qty", "cut"] = "checksum"


class Fragment(Fault, frozen=True, kw_only=True):
    """A level3 message is sent as a text frame and continuation frames, with a ping between."""

    pieces: int = 3


class Garbage(Fault, frozen=True, kw_only=True):
    """A frame that is no message: other text, broken JSON, nothing, bytes that are not UTF-8, binary, RSV1 set."""

    what: Literal["text", "json", "empty", "utf8", "binary", "rsv1"] = "text"


class Giant(Fault, frozen=True, kw_only=True):
    """A level3 message of this size, valid JSON, for a symbol that nobody knows."""

    size: int = 32 * 1024 * 1024


class Status(Fault, frozen=True, kw_only=True):
    """The engine changes its status; every connection is told. `more` is added, e.g. `upcoming_maintenance`."""

    system: str = "online"
    more: dict[str, Any] = {}


class PairStatus(Fault, frozen=True, kw_only=True):
    """`symbol` changes its status, told to the subscribers of the `instrument` channel."""

    status: str = "cancel_only"


class Maintenance(Fault, frozen=True, kw_only=True):
    """A maintenance: announced in `status`, closes with 1001, no connections for `for_s`, then back by stages."""

    announce_s: float = 5.0
    for_s: float = 5.0
    stage_s: float = 1.0


class Reject(Fault, frozen=True, kw_only=True):
    """A level3 subscription is refused with this text. "Exceeded msg rate" is what the rate limit says."""

    error: str = "EGeneral:Internal error"


class TokenError(Fault, frozen=True, kw_only=True):
    """A token request gets this error (HTTP 200), or with `http_status` a page that is no API answer."""

    error: str = "EService:Unavailable"
    http_status: int = 200


class ExpireTokens(Fault, frozen=True, kw_only=True):
    """All tokens given out so far become void (a living subscription keeps its own)."""


class RefuseConnections(Fault, frozen=True, kw_only=True):
    """New WebSocket connections are refused for `for_s` seconds, by default as Cloudflare's rate limit does."""

    for_s: float = 5.0
    http_status: int = 429


AnyFault = Union[
    Drop,
    Close,
    Stall,
    Slow,
    Skip,
    Duplicate,
    Corrupt,
    Fragment,
    Garbage,
    Giant,
    Status,
    PairStatus,
    Maintenance,
    Reject,
    TokenError,
    ExpireTokens,
    RefuseConnections,
]


def load_script(path: Path) -> list[Fault]:
    """The faults of a YAML file, a list of mappings.

    Raises:
        ConfigError: the file cannot be read, or is no list of faults; the text names the entry.
    """
    try:
        return list(msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")) or [], list[AnyFault]))
    except OSError as error:
        raise ConfigError(f"cannot read the fault script: {error.strerror}", where=str(path)) from error
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"not a fault script: {text}", where=str(path), hint="See docs/exchange.md") from error
