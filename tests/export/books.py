"""Books as the Python engine has them after each line: the answers that exported rows are held against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.rebuild.metadata import metadata_in

Levels = list[tuple[float, float]]


def lines_with_times(path: Path) -> Iterator[tuple[int, bytes]]:
    for line in open_archive(path).lines():
        yield (line.receipt.recv_ns if line.receipt else 0), line.payload


class Oracle:
    """Feeds lines one by one and tells the book of a symbol by reading the engine's own snapshot text."""

    def __init__(self, path: Path) -> None:
        self.engine = PythonEngine(EngineOptions())
        for fact in metadata_in(open_archive(path)):
            self.engine.set_symbol(
                fact.symbol, price_precision=fact.price_precision, qty_precision=fact.qty_precision, depth=fact.depth
            )
        self._lines = iter(lines_with_times(path))
        self._next: Optional[tuple[int, bytes]] = next(self._lines, None)
        self.fed = 0

    def go_to(self, recv_ns: int) -> None:
        """Apply everything received at or before a moment."""
        while self._next is not None and self._next[0] <= recv_ns:
            self.step()

    def step(self) -> tuple[int, bytes]:
        assert self._next is not None
        time_ns, payload = self._next
        self.engine.feed(payload + b"\n", self.fed, 0)
        self.fed += 1
        self._next = next(self._lines, None)
        return time_ns, payload

    def orders(self, symbol: str) -> Optional[dict[str, list[dict[str, Any]]]]:
        image = self.engine.export_book(symbol)
        if image is None:
            return None
        data = json.loads(image.message, parse_float=Decimal, parse_int=Decimal)["data"][0]
        return {side: data[side] for side in ("bids", "asks")}

    def top(self, symbol: str, levels: int) -> Optional[tuple[Levels, Levels]]:
        orders = self.orders(symbol)
        if orders is None:
            return None
        return _levels(orders["bids"], levels), _levels(orders["asks"], levels)


def _levels(orders: Sequence[dict[str, Any]], count: int) -> Levels:
    totals: dict[Decimal, Decimal] = {}
    for order in orders:
        totals[order["limit_price"]] = totals.get(order["limit_price"], Decimal(0)) + order["order_qty"]
    return [(float(price), float(qty)) for price, qty in list(totals.items())[:count]]
