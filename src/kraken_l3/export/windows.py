"""What a book row says of the recorded window: depth by distance from the mid, sums of levels, how far it reaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from kraken_l3.export.records import Records
from kraken_l3.export.schema import DEPTH_BPS, IMBALANCE_LEVELS

__all__ = ["WINDOW", "windows"]

_SIDES = ("bid", "ask")
#: A window, each pair of numbers of bids and asks; prices and quantities are integers with the row's scales.
#:
#: best: prices, -1 where there is none. levels: quantities of the best levels, so many as `IMBALANCE_LEVELS` says.
#: depth: quantities within `DEPTH_BPS` of the mid, -1 where they are not known. edge: the price of the last level of a
#: side, behind which there may be more; -1 where the whole side is recorded. total, orders: of the side.
WINDOW = np.dtype(
    [
        ("price_scale", "i1"),
        ("qty_scale", "i1"),
        ("best", "<i8", (2,)),
        ("levels", "<i8", (len(IMBALANCE_LEVELS), 2)),
        ("depth", "<i8", (len(DEPTH_BPS), 2)),
        ("edge", "<i8", (2,)),
        ("total", "<i8", (2,)),
        ("orders", "<i8", (2,)),
    ]
)
_LARGEST = (1 << 63) - 1
_ROWS_AT_ONCE = 2_048
_WHOLE = 10_000  # basis points


def windows(rows: Any, depth: Records) -> Records:
    """One `WINDOW` a book row.

    Args:
        rows: book rows with the numbers of their orders, as `records.ResultRecords` has them.
        depth: of the recorded book, in levels.
    """
    made = np.zeros(len(depth), WINDOW)
    made["price_scale"], made["qty_scale"] = rows["price_scale"], rows["qty_scale"]
    for start in range(0, len(made), _ROWS_AT_ONCE):  # a thousand levels of many rows are much to hold at once
        some = slice(start, start + _ROWS_AT_ONCE)
        names = [f"{side}_{name}" for side in _SIDES for name in ("price", "qty", "orders")]
        _fill(made[some], {name: rows[name][some] for name in names}, depth[some])
    return made


def _fill(made: Records, columns: dict[str, Records], depth: Records) -> None:
    prices = [columns[f"{side}_price"] for side in _SIDES]
    made["best"] = np.stack([price[:, 0] for price in prices], axis=1)
    has_mid = (made["best"] >= 0).all(axis=1)
    twice_mid = np.where(has_mid, made["best"].sum(axis=1), 0)
    for side, (name, price) in enumerate(zip(_SIDES, prices)):
        count = (price >= 0).sum(axis=1)
        used = max(1, int(count.max()))
        sums = _running_sums(columns[f"{name}_qty"][:, :used])
        row = np.arange(len(made))
        last = np.maximum(count - 1, 0)
        is_cut = (count > 0) & (count >= np.minimum(depth, price.shape[1]))
        made["edge"][:, side] = np.where(is_cut, price[row, last], -1)
        made["total"][:, side] = sums[row, last]
        made["orders"][:, side] = columns[f"{name}_orders"][:, :used].sum(axis=1)
        for index, levels in enumerate(IMBALANCE_LEVELS):
            made["levels"][:, index, side] = sums[:, min(levels, used) - 1]
        for index, bps in enumerate(DEPTH_BPS):
            limit = _limit(twice_mid, bps, side)
            edge = made["edge"][:, side]
            is_within = _within(price[:, :used], limit.reshape(-1, 1), side)
            within = (is_within & (price[:, :used] >= 0)).sum(axis=1)
            is_known = has_mid & ((edge < 0) | ~_within(edge, limit, side) | (edge == limit))
            depths = np.where(within > 0, sums[row, np.maximum(within - 1, 0)], 0)
            made["depth"][:, index, side] = np.where(is_known, depths, -1)


def _limit(twice_mid: Records, bps: int, side: int) -> Records:
    """The farthest price within a distance of the mid; without a product that would not fit 64 bits."""
    whole, rest = np.divmod(twice_mid, 2 * _WHOLE)
    if side == 0:
        return whole * (_WHOLE - bps) - -(rest * (_WHOLE - bps)) // (2 * _WHOLE)
    return whole * (_WHOLE + bps) + rest * (_WHOLE + bps) // (2 * _WHOLE)


def _within(price: Records, limit: Records, side: int) -> Records:
    within: Records = price >= limit if side == 0 else price <= limit
    return within


def _running_sums(quantities: Records) -> Records:
    sums = np.cumsum(quantities, axis=1)
    if float(quantities.max(initial=0)) * quantities.shape[1] >= _LARGEST:
        sums[np.cumsum(quantities.astype(float), axis=1) >= _LARGEST] = _LARGEST
    return sums
