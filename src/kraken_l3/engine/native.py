"""The engine of the package `kraken_l3_native` behind the port: the same results as `engine.python`, much faster.

A native engine gives up the interpreter lock while it works: several can work in Python threads at a time. Several
of them, each with its share of the symbols, can be fed a block together (`ThreadedNativeEngine`): they share the
scanning of its lines, so that even one pair keeps two cores busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional
from zlib import crc32

import kraken_l3_native

from kraken_l3.engine.parse import is_symbol
from kraken_l3.engine.port import (
    MAX_PRECISION,
    Bad,
    BookImage,
    Columns,
    EngineOptions,
    Note,
    Result,
    SymbolTally,
    Totals,
)
from kraken_l3.engine.routing import Owner, Routing
from kraken_l3.model.events import State

if TYPE_CHECKING:
    from kraken_l3_native import _Note, _Tally

__all__ = ["NativeEngine", "ThreadedNativeEngine"]


_INT64_END = 1 << 63


class NativeEngine:
    """See `engine.port.Engine`."""

    name = "native"

    def __init__(self, options: EngineOptions = EngineOptions()) -> None:  # noqa: B008 - frozen
        wanted = options.rows
        rows = (wanted.levels, wanted.grid_ns, wanted.orders) if wanted is not None else None
        only = {name for name in options.only if is_symbol(name)} if options.only is not None else None
        self._routing = Routing(options) if options.part[1] > 1 or options.only is not None else None
        self.core = kraken_l3_native.Engine(
            options.messages, options.events, rows, options.part, only, options.until_ns
        )
        self._best = _BestRows(options.part, only) if options.best else None

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
        if is_symbol(symbol):
            self.core.set_symbol(symbol, price_precision, qty_precision, depth)
            if self._best is not None:
                self._best.core.set_symbol(symbol, price_precision, qty_precision, depth)

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        """See `Engine.feed`."""
        result = _result(*self.core.feed(block, first_line, offset, recv_ns))
        if self._best is not None:
            result.best = self._best.feed(block, first_line, offset, recv_ns)
        return result

    def advance(self, recv_ns: int) -> Result:
        """See `Engine.advance`."""
        result = _result(*self.core.advance(recv_ns))
        if self._best is not None:
            *_, result.best, _ = self._best.core.advance(recv_ns)
        return result

    def invalidate(self, symbol: Optional[str] = None) -> list[Note]:
        """See `Engine.invalidate`."""
        if symbol is not None and not is_symbol(symbol):
            return []
        if self._best is not None:
            self._best.core.invalidate(symbol)
        return [Note(*note) for note in self.core.invalidate(symbol)]

    def load_book(self, image: BookImage) -> bool:
        """See `Engine.load_book`."""
        if not is_symbol(image.symbol) or not -_INT64_END <= image.newest_ns < _INT64_END:
            return False
        if self._routing is not None and self._routing.of_symbol(image.symbol.encode()) is not Owner.OWN:
            return False
        loaded = self.core.load_book(image.symbol, image.message, image.newest_ns, list(image.amending))
        if self._best is not None:
            self._best.load_book(image, wanted=loaded)
        return loaded

    def export_book(self, symbol: str) -> Optional[BookImage]:
        """See `Engine.export_book`."""
        exported = self.core.export_book(symbol) if is_symbol(symbol) else None
        if exported is None:
            return None
        message, newest_ns, amending = exported
        return BookImage(symbol, message, newest_ns, tuple(amending))

    def symbols(self) -> Sequence[str]:
        """See `Engine.symbols`."""
        return self.core.symbols()

    def tallies(self) -> list[SymbolTally]:
        """See `Engine.tallies`."""
        return [_tally(fields) for fields in self.core.tallies()]

    def totals(self) -> Totals:
        """See `Engine.totals`."""
        return Totals(*self.core.totals())


class _BestRows:
    """The best rows of an engine: a core gives one kind of rows, so they come from one of their own.

    Measured, it adds a third to what an export spends in the engine, and a tenth to what it spends in all.
    """

    def __init__(self, part: tuple[int, int], only: Optional[set[str]]) -> None:
        self.core = kraken_l3_native.Engine(False, False, (1, None, False), part, only, None)
        self._loaded: list[Columns] = []

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes]) -> Columns:
        *_, rows, _ = self.core.feed(block, first_line, offset, recv_ns)
        pieces, self._loaded = [*self._loaded, rows], []
        return {name: b"".join(piece[name] for piece in pieces) for name in pieces[-1]}

    def load_book(self, image: BookImage, *, wanted: bool) -> None:
        """As a snapshot, which is what a book that is loaded counts as, for a snapshot has a row."""
        if wanted:
            *_, rows, _ = self.core.feed(image.message + b"\n", -1, 0, None)
            self._loaded.append({**rows, "verdict": bytes(len(rows["verdict"]))})  # OK, as of every book that is loaded
        else:  # the symbol has a number all the same
            self.core.load_book(image.symbol, image.message, image.newest_ns, list(image.amending))


class ThreadedNativeEngine:
    """Several native engines as one `engine.port.Engine` that judges messages but has no columns."""

    name = "native"

    def __init__(self, jobs: int, only: Optional[frozenset[str]] = None) -> None:
        self._engines = [NativeEngine(EngineOptions(part=(part, jobs), only=only)) for part in range(jobs)]

    def set_symbol(
        self,
        symbol: str,
        *,
        price_precision: Optional[int] = None,
        qty_precision: Optional[int] = None,
        depth: Optional[int] = None,
    ) -> None:
        """See `Engine.set_symbol`."""
        self._owner(symbol).set_symbol(
            symbol, price_precision=price_precision, qty_precision=qty_precision, depth=depth
        )

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        """See `Engine.feed`. Without rows nobody needs the receive times."""
        lines, told = kraken_l3_native.feed_shares([engine.core for engine in self._engines], block, first_line, offset)
        notes = [Note(*note) for notes in told for note in notes]
        notes.sort(key=lambda note: note.line)  # as one engine tells them, but for those of one line
        return Result(lines=lines, notes=notes)

    def advance(self, recv_ns: int) -> Result:
        """See `Engine.advance`: there are no rows here."""
        for engine in self._engines:
            engine.advance(recv_ns)
        return Result()

    def invalidate(self, symbol: Optional[str] = None) -> list[Note]:
        """See `Engine.invalidate`."""
        return [note for engine in self._engines for note in engine.invalidate(symbol)]

    def load_book(self, image: BookImage) -> bool:
        """See `Engine.load_book`."""
        return self._owner(image.symbol).load_book(image)

    def export_book(self, symbol: str) -> Optional[BookImage]:
        """See `Engine.export_book`."""
        return self._owner(symbol).export_book(symbol)

    def symbols(self) -> Sequence[str]:
        """All symbols, those of one engine after those of another."""
        return [symbol for engine in self._engines for symbol in engine.symbols()]

    def tallies(self) -> list[SymbolTally]:
        """One tally a symbol, in the order of `symbols`."""
        return [tally for engine in self._engines for tally in engine.tallies()]

    def totals(self) -> Totals:
        """See `Engine.totals`."""
        totals = [engine.totals() for engine in self._engines]
        lines = totals[0].lines
        return Totals(
            lines=lines,
            not_data=sum(part.not_data for part in totals),
            malformed=sum(part.malformed for part in totals),
            # Each line that is wanted at all is passed over by every engine but one.
            skipped=sum(part.skipped for part in totals) - lines * (len(totals) - 1),
            too_many_symbols=sum(part.too_many_symbols for part in totals),
            level3_elsewhere=sum(part.level3_elsewhere for part in totals),
        )

    def _owner(self, symbol: str) -> NativeEngine:
        return self._engines[crc32(symbol.encode("utf-8", "surrogatepass")) % len(self._engines)]


def _tally(fields: _Tally) -> SymbolTally:
    bad = fields["first_bad"]
    dressed: dict[str, Any] = {**fields, "state": State(fields["state"]), "first_bad": bad and Bad(*bad)}
    return SymbolTally(**dressed)


def _result(
    lines: int,
    messages: Columns,
    events: Columns,
    overflow_ids: dict[int, str],
    rows: Columns,
    notes: list[_Note],
) -> Result:
    return Result(lines, messages, events, overflow_ids, rows, notes=[Note(*note) for note in notes])
