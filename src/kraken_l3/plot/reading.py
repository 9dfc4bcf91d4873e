"""What pictures are drawn from, as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kraken_l3.api import Archive
from kraken_l3.archive.reader import open_archive
from kraken_l3.export.day_trades import TRADE, DayTrades
from kraken_l3.model.events import Side
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
    files = open_archive(archive.path)
    found = [DayTrades(files, day, [symbol]).of(symbol) for day in files.days]
    records = np.concatenate(found) if found else np.zeros(0, TRADE)
    times = np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])
    records = records[(times >= span.start_ns) & (times < span.end_ns) & ~records["is_recent"]]
    times = np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])
    return Trades(times, records["price"] / 10.0 ** records["price_scale"], records["taker_side"] == Side.BID)
