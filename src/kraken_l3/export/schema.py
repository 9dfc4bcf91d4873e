"""The tables: their columns, versions, and the words behind the numbers.

Prices and quantities of `events` are exact: a 64-bit integer and, in a column of its own, how many of its digits are
decimals. A pair's precision may change within a day, so a scale in the file's head could not be true; int64 also
writes and reads several times as fast as decimal128 (docs/export.md has the measurement). Those of `snapshots` are
doubles, each the nearest to its exact value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa

from kraken_l3.model.events import Action, Classification, Reason, Side, Verdict

__all__ = [
    "ACTIONS",
    "BAD_RECEIVE_TIME",
    "CLASSIFICATIONS",
    "DEPTH_BPS",
    "EVENTS",
    "EVENTS_VERSION",
    "FEATURES",
    "FEATURES_VERSION",
    "IMBALANCE_LEVELS",
    "LAST",
    "MAYBE_BAD_BOOK",
    "SIDES",
    "SNAPSHOT",
    "SNAPSHOTS",
    "SNAPSHOTS_VERSION",
    "TAKERS",
    "TIME",
    "TRADES",
    "TRADES_VERSION",
    "VERDICTS",
    "VERDICT_CODES",
    "WORD",
    "snapshots_schema",
    "words",
]

EVENTS_VERSION = "3"
FEATURES_VERSION = "1"
SNAPSHOTS_VERSION = "2"
TRADES_VERSION = "1"

# Bits of `flags`, as Databento defines them (dbn `flags.rs`).
LAST = 128
SNAPSHOT = 32
BAD_RECEIVE_TIME = 8
MAYBE_BAD_BOOK = 4

TIME = pa.timestamp("ns", tz="UTC")
WORD = pa.dictionary(pa.int8(), pa.string())


def words(values: Sequence[str]) -> pa.Array:
    """The words of a column of `WORD`, by their numbers."""
    # not `pa.array`, which imports pandas where it is installed: 0.3 s for a look at the type of a list
    ends = struct.pack(f"{len(values) + 1}i", *accumulate((len(value) for value in values), initial=0))
    letters = "".join(values).encode("ascii")
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(letters)])


SIDES = words([side.name.lower() for side in Side])
ACTIONS = words([action.name.lower() for action in Action])
CLASSIFICATIONS = words([classification.name.lower() for classification in Classification])

_REASONS = [f"unverifiable_{reason.name.lower()}" for reason in Reason if reason is not Reason.NONE]
#: Words of a verdict; one that is unverifiable names its reason.
VERDICTS = words([*(verdict.name.lower() for verdict in Verdict), *_REASONS])
#: Index into `VERDICTS` by verdict and reason.
VERDICT_CODES = [[verdict.value for _ in Reason] for verdict in Verdict]
VERDICT_CODES[Verdict.UNVERIFIABLE][1:] = range(len(Verdict), len(VERDICTS))

EVENTS = pa.schema(
    [
        pa.field("ts_recv", TIME),
        pa.field("ts_event", TIME),
        pa.field("ts_order", TIME),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("side", WORD, nullable=False),
        pa.field("action", WORD, nullable=False),
        pa.field("classification", WORD, nullable=False),
        pa.field("order_id", pa.string()),
        pa.field("price", pa.int64()),
        pa.field("price_scale", pa.int8(), nullable=False),
        pa.field("qty", pa.int64()),
        pa.field("qty_change", pa.int64()),
        pa.field("qty_scale", pa.int8(), nullable=False),
        pa.field("level", pa.int32()),
        pa.field("queue_position", pa.int32()),
        pa.field("qty_ahead", pa.int64()),
        pa.field("verdict", WORD, nullable=False),
        pa.field("flags", pa.uint8(), nullable=False),
        pa.field("trade_id", pa.int64()),
        pa.field("fill_confidence", pa.float32()),
    ]
)

#: Who took the liquidity, by the side of the book on which a taker's order would rest.
TAKERS = words(["buy", "sell"])

TRADES = pa.schema(
    [
        pa.field("ts_recv", TIME),
        pa.field("ts_event", TIME),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("trade_id", pa.int64(), nullable=False),
        pa.field("taker_side", WORD),
        pa.field("price", pa.int64(), nullable=False),
        pa.field("price_scale", pa.int8(), nullable=False),
        pa.field("qty", pa.int64(), nullable=False),
        pa.field("qty_scale", pa.int8(), nullable=False),
        pa.field("is_recent", pa.bool_(), nullable=False),
    ]
)

_DOUBLES = pa.list_(pa.float64())

#: What Crank and Mentat read: these five and nothing else.
SNAPSHOTS = pa.schema(
    [
        pa.field("timestamp", TIME),
        pa.field("bid_prices", _DOUBLES),
        pa.field("bid_qtys", _DOUBLES),
        pa.field("ask_prices", _DOUBLES),
        pa.field("ask_qtys", _DOUBLES),
    ]
)

_COUNTS = pa.list_(pa.uint32())
_WIDE = [
    pa.field("ts_event", TIME),
    pa.field("line", pa.int64(), nullable=False),
    pa.field("verdict", WORD, nullable=False),
    pa.field("suspect", pa.bool_(), nullable=False),
    pa.field("mid", pa.float64()),
    pa.field("spread", pa.float64()),
    pa.field("microprice", pa.float64()),
    pa.field("imbalance", pa.float64()),
    pa.field("ofi", pa.float64()),
    pa.field("bid_orders", _COUNTS),
    pa.field("ask_orders", _COUNTS),
]
_OVER_GAP = pa.field("over_gap", pa.bool_(), nullable=False)


def _both_sides(names: str, kind: pa.DataType, *, nullable: bool = False) -> list[pa.Field]:
    return [pa.field(f"{side}_{name}", kind, nullable=nullable) for name in names.split() for side in ("bid", "ask")]


#: Distances from the mid within which `features` tells the depth, in basis points.
DEPTH_BPS = (1, 5, 10, 25, 50)
#: Numbers of levels whose imbalance it tells.
IMBALANCE_LEVELS = (1, 5, 10)

FEATURES = pa.schema(
    [
        pa.field("timestamp", TIME),
        pa.field("mid", pa.float64()),
        pa.field("spread", pa.float64()),
        pa.field("microprice", pa.float64()),
        *_both_sides(" ".join(f"depth_{bps}bps" for bps in DEPTH_BPS), pa.float64(), nullable=True),
        *_both_sides("window_bps", pa.float64(), nullable=True),
        *_both_sides("window_qty", pa.float64()),
        *_both_sides("orders", pa.uint32()),
        *(pa.field(f"imbalance_{levels}", pa.float64()) for levels in IMBALANCE_LEVELS),
        *_both_sides("arrivals", pa.uint32()),
        *_both_sides("arrival_qty", pa.float64()),
        *_both_sides("cancels", pa.uint32()),
        *_both_sides("cancel_qty", pa.float64()),
        *_both_sides("fills", pa.uint32()),
        *_both_sides("fill_qty", pa.float64()),
        pa.field("ofi", pa.float64(), nullable=False),
        pa.field("trades", pa.uint32()),
        pa.field("volume", pa.float64()),
        pa.field("vwap", pa.float64()),
        pa.field("signed_volume", pa.float64()),
        pa.field("realised_variance", pa.float64(), nullable=False),
        pa.field("messages", pa.uint32(), nullable=False),
        pa.field("verified", pa.float64()),
        pa.field("mean_lag_ns", pa.float64()),
        pa.field("suspect", pa.bool_(), nullable=False),
        pa.field("over_gap", pa.bool_(), nullable=False),
    ]
)


def snapshots_schema(*, wide: bool, over_gap: bool) -> pa.Schema:
    """The columns of `snapshots` with those that were asked for."""
    fields = list(SNAPSHOTS)
    if wide:
        fields += _WIDE
    if over_gap:
        fields.append(_OVER_GAP)
    return pa.schema(fields)
