"""What happens to orders and books, in words that every layer shares.

The numbers stand in exported files: never renumber.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Action", "Classification", "MessageKind", "OrderEvent", "Reason", "Side", "State", "Verdict"]


class Side(enum.IntEnum):
    """Side of the book."""

    BID = 0
    ASK = 1
    NONE = 2


class MessageKind(enum.IntEnum):
    """Type of a message; UNREADABLE when the line is malformed as a whole."""

    SNAPSHOT = 0
    UPDATE = 1
    UNREADABLE = 2


class Verdict(enum.IntEnum):
    """What became of one message."""

    OK = 0
    MISMATCH = 1
    BEFORE_SNAPSHOT = 2
    UNVERIFIABLE = 3
    MALFORMED = 4


class Reason(enum.IntEnum):
    """Why a message is UNVERIFIABLE. The lower-case name is its key in tallies and reports."""

    NONE = 0
    NO_CHECKSUM = 1
    PRECISION = 2
    AFTER_GAP = 3
    TOO_MANY_ORDERS = 4
    TOO_MANY_SYMBOLS = 5
    TOO_LARGE = 6


class State(enum.IntEnum):
    """A symbol's book: none, in step, or differing (an incident is open)."""

    AWAITING_SNAPSHOT = 0
    SYNCED = 1
    DIVERGED = 2


class Action(enum.IntEnum):
    """What an event did to the book."""

    ADD = 0
    MODIFY = 1
    DELETE = 2
    EVICT = 3
    CLEAR = 4
    SNAPSHOT = 5


class Classification(enum.IntEnum):
    """What an event most likely was; `book.classification` has the rules."""

    NONE = 0
    NEW = 1
    REENTRY = 2
    AMEND = 3
    FILL = 4
    PARTIAL_FILL = 5
    CANCEL = 6
    REDUCTION = 7
    UNKNOWN = 8


class OrderEvent(NamedTuple):
    """One change of the book; prices and quantities are scaled integers, times nanoseconds (0: unknown).

    Attributes:
        order_ns, price, qty: of the resting order (after the change; before it for DELETE and EVICT).
        stated_ns, stated_qty: what the message itself said (a delete with quantity 0 is a fill).
        change: what was done to the resting quantity.
        level: 0 is the best; -1 for CLEAR, as are the next.
        queue_position: place in the level, 0 is served first.
        qty_ahead: quantity before it in the level.
    """

    side: Side
    action: Action
    classification: Classification
    order_id: str
    order_ns: int
    stated_ns: int
    price: int
    qty: int
    change: int
    stated_qty: int
    level: int
    queue_position: int
    qty_ahead: int
