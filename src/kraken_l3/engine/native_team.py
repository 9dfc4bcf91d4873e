"""Native engines in threads, each with its share of the symbols, fed with the same blocks: several cores, one reading.

A native engine gives up the interpreter lock while it works, so that threads do what processes would, without reading
the file and counting its lines once for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Optional
from zlib import crc32

from kraken_l3.engine.native import NativeEngine
from kraken_l3.engine.port import BookImage, EngineOptions, Note, Result, SymbolTally, Totals

__all__ = ["NativeTeam"]


class NativeTeam:
    """Several engines as one `engine.Engine` that judges messages but has no columns."""

    name = "native"

    def __init__(self, jobs: int, only: Optional[frozenset[str]] = None) -> None:
        self._engines = [NativeEngine(EngineOptions(part=(part, jobs), only=only)) for part in range(jobs)]
        self._pool = ThreadPoolExecutor(jobs)

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
        """See `Engine.feed`."""
        running = [self._pool.submit(engine.feed, block, first_line, offset, recv_ns) for engine in self._engines]
        results = [future.result() for future in running]
        return Result(lines=results[0].lines, notes=_in_order([note for result in results for note in result.notes]))

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
        )

    def _owner(self, symbol: str) -> NativeEngine:
        return self._engines[crc32(symbol.encode()) % len(self._engines)]


def _in_order(notes: list[Note]) -> list[Note]:
    return sorted(notes, key=lambda note: note.line)
