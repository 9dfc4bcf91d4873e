"""The engine of the package `kraken_l3_native` behind the port: the same results as `python_engine`, much faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import kraken_l3_native

from kraken_l3.engine.port import (
    MAX_PRECISION,
    Bad,
    BookImage,
    EngineOptions,
    Note,
    Result,
    SymbolTally,
    Totals,
)
from kraken_l3.model.events import State

__all__ = ["NativeEngine"]

#: The interface that this file is written for; an installed package of another version is as good as none.
_PORT = 3
if getattr(kraken_l3_native, "PORT", None) != _PORT:
    raise ImportError(f"kraken_l3_native has port {getattr(kraken_l3_native, 'PORT', None)}, not {_PORT}")


class NativeEngine:
    """See `engine.Engine`. The interpreter lock is released while a block is processed."""

    name = "native"

    def __init__(self, options: EngineOptions = EngineOptions()) -> None:  # noqa: B008 - frozen
        wanted = options.rows
        rows = (wanted.levels, wanted.grid_ns, wanted.orders) if wanted is not None else None
        only = set(options.only) if options.only is not None else None
        self._core = kraken_l3_native.Engine(options.messages, options.events, rows, options.part, only)

    def set_symbol(
        self,
        symbol: str,
        *,
        price_precision: Optional[int] = None,
        qty_precision: Optional[int] = None,
        depth: Optional[int] = None,
    ) -> None:
        """See `Engine.set_symbol`."""
        for precision in (price_precision, qty_precision):
            if precision is not None and not 0 <= precision <= MAX_PRECISION:
                raise ValueError(f"precision {precision} is not in 0..{MAX_PRECISION}")
        if depth is not None and depth < 1:
            raise ValueError(f"depth {depth} is not positive")
        self._core.set_symbol(symbol, price_precision, qty_precision, depth)

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        """See `Engine.feed`."""
        return _result(self._core.feed(block, first_line, offset, recv_ns))

    def advance(self, recv_ns: int) -> Result:
        """See `Engine.advance`."""
        return _result(self._core.advance(recv_ns))

    def invalidate(self, symbol: Optional[str] = None) -> list[Note]:
        """See `Engine.invalidate`."""
        return [Note(*note) for note in self._core.invalidate(symbol)]

    def load_book(self, image: BookImage) -> bool:
        """See `Engine.load_book`."""
        loaded: bool = self._core.load_book(image.symbol, image.message, image.newest_ns, list(image.amending))
        return loaded

    def export_book(self, symbol: str) -> Optional[BookImage]:
        """See `Engine.export_book`."""
        exported = self._core.export_book(symbol)
        if exported is None:
            return None
        message, newest_ns, amending = exported
        return BookImage(symbol, message, newest_ns, tuple(amending))

    def symbols(self) -> Sequence[str]:
        """See `Engine.symbols`."""
        symbols: list[str] = self._core.symbols()
        return symbols

    def tallies(self) -> list[SymbolTally]:
        """See `Engine.tallies`."""
        return [_tally(fields) for fields in self._core.tallies()]

    def totals(self) -> Totals:
        """See `Engine.totals`."""
        return Totals(*self._core.totals())


def _result(raw: tuple[Any, ...]) -> Result:
    lines, messages, events, overflow_ids, rows, notes = raw
    return Result(lines, messages, events, overflow_ids, rows, [Note(*note) for note in notes])


def _tally(fields: dict[str, Any]) -> SymbolTally:
    first_bad = fields.pop("first_bad")
    state = State(fields.pop("state"))
    return SymbolTally(state=state, first_bad=Bad(*first_bad) if first_bad is not None else None, **fields)
