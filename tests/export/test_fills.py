import numpy as np
import pytest
from archives import record
from test_events import events_of, export

from kraken_l3.export.day_trades import trade_records
from kraken_l3.export.fills import CLOSE_NS, WINDOW_NS, Matcher
from kraken_l3.export.records import EVENT
from kraken_l3.model.events import Classification, Side
from kraken_l3.model.messages import Trade

AT_NS = 1_700_000_000_000_000_000


def trade(trade_id: int, *, at_ns: int = AT_NS, price: str = "10.5", qty: str = "0.25", side: str = "buy") -> Trade:
    return Trade(symbol="A/B", side=side, price=price, qty=qty, ord_type="limit", trade_id=trade_id, timestamp_ns=at_ns)


def fills(*rows: tuple) -> np.ndarray:
    records = np.zeros(len(rows), EVENT)
    for record_, (classification, at_ns, qty) in zip(records, rows):
        record_["side"], record_["classification"], record_["ts_event"] = Side.ASK, classification, at_ns
        record_["price"], record_["change"], record_["price_scale"], record_["qty_scale"] = 105, -qty, 1, 2
    return records


@pytest.mark.parametrize(
    ("trades", "rows", "expected"),
    [
        ([trade(7)], [(Classification.FILL, AT_NS, 25)], [(7, 1.0)]),
        ([trade(7)], [(Classification.FILL, AT_NS + CLOSE_NS + 1, 25)], [(7, 0.9)]),
        ([trade(7)], [(Classification.FILL, AT_NS + WINDOW_NS + 1, 25)], [(-1, 0.0)]),
        ([trade(7)], [(Classification.FILL, AT_NS, 26)], [(-1, 0.0)]),
        ([trade(7, side="sell")], [(Classification.FILL, AT_NS, 25)], [(-1, 0.0)]),
        ([trade(7, price="10.6")], [(Classification.FILL, AT_NS, 25)], [(-1, 0.0)]),
        ([trade(7), trade(7)], [(Classification.FILL, AT_NS, 25)], [(7, 1.0)]),
        ([trade(7), trade(8)], [(Classification.FILL, AT_NS, 25)], [(7, 0.5)]),
        (
            [trade(7), trade(8, at_ns=AT_NS + 500)],
            [(Classification.FILL, AT_NS, 25), (Classification.FILL, AT_NS + 500, 25)],
            [(7, 0.5), (8, 0.5)],
        ),
        ([trade(7)], [(Classification.CANCEL, AT_NS, 25)], [(-1, None)]),
        ([trade(7, qty="2.5e-1", price='"10.50"')], [(Classification.FILL, AT_NS, 25)], [(7, 1.0)]),
    ],
)
def test_each_fill_gets_its_trade(trades, rows, expected):
    _, trade_ids, confidence = Matcher(trade_records(trades)).match(fills(*rows))
    found = [(t, None if np.isnan(c) else pytest.approx(c)) for t, c in zip(trade_ids.tolist(), confidence.tolist())]
    assert found == [(t, c if c is None else pytest.approx(c)) for t, c in expected]


def test_a_reduction_that_a_trade_explains_is_a_partial_fill():
    rows = fills((Classification.REDUCTION, AT_NS, 25), (Classification.REDUCTION, AT_NS, 26))
    classification, trade_ids, confidence = Matcher(trade_records([trade(7)])).match(rows)
    assert classification.tolist() == [Classification.PARTIAL_FILL, Classification.REDUCTION]
    assert trade_ids.tolist() == [7, -1]
    assert np.isnan(confidence[1])


def test_a_trade_is_given_once_over_row_groups():
    matcher = Matcher(trade_records([trade(7)]))
    assert matcher.match(fills((Classification.FILL, AT_NS, 25)))[1].tolist() == [7]
    assert matcher.match(fills((Classification.FILL, AT_NS, 25)))[1].tolist() == [-1]


def test_recorded_trades_explain_nearly_all_fills(tmp_path):
    source = record(tmp_path / "a", messages=12_000, trades=True)
    export(source, tmp_path / "o")
    events = events_of(tmp_path / "o", "BTC/USD")
    found = [e for e in events if e["classification"] in ("fill", "partial_fill")]
    matched = [e for e in found if e["trade_id"] is not None]
    assert len(found) > 40
    assert len(matched) > 0.9 * len(found)
    assert all(0 < e["fill_confidence"] <= 1 for e in matched)
    assert all(e["fill_confidence"] is None for e in events if e["classification"] in ("new", "cancel", "reentry"))
    ids = [e["trade_id"] for e in matched]
    assert len(set(ids)) == len(ids)


def test_without_recorded_trades_nothing_is_claimed(tmp_path):
    source = record(tmp_path / "a", messages=1_000)
    export(source, tmp_path / "o")
    events = events_of(tmp_path / "o", "BTC/USD")
    assert {(e["trade_id"], e["fill_confidence"]) for e in events} == {(None, None)}
