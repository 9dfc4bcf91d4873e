"""The smallest steps of a pair's prices and quantities, which backtests ask for."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NamedTuple, Optional

from kraken_l3.archive.journal import Instruments
from kraken_l3.archive.reader import Archive
from kraken_l3.export.formats.event_stream import NewDay

__all__ = ["Increments", "increments"]


class Increments(NamedTuple):
    """Exact."""

    price: Decimal
    qty: Decimal


def increments(archive: Archive, day: NewDay) -> Increments:
    """As the `instrument` channel told them first on a day; where it did not, one unit of the last decimal."""
    told: tuple[Optional[str], Optional[str]] = (None, None)
    for record in archive.journal(day.date):
        pairs = record.instruments if isinstance(record, Instruments) else ()
        pair = next((pair for pair in pairs if pair.symbol == day.symbol), None)
        if pair is not None:  # at the start of each day's journal
            told = pair.price_increment, pair.qty_increment
            break
    return Increments(_step(told[0], day.price_scale), _step(told[1], day.qty_scale))


def _step(text: Optional[str], scale: int) -> Decimal:
    try:
        step = Decimal(text or 0)
    except InvalidOperation:
        step = Decimal(0)
    return step if step.is_finite() and step > 0 else Decimal(1).scaleb(-scale)
