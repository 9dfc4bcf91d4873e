"""What pictures are drawn from, as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kraken_l3.api import Archive, doubles
from kraken_l3.plot.picture import Span

__all__ = ["Trades", "ladders", "span_text", "trades_of"]


class Trades(NamedTuple):
    """Trades in columns: receive time in ns (without receipts the trade's own), price, and whether the taker bought."""

    times: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    buys: npt.NDArray[np.bool_]


def span_text(step_ns: int) -> str:
    """A spacing as `every` takes it."""
    return f"{step_ns // 10**6}ms"


def ladders(
    archive: Archive, symbol: str, span: Span, step_ns: int, levels: int
) -> tuple[npt.NDArray[np.int64], list[Any], list[Any]]:
    """Times on a grid, and the bids and asks at each: lists of (price, quantity), best first. None in gaps."""
    times, bids, asks = [], [], []
    rows = archive.books(symbol, span_text(step_ns), levels, start=span.start_ns, end=span.end_ns + 1)
    for row in rows:
        times.append(row.timestamp_ns)
        bids.append(row.bids)
        asks.append(row.asks)
    return np.array(times, np.int64), bids, asks


def trades_of(archive: Archive, symbol: str, span: Span) -> Trades:
    """The recorded trades of a span; none where none were recorded."""
    table = archive.trades(symbol, start=span.start_ns, end=span.end_ns).read_all()
    table = table.filter(pc.invert(table["is_recent"]))  # which may have happened long before
    times = pc.coalesce(table["ts_recv"], table["ts_event"]).cast(pa.int64()).to_numpy()
    prices = doubles(table)["price"].to_numpy(zero_copy_only=False)
    return Trades(times, prices, pc.equal(table["taker_side"].cast("string"), "buy").to_numpy(zero_copy_only=False))
