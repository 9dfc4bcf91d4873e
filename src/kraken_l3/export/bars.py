"""What happens within bars of time: arrivals, cancels and fills, order flow imbalance, realised variance, messages.

A bar that ends at an instant has all that was received after the instant before it, up to and with that instant. A bar
may begin in one block of lines and end in another: its sums so far are carried on and come first, so that results do
not depend on how lines were cut into blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np

from kraken_l3.export.best_changes import BestChanges
from kraken_l3.export.records import ResultRecords
from kraken_l3.model.events import Classification, MessageKind

__all__ = ["ARRIVAL", "CANCEL", "FILL", "FLOW", "Bars", "instants"]

Column = Any  # a numpy array

ARRIVAL, CANCEL, FILL = range(3)
_AMOUNTS = 7
_IMBALANCE = _AMOUNTS - 1
#: The sums of a symbol's bar that ends at `bar_ns`. `counts` are of arrivals, cancels and fills, each of bids and of
#: asks; `amounts` their quantities and, last, the order flow imbalance, all with `qty_scale` decimals, the most that
#: any quantity of the bar has. `lag_ns` is the sum of the lags of `lagged` updates.
FLOW = np.dtype(
    [
        ("symbol", "<i4"),
        ("bar_ns", "<i8"),
        ("qty_scale", "i1"),
        ("counts", "<i8", (_IMBALANCE,)),
        ("amounts", "<i8", (_AMOUNTS,)),
        ("variance", "<f8"),
        ("messages", "<i8"),
        ("verified", "<i8"),
        ("lag_ns", "<i8"),
        ("lagged", "<i8"),
    ]
)
_KINDS = np.full(len(Classification), -1, np.int64)
_KINDS[Classification.NEW] = ARRIVAL
_KINDS[Classification.CANCEL] = CANCEL
_KINDS[[Classification.FILL, Classification.PARTIAL_FILL]] = FILL
_POWERS = 10 ** np.arange(19, dtype=np.int64)
_LARGEST = (1 << 63) - 1


def instants(times: Column, span_ns: int) -> Column:
    """The end of the bar that holds each time."""
    return -(-times // span_ns) * span_ns


class Bars:
    """Sums up what the results of one engine say, by symbol and bar.

    Args:
        span_ns: how long a bar is.
    """

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._open = np.zeros(0, FLOW)
        self._changes = BestChanges()
        self._shown_ns = -span_ns

    def take(
        self,
        results: ResultRecords,
        symbol: Column,
        at_ns: Column,
        *,
        classification: Optional[Column] = None,
        earliest_ns: int = 0,
    ) -> Column:
        """Add what one result says, and give the bars that end in it.

        Args:
            results: of the next piece of the archive.
            symbol: index of the symbol of each bar that ends here.
            at_ns: when it ends.
            classification: of the result's events; None: events are not wanted.
            earliest_ns: no bar ends before.

        Returns:
            One `FLOW` for each bar that ends.
        """
        clock_ns = results.times.clock_ns
        ends = instants(clock_ns, self._span_ns) if clock_ns is not None else np.zeros(0, np.int64)
        # a bar that was given gains nothing any more
        ends = np.maximum(ends, max(earliest_ns, self._shown_ns + self._span_ns))
        groups = _Groups(self._open, results, ends)
        flows = groups.flows
        _count_messages(groups, results)
        amounts = [_of_best(groups, results, self._changes)]
        if classification is not None:
            amounts.append(_of_events(groups, results, classification))
        _add(flows, *(np.concatenate(parts) for parts in zip(*amounts)))
        given = groups.find(symbol, at_ns)
        shown = np.zeros(len(symbol), FLOW)
        shown[given >= 0] = flows[given[given >= 0]]
        is_open = np.append(flows["symbol"][1:] != flows["symbol"][:-1], True)[: len(flows)]  # each symbol's last bar
        is_open[given[given >= 0]] = False
        self._open = flows[is_open]
        self._shown_ns = max(self._shown_ns, int(at_ns.max(initial=self._shown_ns)))
        return shown


class _Groups:
    """The bars that one result adds to, those that were open among them.

    Attributes:
        flows: one `FLOW` a bar, by symbol and time.
        opened: which of them were open before, in the order that was given.
        of_message: the bar of each message, -1 for messages of no symbol.
    """

    def __init__(self, opened: Column, results: ResultRecords, ends: Column) -> None:
        messages = results.messages
        self._ends, self._first_line = ends, results.times.first_line
        has_symbol = messages.symbol >= 0
        symbols = np.concatenate([opened["symbol"], messages.symbol[has_symbol]]).astype(np.int64)
        bars = np.concatenate([opened["bar_ns"], self._bar_of(messages.line[has_symbol])])
        self._bars, rank = np.unique(bars, return_inverse=True)
        self._keys, groups = np.unique(symbols * len(self._bars) + rank, return_inverse=True)
        self.opened = groups[: len(opened)]
        self.of_message = np.full(len(messages.symbol), -1)
        self.of_message[has_symbol] = groups[len(opened) :]
        self.flows = np.zeros(len(self._keys), FLOW)
        self.flows["symbol"], rank = np.divmod(self._keys, max(1, len(self._bars)))
        self.flows["bar_ns"] = self._bars[rank]
        self.flows[self.opened] = opened

    def _bar_of(self, line: Column) -> Column:
        return self._ends[line - self._first_line]

    def of_lines(self, symbol: Column, line: Column) -> Column:
        """The bars of symbols at lines of the result."""
        return self.find(symbol, self._bar_of(line))

    def find(self, symbol: Column, bar_ns: Column) -> Column:
        """The bars of symbols that end at these times; -1 where there is none."""
        if not len(self._keys):
            return np.full(len(symbol), -1)
        rank = np.minimum(np.searchsorted(self._bars, bar_ns), len(self._bars) - 1)
        keys = symbol.astype(np.int64) * len(self._bars) + rank
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where((self._bars[rank] == bar_ns) & (self._keys[found] == keys), found, -1)


class _Amounts(NamedTuple):
    """Amounts to be added: to which bars, to which of their amounts, how much, and with how many decimals."""

    group: Column
    which: Column
    amount: Column
    scale: Column


def _count_messages(groups: _Groups, results: ResultRecords) -> None:
    flows, messages, times = groups.flows, results.messages, results.times
    counted = groups.of_message >= 0
    flows["messages"] += np.bincount(groups.of_message[counted], minlength=len(flows))
    flows["verified"] += np.bincount(groups.of_message[counted & messages.is_ok()], minlength=len(flows))
    if times.recv_ns is None or times.doubtful is None:
        return
    at = messages.line - times.first_line
    timed = counted & (messages.kind == MessageKind.UPDATE) & (messages.msg_ns > 0) & ~times.doubtful[at]
    group = groups.of_message[timed]
    flows["lagged"] += np.bincount(group, minlength=len(flows))
    lag_ns = np.zeros(len(flows), np.int64)
    np.add.at(lag_ns, group, times.recv_ns[at[timed]] - messages.msg_ns[timed])
    flows["lag_ns"] += lag_ns


def _of_events(groups: _Groups, results: ResultRecords, classification: Column) -> _Amounts:
    flows, columns = groups.flows, results.events_of_all
    kind = _KINDS[classification]
    chosen = np.flatnonzero(kind >= 0)
    message = columns["message"][chosen]
    group, which = groups.of_message[message], kind[chosen] * 2 + columns["side"][chosen]
    counts = np.bincount(group * _IMBALANCE + which, minlength=len(flows) * _IMBALANCE)
    flows["counts"] += counts.reshape(len(flows), _IMBALANCE)
    _, scale, _ = results.parameters_at(results.messages.symbol[message], results.messages.line[message])
    return _Amounts(group, which, np.abs(columns["change"][chosen]), scale)


def _of_best(groups: _Groups, results: ResultRecords, changes: BestChanges) -> _Amounts:
    flows, rows = groups.flows, results.best
    symbol, line = rows["symbol"], rows["line"]
    imbalance, squares = changes.follow(symbol, rows, results.begins_anew(symbol, line))
    of_lines = line >= 0
    symbol, line = symbol[of_lines], line[of_lines]
    group = groups.of_lines(symbol, line)
    weights = np.concatenate([flows["variance"][groups.opened], squares[of_lines]])
    flows["variance"] = np.bincount(np.concatenate([groups.opened, group]), weights, minlength=len(flows))
    _, scale, _ = results.parameters_at(symbol, line)
    return _Amounts(group, np.full(len(group), _IMBALANCE), imbalance[of_lines], scale)


def _add(flows: Column, group: Column, which: Column, amount: Column, scale: Column) -> None:
    scales = flows["qty_scale"].copy()
    np.maximum.at(scales, group, scale)
    sums = (flows["amounts"] * _POWERS[scales - flows["qty_scale"]].reshape(-1, 1)).reshape(-1)
    amount = amount * _POWERS[scales[group] - scale]
    at = group * _AMOUNTS + which
    most = float(np.abs(sums.astype(float)).max(initial=0)) + float(np.abs(amount.astype(float)).sum())
    if most < _LARGEST:
        np.add.at(sums, at, amount)
    else:  # the supply of some coins does not fit 64 bits: their sums saturate
        exact = sums.astype(object)
        np.add.at(exact, at, amount.astype(object))
        sums = np.array([max(-_LARGEST, min(each, _LARGEST)) for each in exact.tolist()], np.int64)
    flows["qty_scale"], flows["amounts"] = scales, sums.reshape(len(flows), _AMOUNTS)
