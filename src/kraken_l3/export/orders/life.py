"""What is known of one life of an order: a record, and its words."""

from __future__ import annotations

import enum

import numpy as np

from kraken_l3.engine.port import ORDER_ID_BYTES

__all__ = ["FAR", "HORIZONS_NS", "LIFE", "LONGEST_NS", "MIDS", "NO_DAY", "NO_MID", "Birth", "Certainty", "EndCause"]


class Birth(enum.IntEnum):
    """How an order was first seen at its price."""

    NEW = 0
    AMEND = 1
    REENTRY = 2
    SNAPSHOT = 3
    UNKNOWN = 4


class EndCause(enum.IntEnum):
    """Why it was seen no longer."""

    FILL = 0
    CANCEL = 1
    AMEND = 2
    EVICT = 3
    GAP = 4
    END_OF_DATA = 5
    UNKNOWN = 6


class Certainty(enum.IntEnum):
    """How sure that is."""

    CERTAIN = 0
    LIKELY = 1
    UNSURE = 2


#: After a birth, and after a first fill: when the mid price is looked at, by what its column's name ends in.
HORIZONS_NS = {"": 0, "_100ms": 100_000_000, "_1s": 1_000_000_000, "_10s": 10_000_000_000}
LONGEST_NS = max(HORIZONS_NS.values())
MIDS = {event: [f"mid_{event}{name}" for name in HORIZONS_NS] for event in ("birth", "fill")}
#: A mid price that is not known; they have one decimal more than prices.
NO_MID = -1
#: A distance that is not known.
FAR = -(1 << 63)
#: A file whose name tells no day.
NO_DAY = -(1 << 31)

#: Times are 0 where not known. `day` is that of the file in which the order was first seen, counted from 1970.
LIFE = np.dtype(
    [
        ("ts_first_seen", "<i8"),
        ("ts_order", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("distance_ticks", "<i8"),
        ("qty_ahead", "<i8"),
        ("ts_first_fill", "<i8"),
        ("first_fill_qty", "<i8"),
        ("ts_last_fill", "<i8"),
        ("last_fill_qty", "<i8"),
        ("filled_qty", "<i8"),
        ("reduced_qty", "<i8"),
        ("ts_end", "<i8"),
        ("time_in_window_ns", "<i8"),
        *((name, "<i8") for names in MIDS.values() for name in names),
        ("order_id", f"S{ORDER_ID_BYTES}"),
        ("level", "<i4"),
        ("queue_position", "<i4"),
        ("orders_ahead", "<i4"),
        ("amends", "<i4"),
        ("reentries", "<i4"),
        ("fills", "<i4"),
        ("day", "<i4"),
        ("fill_confidence", "<f4"),
        ("side", "u1"),
        ("birth", "u1"),
        ("end_cause", "u1"),
        ("certainty", "u1"),
        ("suspect", "?"),
        ("price_scale", "i1"),
        ("qty_scale", "i1"),
    ]
)
