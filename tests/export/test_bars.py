"""The parts of `features`: changes of the best prices, windows of books, trades by bars."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_features import flow_imbalance

from kraken_l3.export.best_changes import BEST, BestChanges
from kraken_l3.export.day_trades import TRADE
from kraken_l3.export.schema import DEPTH_BPS
from kraken_l3.export.trade_bars import TradeBars
from kraken_l3.export.windows import windows
from kraken_l3.model.events import Side

sides = st.one_of(st.just((-1, 0)), st.tuples(st.integers(90, 110), st.sampled_from([0, 1, 5, 2**62, 2**63 - 1])))
rows = st.lists(st.tuples(st.integers(0, 2), sides, sides, st.booleans()), max_size=30)


def followed(changes: BestChanges, part):
    symbol = np.array([row[0] for row in part], np.int32)
    table = np.array([(*bid, *ask) for _, bid, ask, _ in part], np.int64).reshape(len(part), 4)
    begins = np.array([row[3] for row in part], bool)
    return changes.follow(symbol, dict(zip(BEST, table.T)), begins)


def one_by_one(part):
    """(imbalance, squared return) of each row, from decimals."""
    before, mids, told = {}, {}, []
    for symbol, *best, begins in part:
        best = tuple((Decimal(price), qty) if price >= 0 else None for price, qty in best)
        if begins:
            before.pop(symbol, None)
            mids.pop(symbol, None)
        imbalance = flow_imbalance(before[symbol], best) if symbol in before else 0
        before[symbol], square = best, 0.0
        if all(best):
            mid = best[0][0] + best[1][0]
            square = math.log(mid / mids[symbol]) ** 2 if symbol in mids else 0.0
            mids[symbol] = mid
        told.append((max(-(2**63) + 1, min(int(imbalance), 2**63 - 1)), square))
    return told


@given(rows=rows, cut=st.integers(0, 30))
@settings(deadline=None)
def test_best_changes_of_several_symbols_in_pieces_are_those_one_by_one(rows, cut):
    changes = BestChanges()
    pieces = [followed(changes, part) for part in (rows[:cut], rows[cut:])]
    imbalance, squares = (np.concatenate(each).tolist() for each in zip(*pieces))
    expected = one_by_one(rows)
    assert imbalance == [each for each, _ in expected]
    assert squares == pytest.approx([square for _, square in expected], rel=1e-9, abs=1e-30)


levels = st.lists(st.tuples(st.integers(1, 400), st.sampled_from([1, 7, 2**62])), max_size=4, unique_by=lambda e: e[0])


@given(bids=levels, asks=levels, depth=st.sampled_from([2, 3, 4, 1_000]), mid=st.sampled_from([50_000, 10**17]))
@settings(deadline=None)
def test_windows_tell_depths_exactly_or_not_at_all(bids, asks, depth, mid):
    book = [
        sorted((sign * away, mid + sign * away, qty) for away, qty in side) for sign, side in ((-1, bids), (1, asks))
    ]
    book = [book[0][::-1], book[1]]
    columns = {name: np.zeros(1, np.int8) for name in ("price_scale", "qty_scale")}
    for name, side in zip(("bid", "ask"), book):
        missing = 4 - len(side)
        columns[f"{name}_price"] = np.array([[price for _, price, _ in side] + [-1] * missing], np.int64)
        columns[f"{name}_qty"] = np.array([[qty for *_, qty in side] + [0] * missing], np.int64)
        columns[f"{name}_orders"] = np.array([[1] * len(side) + [0] * missing], np.uint32)
    (window,) = windows(columns, np.array([depth]))
    for number, (side, sign) in enumerate(zip(book, (-1, 1))):
        assert window["orders"][number] == len(side)
        assert window["total"][number] == min(sum(qty for *_, qty in side), 2**63 - 1)
        is_cut = bool(side) and len(side) >= min(depth, 4)
        assert window["edge"][number] == (side[-1][1] if is_cut else -1)
        for index, bps in enumerate(DEPTH_BPS):
            expected = -1
            if all(book):
                limit = Fraction(book[0][0][1] + book[1][0][1], 2) * (10_000 + sign * bps) / 10_000
                if not is_cut or sign * (side[-1][1] + sign) > sign * limit:
                    expected = sum(qty for _, price, qty in side if sign * price <= sign * limit)
            assert window["depth"][index, number] == min(expected, 2**63 - 1)


def trade(recv_ns, event_ns, price, qty, taker, **others):
    made = np.zeros(1, TRADE)
    made["ts_recv"], made["ts_event"], made["price"], made["qty"], made["taker_side"] = (
        recv_ns,
        event_ns,
        price,
        qty,
        taker,
    )
    for name, value in others.items():
        made[name] = value
    return made


def test_trades_by_bars():
    trades = np.concatenate(
        [
            trade(0, 25, 7, 1, Side.BID),  # when it was received is not known
            trade(100, 12, 9, 1, Side.BID, is_recent=True),
            trade(100, 99, 3, 2, Side.BID),
            trade(101, 99, 5, 4, Side.ASK),
            trade(110, 99, 10**18, 3 * 10**18, Side.NONE, price_scale=1, qty_scale=2),
        ]
    )
    bars = TradeBars(trades, 10, earliest_ns=20).ending(np.array([10, 20, 30, 40, 100, 110]))
    assert bars["count"].tolist() == [0, 1, 1, 0, 1, 2]
    assert bars["volume"].tolist() == [0, 1, 1, 0, 2, 4 + 3e16]
    assert bars["signed_volume"].tolist() == [0, 1, 1, 0, 2, -4]
    assert np.isnan(bars["vwap"][[0, 3]]).all()
    assert bars["vwap"][[1, 2, 4]].tolist() == [9, 7, 3]
    assert bars["vwap"][5] == float(Fraction(5 * 4 + 10**17 * 3 * 10**16, 4 + 3 * 10**16))


def test_without_recorded_trades_nothing_is_told_of_them():
    (bar,) = TradeBars(None, 10, 0).ending(np.array([10]))
    assert bar["count"] == -1
    (bar,) = TradeBars(np.zeros(0, TRADE), 10, 0).ending(np.array([10]))
    assert (bar["count"], bar["volume"]) == (0, 0)
