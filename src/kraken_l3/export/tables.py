"""Records to Arrow tables: buffers as they are, words by their numbers, doubles made once and last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import MAX_PRECISION
from kraken_l3.export.fills import Matcher
from kraken_l3.export.records import OVERFLOW_ID, Records
from kraken_l3.export.schema import ACTIONS, CLASSIFICATIONS, EVENTS, SIDES, TIME, VERDICTS, snapshots_schema
from kraken_l3.model.events import Action

__all__ = ["events_table", "snapshots_table", "to_doubles"]

#: Below this every integer is a double, and a division by a power of ten rounds once: to the nearest double.
_EXACT = 1 << 53
_POWERS = np.array([float(10**digits) for digits in range(MAX_PRECISION + 1)])


def _array(kind: pa.DataType, values: Records, valid: Optional[Records] = None) -> pa.Array:
    """An array over the values' own memory; where not `valid` it is null."""
    bitmap = None
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def _words(words: pa.Array, numbers: Records) -> pa.Array:
    return pa.DictionaryArray.from_arrays(_array(pa.int8(), numbers), words)


def _times(values: Records) -> pa.Array:
    return _array(TIME, values, values != 0)


def events_table(records: Records, overflow_ids: Sequence[str], matcher: Optional[Matcher] = None) -> pa.Table:
    """Events of one symbol.

    Args:
        records: of `records.EVENT`.
        overflow_ids: ids that did not fit.
        matcher: finds the fills' trades, where trades were recorded.
    """
    rests = records["action"] != Action.CLEAR
    if matcher is not None:
        classification, trade_ids, confidence = matcher.match(records)
    else:
        classification, trade_ids = records["classification"], np.full(len(records), -1)
        confidence = np.full(len(records), np.nan, np.float32)
    columns = {
        "ts_recv": _times(records["ts_recv"]),
        "ts_event": _times(records["ts_event"]),
        "ts_order": _times(records["ts_order"]),
        "line": _array(pa.int64(), records["line"]),
        "side": _words(SIDES, records["side"]),
        "action": _words(ACTIONS, records["action"]),
        "classification": _words(CLASSIFICATIONS, classification),
        "order_id": _ids(records["order_id"], rests, overflow_ids),
        "price": _array(pa.int64(), records["price"], rests),
        "price_scale": _array(pa.int8(), records["price_scale"]),
        "qty": _array(pa.int64(), records["qty"], rests),
        "qty_change": _array(pa.int64(), records["change"], rests),
        "qty_scale": _array(pa.int8(), records["qty_scale"]),
        "level": _array(pa.int32(), records["level"], rests),
        "queue_position": _array(pa.int32(), records["queue_position"], rests),
        "qty_ahead": _array(pa.int64(), records["qty_ahead"], rests),
        "verdict": _words(VERDICTS, records["verdict"]),
        "flags": _array(pa.uint8(), records["flags"]),
        "trade_id": _array(pa.int64(), trade_ids, trade_ids >= 0),
        "fill_confidence": _array(pa.float32(), confidence, ~np.isnan(confidence)),
    }
    return pa.table([columns[name] for name in EVENTS.names], EVENTS)


def _ids(ids: Records, valid: Records, overflow_ids: Sequence[str]) -> pa.Array:
    """Ids without their padding; UTF-8."""
    ids = np.ascontiguousarray(ids)
    letters = ids.view(np.uint8).reshape(len(ids), ids.dtype.itemsize)
    if overflow_ids and (letters[:, 0] == OVERFLOW_ID[0]).any():
        return _overflow_ids(ids, valid, overflow_ids)
    used = letters != 0
    ends = np.zeros(len(ids) + 1, np.int32)
    np.cumsum(used.sum(axis=1), out=ends[1:])
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(ids), [bitmap, pa.py_buffer(ends), pa.py_buffer(letters[used])])


def _overflow_ids(ids: Records, valid: Records, overflow_ids: Sequence[str]) -> pa.Array:
    texts = [overflow_ids[int(text[1:])] if text.startswith(OVERFLOW_ID) else text.decode() for text in ids.tolist()]
    return pa.array([text if ok else None for text, ok in zip(texts, valid)], pa.string())


def to_doubles(mantissas: Records, scales: Records) -> Records:
    """The doubles nearest to mantissa / 10**scale."""
    doubles = mantissas / _POWERS[scales]
    wide = np.flatnonzero(np.abs(mantissas) >= _EXACT)
    if len(wide):
        scales = np.broadcast_to(scales, mantissas.shape)
        doubles.flat[wide] = [int(m) / 10 ** int(s) for m, s in zip(mantissas.flat[wide], scales.flat[wide])]
    return doubles


def snapshots_table(records: Records, *, wide: bool = False, over_gap: bool = False) -> pa.Table:
    """Book rows of one symbol."""
    schema = snapshots_schema(wide=wide, over_gap=over_gap)
    price_scale, qty_scale = records["price_scale"], records["qty_scale"]
    columns: dict[str, Any] = {"timestamp": _times(records["timestamp"])}
    for side in ("bid", "ask"):
        prices = records[f"{side}_price"]
        there = prices >= 0
        columns[f"{side}_prices"] = _lists(prices, price_scale, there)
        columns[f"{side}_qtys"] = _lists(records[f"{side}_qty"], qty_scale, there)
    if wide:
        columns.update(_wide_columns(records))
    if over_gap:
        columns["over_gap"] = pa.array(records["over_gap"])
    return pa.table([columns[name] for name in schema.names], schema)


def _lists(mantissas: Records, scales: Records, there: Records) -> pa.Array:
    if there.all():
        mantissas = np.ascontiguousarray(mantissas)
        doubles = to_doubles(mantissas, _powers_of(scales, mantissas))
    else:
        doubles = to_doubles(mantissas[there], np.repeat(scales, there.sum(axis=1)))
    return pa.ListArray.from_arrays(_ends(there), pa.array(doubles.reshape(-1)))


def _ends(there: Records) -> pa.Array:
    """Where each row's levels end."""
    if there.all():
        return pa.array(np.arange(len(there) + 1, dtype=np.int32) * np.int32(there.shape[1]))
    return pa.array(np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32))


def _order_counts(records: Records, side: str) -> pa.Array:
    there = records[f"{side}_price"] >= 0
    return pa.ListArray.from_arrays(_ends(there), pa.array(records[f"{side}_orders"][there]))


def _powers_of(scales: Records, mantissas: Records) -> Records:
    """One scale where all are the same, which is the rule; else one a row."""
    return scales[0] if len(scales) and (scales == scales[0]).all() else scales.reshape(-1, 1)


def _wide_columns(records: Records) -> dict[str, pa.Array]:
    bid, ask = records["bid_price"][:, 0], records["ask_price"][:, 0]
    bid_qty, ask_qty = records["bid_qty"][:, 0], records["ask_qty"][:, 0]
    both = (bid >= 0) & (ask >= 0)
    scales = records["price_scale"]
    weight = np.where(both, bid_qty.astype(float) + ask_qty, 1.0)
    weight[weight == 0] = np.nan
    best_bid, best_ask = to_doubles(bid, scales), to_doubles(ask, scales)
    microprice = (best_bid * ask_qty + best_ask * bid_qty) / weight
    imbalance = (bid_qty.astype(float) - ask_qty) / weight
    return {
        "ts_event": _times(records["ts_event"]),
        "line": _array(pa.int64(), records["line"]),
        "verdict": _words(VERDICTS, records["verdict"]),
        "suspect": pa.array(records["suspect"]),
        "mid": _doubles(to_doubles(bid + ask, scales) / 2, both),
        "spread": _doubles(to_doubles(ask - bid, scales), both),
        "microprice": _doubles(microprice, both & ~np.isnan(microprice)),
        "imbalance": _doubles(imbalance, both & ~np.isnan(imbalance)),
        "bid_orders": _order_counts(records, "bid"),
        "ask_orders": _order_counts(records, "ask"),
    }


def _doubles(values: Records, valid: Records) -> pa.Array:
    return _array(pa.float64(), values, valid)
