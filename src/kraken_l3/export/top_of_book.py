"""What the best bid and ask tell: mid, spread, microprice, imbalance. From exact integers to doubles, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from kraken_l3.export.arrow import array_of, bitmap_of, to_doubles
from kraken_l3.export.records import Records

__all__ = ["imbalance", "top_of_book"]


def top_of_book(bid: Records, ask: Records, bid_qty: Records, ask_qty: Records, scales: Records) -> dict[str, Any]:
    """The columns `mid`, `spread` and `microprice`; null where a side has no orders.

    Args:
        bid: best prices as integers; -1 where there is none.
        ask: likewise.
        bid_qty: what rests there.
        ask_qty: likewise.
        scales: decimals of the prices.
    """
    both = (bid >= 0) & (ask >= 0)
    there = bitmap_of(both)
    weight = np.where(both, bid_qty.astype(float) + ask_qty, 1.0)
    weight[weight == 0] = np.nan
    microprice = (to_doubles(bid, scales) * ask_qty + to_doubles(ask, scales) * bid_qty) / weight
    return {
        "mid": array_of(pa.float64(), to_doubles(bid + ask, scales) / 2, there),
        "spread": array_of(pa.float64(), to_doubles(ask - bid, scales), there),
        "microprice": array_of(pa.float64(), microprice, bitmap_of(both & ~np.isnan(microprice))),
    }


def imbalance(bid_qty: Records, ask_qty: Records, both: Records) -> pa.Array:
    """(bid - ask) / (bid + ask) of quantities; null where not `both` sides have orders."""
    weight = np.where(both, bid_qty.astype(float) + ask_qty, 1.0)
    weight[weight == 0] = np.nan
    shares = (bid_qty.astype(float) - ask_qty) / weight
    return array_of(pa.float64(), shares, bitmap_of(both & ~np.isnan(shares)))
