"""What is counted while a day is played: arrays with a row for each symbol, so that a block costs a few calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

import numpy as np

from kraken_l3.engine.port import EVENT_COLUMNS, MESSAGE_COLUMNS, ROW_COLUMNS, Result
from kraken_l3.export.clock import Times
from kraken_l3.model.events import Action, Classification, MessageKind, Verdict
from kraken_l3.report.histogram import Histograms, count_places

__all__ = ["GRID_NS", "LEVELS", "MINUTES", "DayCounts", "Scales"]

MINUTES = 1440
#: The book is looked at every minute, and so many levels of it.
GRID_NS = 60 * 10**9
LEVELS = 10
_CODES = {"q": "<i8", "i": "<i4", "I": "<u4", "B": "u1"}


class Scales(NamedTuple):
    """Decimals of prices and quantities, an array of each by symbol index."""

    price: Any
    qty: Any


class DayCounts:
    """Takes the results of an engine.

    Attributes:
        messages, verified, bad, suspect: of each symbol and minute; suspect ones left a book that may be wrong.
        ends_suspect: of each symbol and minute with messages, whether the last of them did.
        first_ns: when each symbol's first message came; 0 without one.
        spread: of each symbol and full minute, as a share of the mid price; NaN where no book has both sides.
        bid_depth, ask_depth: likewise, in the quote currency.
        lag: milliseconds.
        early: messages of each symbol received before their own time.
        size: orders that arrived, in the base currency.
        filled_life, cancelled_life: seconds.
        added, reentered: orders of each symbol.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.messages, self.verified, self.bad, self.suspect = (np.zeros((0, MINUTES), np.int32) for _ in range(4))
        self.ends_suspect = np.zeros((0, MINUTES), bool)
        self.first_ns = np.zeros(0, np.int64)
        self.spread, self.bid_depth, self.ask_depth = (np.zeros((0, MINUTES), np.float32) for _ in range(3))
        self.early, self.added, self.reentered = (np.zeros(0, np.int64) for _ in range(3))
        self.lag = Histograms(0.01, 1e6)
        self.size = Histograms(1e-8, 1e12)
        self.filled_life, self.cancelled_life = Histograms(1e-6, 1e8), Histograms(1e-6, 1e8)

    def take(self, result: Result, times: Optional[Times], suspect: Any, scales: Scales) -> None:
        """Count what one feed gave; `suspect` says of each message whether it left a suspect book."""
        self._resize(len(scales.price))
        messages = _columns(result.messages, MESSAGE_COLUMNS)
        if messages is not None:
            self._count_messages(messages, times, suspect)
            events = _columns(result.events, EVENT_COLUMNS)
            if events is not None:
                self._count_events(events, messages["symbol"], scales)
        rows = _columns(result.rows, ROW_COLUMNS)
        if rows is not None:
            self._look_at_books(rows, scales)

    def forget_books(self, row: int, gaps: Iterable[tuple[int, int]]) -> None:
        """Leave out a symbol's books at the minutes strictly within these gaps: what the engine shows there is old."""
        at_ns = self._start_ns + np.arange(MINUTES) * GRID_NS
        for left_ns, right_ns in gaps:
            is_in_it = (at_ns > left_ns) & (at_ns < right_ns)
            for values in (self.spread, self.bid_depth, self.ask_depth):
                values[row, is_in_it] = np.nan

    def _resize(self, rows: int) -> None:
        missing = rows - len(self.messages)
        if missing <= 0:
            return
        for name in ("messages", "verified", "bad", "suspect", "ends_suspect"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros((missing, MINUTES), old.dtype)]))
        for name in ("spread", "bid_depth", "ask_depth"):
            setattr(self, name, np.concatenate([getattr(self, name), np.full((missing, MINUTES), np.nan, np.float32)]))
        for name in ("early", "added", "reentered", "first_ns"):
            setattr(self, name, np.append(getattr(self, name), np.zeros(missing, np.int64)))
        for each in (self.lag, self.size, self.filled_life, self.cancelled_life):
            each.resize(rows)

    def _count_messages(self, messages: dict[str, Any], times: Optional[Times], suspect: Any) -> None:
        is_told = messages["symbol"] >= 0
        symbol, line = messages["symbol"][is_told].astype(np.int64), messages["line"][is_told]
        verdict, msg_ns, kind = (messages[name][is_told] for name in ("verdict", "msg_ns", "kind"))
        recv_ns = times.recv_ns[line - times.first_line] if times is not None and times.recv_ns is not None else None
        at_ns = recv_ns if recv_ns is not None else msg_ns
        minute = (at_ns - self._start_ns) // GRID_NS
        is_today = (minute >= 0) & (minute < MINUTES)
        place = (symbol * MINUTES + minute)[is_today]
        is_ok = (verdict == Verdict.OK)[is_today]
        is_bad = np.isin(verdict[is_today], (Verdict.MISMATCH, Verdict.MALFORMED))
        is_suspect = suspect[is_told][is_today]
        for counts, chosen in (
            (self.messages, place),
            (self.verified, place[is_ok]),
            (self.bad, place[is_bad]),
            (self.suspect, place[is_suspect]),
        ):
            count_places(counts, chosen)
        self.ends_suspect.reshape(-1)[place] = is_suspect  # of several values for one place numpy keeps the last
        is_new = self.first_ns[symbol] == 0
        self.first_ns[symbol[is_new][::-1]] = at_ns[is_new][::-1]  # so the first one of each is kept
        if recv_ns is not None:
            is_update = (kind == MessageKind.UPDATE) & (msg_ns > 0)
            lag_ms = (recv_ns - msg_ns)[is_update] / 1e6
            self.early += np.bincount(symbol[is_update][lag_ms < 0], minlength=len(self.early))
            self.lag.add(symbol[is_update][lag_ms > 0], lag_ms[lag_ms > 0])

    def _count_events(self, events: dict[str, Any], symbols: Any, scales: Scales) -> None:
        action, kind = events["action"], events["classification"]
        symbol = symbols[events["message"]].astype(np.int64)
        is_add = action == Action.ADD
        for counts, chosen in (
            (self.added, is_add & (kind == Classification.NEW)),
            (self.reentered, is_add & (kind == Classification.REENTRY)),
        ):
            counts += np.bincount(symbol[chosen], minlength=len(counts))
        is_new = is_add & (kind == Classification.NEW) & (events["qty"] > 0)
        self.size.add(symbol[is_new], events["qty"][is_new] / 10.0 ** scales.qty[symbol[is_new]])
        life_ns = events["stated_ns"] - events["order_ns"]
        has_ended = (action == Action.DELETE) & (events["order_ns"] > 0) & (life_ns > 0)
        for lives, cause in ((self.filled_life, Classification.FILL), (self.cancelled_life, Classification.CANCEL)):
            chosen = has_ended & (kind == cause)
            lives.add(symbol[chosen], life_ns[chosen] / 1e9)

    def _look_at_books(self, rows: dict[str, Any], scales: Scales) -> None:
        minute = (rows["at_ns"] - self._start_ns) // GRID_NS
        chosen = (minute >= 0) & (minute < MINUTES)
        symbol, minute = rows["symbol"][chosen], minute[chosen]
        bid, bid_qty, ask, ask_qty = (
            rows[name].reshape(-1, LEVELS)[chosen].astype(np.float64)
            for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")
        )
        has_both = (bid[:, 0] >= 0) & (ask[:, 0] >= 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.where(has_both, 2 * (ask[:, 0] - bid[:, 0]) / (ask[:, 0] + bid[:, 0]), np.nan)
        unit = 10.0 ** (scales.price[symbol] + scales.qty[symbol])
        self.spread[symbol, minute] = spread
        self.bid_depth[symbol, minute] = (np.maximum(bid, 0) * bid_qty).sum(axis=1) / unit
        self.ask_depth[symbol, minute] = (np.maximum(ask, 0) * ask_qty).sum(axis=1) / unit


def _columns(columns: dict[str, bytes], codes: dict[str, str]) -> Optional[dict[str, Any]]:
    """As numpy arrays; None where there is nothing."""
    if not columns or not any(columns.values()):
        return None
    return {name: np.frombuffer(columns[name], _CODES[code]) for name, code in codes.items() if code in _CODES}
