"""The columns of `orders`, and how lives become rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kraken_l3.export.arrow import array_of, bitmap_of, bools_of, ids_of, times_of, words_of
from kraken_l3.export.orders.life import FAR, LIFE, MIDS, NO_MID, Birth, Certainty, EndCause
from kraken_l3.export.records import Records
from kraken_l3.export.schema import SIDES, TIME, WORD, words
from kraken_l3.model.events import Side

__all__ = ["ORDERS", "ORDERS_VERSION", "to_arrow"]

ORDERS_VERSION = "1"

_BIRTHS = words([birth.name.lower() for birth in Birth])
_END_CAUSES = words([cause.name.lower() for cause in EndCause])
_CERTAINTIES = words([certainty.name.lower() for certainty in Certainty])

_MID_FIELDS = [pa.field(name, pa.int64()) for names in MIDS.values() for name in names]
ORDERS = pa.schema(
    [
        pa.field("ts_first_seen", TIME),
        pa.field("ts_order", TIME),
        pa.field("order_id", pa.string(), nullable=False),
        pa.field("side", WORD, nullable=False),
        pa.field("birth", WORD, nullable=False),
        pa.field("left_censored", pa.bool_(), nullable=False),
        pa.field("price", pa.int64(), nullable=False),
        pa.field("price_scale", pa.int8(), nullable=False),
        pa.field("qty", pa.int64(), nullable=False),
        pa.field("qty_scale", pa.int8(), nullable=False),
        pa.field("distance_ticks", pa.int64()),
        pa.field("distance_bps", pa.float64()),
        pa.field("level", pa.int32(), nullable=False),
        pa.field("queue_position", pa.int32(), nullable=False),
        pa.field("qty_ahead", pa.int64(), nullable=False),
        pa.field("orders_ahead", pa.int32()),
        pa.field("amends", pa.int32(), nullable=False),
        pa.field("reentries", pa.int32(), nullable=False),
        pa.field("fills", pa.int32(), nullable=False),
        pa.field("ts_first_fill", TIME),
        pa.field("first_fill_qty", pa.int64()),
        pa.field("ts_last_fill", TIME),
        pa.field("last_fill_qty", pa.int64()),
        pa.field("filled_qty", pa.int64(), nullable=False),
        pa.field("fill_confidence", pa.float32()),
        pa.field("reduced_qty", pa.int64(), nullable=False),
        pa.field("ts_end", TIME),
        pa.field("end_cause", WORD, nullable=False),
        pa.field("right_censored", pa.bool_(), nullable=False),
        pa.field("certainty", WORD, nullable=False),
        pa.field("time_in_book_ns", pa.int64()),
        pa.field("time_in_window_ns", pa.int64()),
        pa.field("mid_scale", pa.int8(), nullable=False),
        *_MID_FIELDS,
        pa.field("suspect", pa.bool_(), nullable=False),
    ]
)

_COLUMNS = {field.name: field.type for field in ORDERS if field.name in (LIFE.names or ()) and not field.nullable}
_AS_THEY_ARE = {name: kind for name, kind in _COLUMNS.items() if kind not in (WORD, pa.string(), pa.bool_())}
_LEFT_CENSORED = (Birth.REENTRY, Birth.SNAPSHOT, Birth.UNKNOWN)
_RIGHT_CENSORED = (EndCause.EVICT, EndCause.GAP, EndCause.END_OF_DATA)


def to_arrow(lives: Records, overflow_ids: Sequence[str]) -> pa.Table:
    """Rows of lives. `overflow_ids`: see `records.OVERFLOW_ID`."""
    columns = {name: array_of(kind, lives[name]) for name, kind in _AS_THEY_ARE.items()}
    for name in ("ts_first_seen", "ts_order", "ts_first_fill", "ts_last_fill", "ts_end"):
        columns[name] = times_of(lives[name])
    side, distance, price = lives["side"], lives["distance_ticks"], lives["price"]
    best = np.where(side == Side.ASK, price - distance, price + distance)
    is_near = distance != FAR
    has_best = is_near & (best > 0)
    bps = np.divide(distance * 1e4, best, out=np.zeros(len(best)), where=has_best)
    filled, timed = lives["fills"] > 0, (lives["ts_first_seen"] > 0) & (lives["ts_end"] > 0)
    confidence, ahead = lives["fill_confidence"], lives["orders_ahead"]
    columns |= {
        "order_id": ids_of(lives["order_id"], overflow_ids),
        "side": words_of(SIDES, side),
        "birth": words_of(_BIRTHS, lives["birth"]),
        "left_censored": bools_of(np.isin(lives["birth"], _LEFT_CENSORED)),
        "distance_ticks": array_of(pa.int64(), distance, bitmap_of(is_near)),
        "distance_bps": array_of(pa.float64(), bps, bitmap_of(has_best)),
        "orders_ahead": array_of(pa.int32(), ahead, bitmap_of(ahead >= 0)),
        "first_fill_qty": array_of(pa.int64(), lives["first_fill_qty"], bitmap_of(filled)),
        "last_fill_qty": array_of(pa.int64(), lives["last_fill_qty"], bitmap_of(filled)),
        "fill_confidence": array_of(pa.float32(), confidence, bitmap_of(~np.isnan(confidence))),
        "end_cause": words_of(_END_CAUSES, lives["end_cause"]),
        "right_censored": bools_of(np.isin(lives["end_cause"], _RIGHT_CENSORED)),
        "certainty": words_of(_CERTAINTIES, lives["certainty"]),
        "time_in_book_ns": array_of(pa.int64(), lives["ts_end"] - lives["ts_first_seen"], bitmap_of(timed)),
        "time_in_window_ns": array_of(pa.int64(), lives["time_in_window_ns"], bitmap_of(timed)),
        "suspect": bools_of(lives["suspect"]),
        "mid_scale": array_of(pa.int8(), lives["price_scale"] + np.int8(1)),
    }
    for field in _MID_FIELDS:
        columns[field.name] = array_of(pa.int64(), lives[field.name], bitmap_of(lives[field.name] != NO_MID))
    return pa.table([columns[name] for name in ORDERS.names], ORDERS)
