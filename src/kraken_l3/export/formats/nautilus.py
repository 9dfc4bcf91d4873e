"""NautilusTrader's ParquetDataCatalog of OrderBookDelta, written by the installed nautilus_trader itself.

A snapshot is a Clear and Adds with F_SNAPSHOT; an eviction is a Delete. `ts_event` is Kraken's time of the message,
`ts_init` the receive time. A 64-bit number stands for the order id; `order_ids` beside the catalog leads back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from kraken_l3.errors import UsageError
from kraken_l3.export.formats.event_stream import BUY, Event, NumberedIds, RestingOrders, Source, write_days
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.storage import LocalStore
from kraken_l3.model.decimals import format_scaled

__all__ = ["export_nautilus"]

_LAST, _SNAPSHOT = 128, 32
_VENUE = "KRAKEN"


def export_nautilus(source: Source, directory: Path) -> list[str]:
    """The catalog's files for all days of a pair, below `directory`/nautilus.

    Raises:
        UsageError: nautilus_trader is not installed, or the directory is a URL.
    """
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ImportError:
        raise UsageError(
            "this export writes through nautilus_trader", hint="pip install nautilus_trader (Python 3.12 or later)"
        ) from None
    root = directory / "nautilus"
    root.mkdir(parents=True, exist_ok=True)
    catalog = ParquetDataCatalog(str(root))
    names = write_days(source, lambda day, price, qty: _Day(catalog, root, source.symbol, day, price, qty))
    return [f"nautilus/{name}" for name in names]


class _Day:
    def __init__(self, catalog: Any, root: Path, symbol: str, day: dt.date, price_scale: int, qty_scale: int) -> None:
        from nautilus_trader.model.identifiers import InstrumentId

        self._catalog, self._root = catalog, root
        self._instrument = InstrumentId.from_str(f"{symbol}.{_VENUE}")
        self._name = f"order_ids/{escape_symbol(symbol)}_{day.isoformat()}.csv"
        self._price_scale, self._qty_scale = price_scale, qty_scale
        self._ids = NumberedIds(64)
        self._deltas: list[Any] = []
        self._last_init_ns = 0

    def open_with(self, book: RestingOrders, at_ns: int) -> None:
        rows = [("CLEAR", None)]
        rows += [("ADD", (order_id, o.side, o.price, o.qty)) for order_id, o in book.in_order()]  # type: ignore[misc]
        self._message(rows, at_ns, at_ns, _SNAPSHOT)

    def message(self, events: Sequence[Event], before: RestingOrders) -> None:
        snapshot = events[0].action == "clear"
        rows: list[Any] = []
        for event in events:
            if event.action == "clear":
                rows.append(("CLEAR", None))
                continue
            word = {"delete": "DELETE", "evict": "DELETE", "modify": "UPDATE"}.get(event.action, "ADD")
            order = (event.order_id, event.side, event.price, event.qty)
            rested = before.by_id.get(event.order_id)
            if word == "UPDATE" and rested is not None and rested.order_ns != event.order_ns:
                rows += [("DELETE", order), ("ADD", order)]  # it lost its place
            else:
                rows.append((word, order))
        last = events[-1]
        self._message(rows, last.event_ns or last.recv_ns, last.recv_ns, _SNAPSHOT if snapshot else 0)

    def _message(self, rows: Sequence[tuple[str, Any]], event_ns: int, init_ns: int, flags: int) -> None:
        self._last_init_ns = max(init_ns, self._last_init_ns)
        for number, (word, order) in enumerate(rows, 1):
            last = _LAST if number == len(rows) else 0
            self._deltas.append(self._delta(word, order, flags | last, event_ns))

    def _delta(self, word: str, order: Optional[tuple[str, str, int, int]], flags: int, event_ns: int) -> Any:
        from nautilus_trader.model.data import BookOrder, OrderBookDelta
        from nautilus_trader.model.enums import BookAction, OrderSide
        from nautilus_trader.model.objects import Price, Quantity

        if order is None:
            return OrderBookDelta.clear(self._instrument, 0, event_ns, self._last_init_ns)
        order_id, side, price, qty = order
        book_order = BookOrder(
            side=OrderSide.BUY if side == BUY else OrderSide.SELL,
            price=Price.from_str(format_scaled(price, self._price_scale)),
            size=Quantity.from_str(format_scaled(qty, self._qty_scale)),
            order_id=self._ids[order_id],
        )
        return OrderBookDelta(
            instrument_id=self._instrument,
            action=BookAction[word],
            order=book_order,
            flags=flags,
            sequence=0,
            ts_event=event_ns,
            ts_init=self._last_init_ns,
        )

    def finish(self) -> list[str]:
        before = set(self._root.rglob("*.parquet"))
        self._catalog.write_data(self._deltas)
        made = sorted(path for path in self._root.rglob("*.parquet") if path not in before)
        names = [path.relative_to(self._root).as_posix() for path in made]
        return [*names, self._ids.write(LocalStore(self._root), self._name)]
