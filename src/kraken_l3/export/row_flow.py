"""Order flow imbalance between one book row and the next, for wide snapshots."""

from __future__ import annotations

from typing import Optional

import numpy as np

from kraken_l3.engine.port import Engine
from kraken_l3.export.bars import Bars
from kraken_l3.export.best_changes import BestChanges
from kraken_l3.export.records import RecordBuilder, Records, ResultRecords
from kraken_l3.rebuild.playback import Step

__all__ = ["FlowBuilder"]


class FlowBuilder(RecordBuilder):
    """Makes book rows with the fields `ofi`, `ofi_scale` (its decimals) and `has_ofi`: whether it is known.

    It is not known in a symbol's first row, which no other precedes.

    Args:
        engine: gives the rows; on a grid with the best rows beside them.
        levels: of a row.
        grid_ns: spacing of the rows; None for one at every change.
    """

    def __init__(self, engine: Engine, levels: int, grid_ns: Optional[int]) -> None:
        super().__init__(engine, levels, orders=True, grid=grid_ns is not None, flow=True)
        self._bars = Bars(grid_ns) if grid_ns is not None else None
        self._best = BestChanges()
        self._seen = np.zeros(0, bool)

    def build(self, step: Step) -> ResultRecords:
        """See `RecordBuilder.build`. What flowed is summed up at once: it goes on from what came before."""
        results = super().build(step)
        results.flow = self._at_changes(results) if self._bars is None else self._on_grid(results, self._bars)
        return results

    def _on_grid(self, results: ResultRecords, bars: Bars) -> dict[str, Records]:
        rows = results.book_rows
        sums = bars.take(results, rows["symbol"], rows["at_ns"])
        has_ofi = self._follow_another(rows["symbol"])
        return {"ofi": sums["amounts"][:, -1], "ofi_scale": sums["qty_scale"], "has_ofi": has_ofi}

    def _at_changes(self, results: ResultRecords) -> dict[str, Records]:
        symbol, rows = results.rows_of_all()
        best = (
            {name: rows[name][:, 0] for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")} if len(symbol) else {}
        )
        imbalance, _ = self._best.follow(symbol, best, results.begins_anew(symbol, rows["line"]))
        return {"ofi": imbalance, "ofi_scale": rows["qty_scale"], "has_ofi": self._follow_another(symbol)}

    def _follow_another(self, symbol: Records) -> Records:
        """Which of the rows follow another of their symbol."""
        missing = int(symbol.max(initial=-1)) + 1 - len(self._seen)
        self._seen = np.append(self._seen, np.zeros(max(0, missing), bool))
        follows = np.ones(len(symbol), bool)
        here, first = np.unique(symbol, return_index=True)
        follows[first] = self._seen[here]
        self._seen[here] = True
        return follows
