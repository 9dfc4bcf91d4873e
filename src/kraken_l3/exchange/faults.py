"""What can go wrong, as values: for tests in Python and for fault scripts in YAML.

Each fault says what happens (`do` in YAML is its name in lower case), when (at a time, or after a number of level3
messages), how often, and to which connection or symbol. `docs/exchange.md` lists them with examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import msgspec
import yaml

from kraken_l3.errors import ConfigError

__all__ = [
    "AckDepth",
    "Batch",
    "Close",
    "Corrupt",
    "Deaf",
    "Delay",
    "Drop",
    "Duplicate",
    "ExpireTokens",
    "Fault",
    "Flood",
    "Fragment",
    "Garbage",
    "Giant",
    "LateSnapshot",
    "Maintenance",
    "PairField",
    "PairStatus",
    "RefuseConnections",
    "Reject",
    "Reorder",
    "Respell",
    "Restamp",
    "Send",
    "Silence",
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
        at_s: seconds from the start of the exchange (or from the push) until the fault is live.
        after_messages: matching level3 messages that go out first, counted once the fault is live.
        every_messages: matching messages from one occurrence to the next (1: every message), if `times` is not 1.
        probability: instead of `every_messages`: the chance of each matching message or request; the seed decides.
        every_s: seconds from one occurrence to the next, if `times` is not 1 and no messages are counted.
        times: how often it occurs; 0 is for ever.
        connection: number of the only connection it affects; each endpoint numbers its connections from 1.
        symbol: affects only messages and requests of this symbol, or connections subscribed to it.
        public: affects connections of the public endpoint instead of the level3 endpoint.
    """

    at_s: float = 0.0
    after_messages: int = 0
    every_messages: int = 1
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    every_s: float = 1.0
    times: int = 1
    connection: Optional[int] = None
    symbol: Optional[str] = None
    public: bool = False


class Drop(Fault, frozen=True, kw_only=True):
    """The TCP connection ends without a close frame: RST, or FIN with `reset: false`."""

    reset: bool = True


class Close(Fault, frozen=True, kw_only=True):
    """The server closes with this code; `{token}` in the reason becomes the client's token."""

    code: int = 1001
    reason: str = ""


class Stall(Fault, frozen=True, kw_only=True):
    """The connection stays open but nothing is sent, not even pongs. After `for_s` the queue is sent (0: never)."""

    for_s: float = 0.0


class Slow(Fault, frozen=True, kw_only=True):
    """Limits the bytes per second to the client; messages queue and none is lost. `for_s` 0 is for ever."""

    bytes_per_s: float = 10_000.0
    for_s: float = 0.0


class Delay(Fault, frozen=True, kw_only=True):
    """A level3 message leaves `delay_s` later, and up to `jitter_s` more by chance.

    Whatever follows on the connection waits behind it, so that the order is kept. What is delayed when the connection
    drops is lost.
    """

    delay_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    jitter_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Silence(Fault, frozen=True, kw_only=True):
    """No level3 messages (of `symbol`) while heartbeats and answers go on; `for_s` 0 is for ever.

    At the end those of the silence are sent, or with `lose: true` they are lost.
    """

    for_s: float = 0.0
    lose: bool = False


class Skip(Fault, frozen=True, kw_only=True):
    """A level3 message is not sent."""


class Duplicate(Fault, frozen=True, kw_only=True):
    """A level3 message is sent twice."""


class Corrupt(Fault, frozen=True, kw_only=True):
    """A level3 message is sent with one digit of the checksum, a price or a quantity changed, or cut in the middle.

    `order_id` changes the last character of an order's id, which no checksum covers.
    """

    what: Literal["checksum", "price", "qty", "order_id", "cut"] = "checksum"


class Reorder(Fault, frozen=True, kw_only=True):
    """A level3 message is sent with its JSON keys in reverse order; numbers keep their text."""


class Respell(Fault, frozen=True, kw_only=True):
    """A level3 message is sent with its prices and quantities written in another way; their values stay the same.

    `short`: without zeros at the end of the decimals; `exponent`: as 1.5e-3; `quotes`: in quotes.
    """

    how: Literal["short", "exponent", "quotes"] = "short"


class Restamp(Fault, frozen=True, kw_only=True):
    """A level3 message is sent with its own timestamp moved by `by_ns`; those of its orders stay."""

    by_ns: int = 1_000


class Batch(Fault, frozen=True, kw_only=True):
    """A level3 update waits for the next of its symbol and comes with it as one message, under the next's checksum.

    It is sent alone before a snapshot. A book behind it may differ for once: no level is cut off between the two.
    """


class LateSnapshot(Fault, frozen=True, kw_only=True):
    """A level3 snapshot, and what follows it of its symbol, comes after `messages` messages of other symbols."""

    messages: int = 20


class Fragment(Fault, frozen=True, kw_only=True):
    """A level3 message is sent as a text frame and continuation frames, with a ping between."""

    pieces: int = 3


class Garbage(Fault, frozen=True, kw_only=True):
    """A frame that is no message: other text, broken JSON, nothing, bytes that are not UTF-8, binary, RSV1 set."""

    what: Literal["text", "json", "empty", "utf8", "binary", "rsv1"] = "text"


class Giant(Fault, frozen=True, kw_only=True):
    """A level3 message of this size, valid JSON, for a symbol that nobody knows."""

    size: int = 32 * 1024 * 1024


class Send(Fault, frozen=True, kw_only=True):
    """A text frame that no rule asks for, e.g. one that repeats the client's token.

    `{token}` becomes the last token that the client sent, `{token:escaped}` the same as JSON escapes. With `pieces`
    it comes as so many continuation frames.
    """

    text: str
    pieces: int = 1


class Flood(Fault, frozen=True, kw_only=True):
    """`count` messages of about `size` bytes at once.

    They are status messages, rejections, ping frames (of 125 bytes at most) or messages of an unknown channel. With
    `times` and `every_s` it goes on.
    """

    what: Literal["status", "reject", "ping", "unknown"] = "status"
    size: int = 60_000
    count: int = 100


class Deaf(Fault, frozen=True, kw_only=True):
    """The server reads nothing of the client: no request, no pong. `for_s` 0 is for ever."""

    for_s: float = 0.0


class Status(Fault, frozen=True, kw_only=True):
    """The engine changes its status; every connection is told. `more` is added, e.g. `upcoming_maintenance`."""

    system: str = "online"
    more: dict[str, Any] = {}


class PairStatus(Fault, frozen=True, kw_only=True):
    """`symbol` changes its status, told to the subscribers of the `instrument` channel."""

    status: str = "cancel_only"


class PairField(Fault, frozen=True, kw_only=True):
    """A field of `symbol` changes in the `instrument` channel, to any value: a precision of -3, say."""

    field: str
    value: Any


class Maintenance(Fault, frozen=True, kw_only=True):
    """A maintenance: announced in `status`, closes with 1001, no connections for `for_s`, then back by stages."""

    announce_s: float = 5.0
    for_s: float = 5.0
    stage_s: float = 1.0


class Reject(Fault, frozen=True, kw_only=True):
    """A level3 subscription is refused with this text. "Exceeded msg rate" is what the rate limit says."""

    error: str = "EGeneral:Internal error"


class AckDepth(Fault, frozen=True, kw_only=True):
    """A level3 subscription is acknowledged with this depth, whatever was asked for; the data is of the right one."""

    depth: int


class TokenError(Fault, frozen=True, kw_only=True):
    """A token request gets this error (HTTP 200), or with `http_status` a page that is no API answer.

    In `error` and in `reason`, the HTTP reason phrase, `{api_key}` and `{api_sign}` become those of the request.
    """

    error: str = "EService:Unavailable"
    http_status: int = 200
    reason: str = ""


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
    Delay,
    Silence,
    Skip,
    Duplicate,
    Corrupt,
    Reorder,
    Respell,
    Restamp,
    Batch,
    LateSnapshot,
    Fragment,
    Garbage,
    Giant,
    Send,
    Flood,
    Deaf,
    Status,
    PairStatus,
    PairField,
    Maintenance,
    Reject,
    AckDepth,
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
