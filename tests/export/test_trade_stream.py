"""Recorded trades beside the events, as the formats for other tools receive them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from archives import NIGHT_NS, record, write_checkpoints

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.day_trades import DayTrades, trade_records
from kraken_l3.export.fills import WINDOW_NS, Matcher
from kraken_l3.export.formats.event_stream import Moment, Source, Updates, Written, write_days
from kraken_l3.export.formats.trade_stream import TradeMatch, TradeQueue
from kraken_l3.model.events import Classification
from kraken_l3.model.messages import Trade
from kraken_l3.model.timestamps import day_of
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import chains_in

FILLS = (Classification.FILL, Classification.PARTIAL_FILL)
DAY = day_of(NIGHT_NS)


class Seen(NamedTuple):
    """A day as a format's file sees it: trade ids, event columns, and what came in which order."""

    trades: list
    filled_by: list
    sequence: list


class DayFile:
    def __init__(self, days: list[Seen], price_scale: int, qty_scale: int) -> None:
        self._scales = price_scale, qty_scale
        self._seen = Seen([], [], [])
        days.append(self._seen)

    def open_with(self, resting, at_ns) -> None: ...

    def updates(self, updates: Updates) -> None:
        trades, last = updates.trades, 0
        assert ((trades.place >= 0) & (trades.place <= len(updates.recv_ns))).all()
        for record_, at_ns, place, match in zip(*trades):
            assert (record_["price_scale"], record_["qty_scale"]) == self._scales
            self._seen.trades.append((int(record_["trade_id"]), TradeMatch(match)))
            self._seen.sequence.extend([*updates.recv_ns[last:place].tolist(), int(at_ns)])
            last = place
        self._seen.sequence.extend(updates.recv_ns[last:].tolist())
        is_fill = np.isin(updates.classification, FILLS)
        assert (updates.trade_id[~is_fill] == -1).all()
        self._seen.filled_by.extend(updates.trade_id[updates.trade_id >= 0].tolist())

    def snapshot(self, at: Moment, after, before, found, successor) -> None:
        self._seen.sequence.append(at.recv_ns)

    def finish(self) -> Written:
        return Written([])

    def abandon(self) -> None: ...


def days_of(directory) -> list[Seen]:
    archive = open_archive(directory)
    found: list[Seen] = []
    for chain in chains_in(archive):
        source = Source(archive, "BTC/USD", metadata_in(archive), chain)
        assert write_days(source, lambda day: DayFile(found, day.price_scale, day.qty_scale)).notes == []
    return found


@pytest.mark.parametrize("checkpoints", [False, True])
def test_each_trade_comes_once_in_the_order_of_time_with_what_it_filled(tmp_path, checkpoints):
    source = record(tmp_path / "a", messages=12_000, gap=True, trades=True, start_ns=NIGHT_NS)
    if checkpoints:
        write_checkpoints(source)
    archive = open_archive(source)
    days = days_of(source)
    assert len(days) == 2
    for day, seen in zip(archive.days, days):
        recorded = DayTrades(archive, day).of("BTC/USD")
        assert [trade_id for trade_id, _ in seen.trades] == recorded["trade_id"].tolist()
        assert seen.sequence == sorted(seen.sequence)
        filled = [trade_id for trade_id, match in seen.trades if match is TradeMatch.FILL]
        assert sorted(filled) == sorted(seen.filled_by)
        assert len(filled) > 0.9 * len(seen.trades)
    assert sum(len(seen.trades) for seen in days) > 30


def trade(trade_id: int, at_ns: int, price: str = "1.5") -> Trade:
    return Trade(
        symbol="A/B",
        side="buy",
        price=price,
        qty="2",
        ord_type="limit",
        trade_id=trade_id,
        timestamp_ns=NIGHT_NS + at_ns,
    )


SECOND_NS = 1_000_000_000


def saw(queue: TradeQueue, *at_ns: int, is_snapshot: bool = False) -> None:
    queue.saw(np.array(at_ns) + NIGHT_NS, is_snapshot=is_snapshot)


def take(queue: TradeQueue, until_ns: int, *recv_ns: int) -> list:
    found = queue.take(np.array(recv_ns, np.int64) + NIGHT_NS, (1, 0), NIGHT_NS + until_ns)
    return list(zip(found.records["trade_id"].tolist(), found.place.tolist(), map(TradeMatch, found.match)))


def test_a_trade_waits_until_its_fill_would_have_been_seen():
    queue = TradeQueue(Matcher(trade_records([trade(1, SECOND_NS)])), DAY)
    saw(queue, 0, SECOND_NS)
    assert queue.is_sure_until(NIGHT_NS + SECOND_NS - 1)
    assert not queue.is_sure_until(NIGHT_NS + SECOND_NS)
    saw(queue, SECOND_NS + WINDOW_NS + 1)
    assert queue.is_sure_until(NIGHT_NS + SECOND_NS)
    assert take(queue, SECOND_NS, 0, SECOND_NS) == [(1, 1, TradeMatch.NO_FILL)]
    assert take(queue, 2 * SECOND_NS) == []


def test_what_the_book_does_not_tell_is_unknown():
    times = [0, WINDOW_NS // 2, 2 * SECOND_NS, 4 * SECOND_NS, 7 * SECOND_NS, 9 * SECOND_NS, 20 * SECOND_NS]
    queue = TradeQueue(Matcher(trade_records([trade(i, at_ns) for i, at_ns in enumerate(times)])), DAY)
    saw(queue, 0, is_snapshot=True)
    saw(queue, 0, SECOND_NS)
    saw(queue, 3 * SECOND_NS)
    saw(queue, 6 * SECOND_NS, is_snapshot=True)
    saw(queue, 6 * SECOND_NS, 8 * SECOND_NS)
    found = [match for _, _, match in take(queue, 30 * SECOND_NS)]
    assert [i for i, match in enumerate(found) if match is TradeMatch.NO_FILL] == [2, 4]
    assert {match for i, match in enumerate(found) if i not in (2, 4)} == {TradeMatch.UNKNOWN}


def test_a_trade_with_more_decimals_than_the_file_is_left_out_and_counted():
    queue = TradeQueue(Matcher(trade_records([trade(1, 0), trade(2, SECOND_NS, "1.55")])), DAY)
    saw(queue, 0)
    assert [trade_id for trade_id, _, _ in take(queue, 9 * SECOND_NS)] == [1]
    assert queue.left_out == 1
