"""The NautilusTrader export without the library, which wants Python 3.12; `test_other_tools` runs it with that."""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, record
from books import Oracle
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.export.bulk import export_format
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.formats.event_stream import Source
from kraken_l3.export.formats.nautilus import export_nautilus
from kraken_l3.export.formats.nautilus_library import fixed_point
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.model.events import Side
from kraken_l3.rebuild.playback import chains_in

INT64 = st.integers(0, (1 << 63) - 1)


@given(st.lists(INT64, max_size=20), st.integers(1, (1 << 54) - 1))
def test_fixed_point_of_128_bits_is_the_product(values, factor):
    told = fixed_point(np.array(values, np.int64), factor, pa.binary(16))
    assert [int.from_bytes(text, "little") for text in told.to_pylist()] == [value * factor for value in values]


@given(st.lists(st.integers(0, 10**9 - 1), max_size=20), st.sampled_from([1, 10, 10**9]))
def test_fixed_point_of_64_bits_is_the_product(values, factor):
    told = fixed_point(np.array(values, np.int64), factor, pa.binary(8))
    assert [int.from_bytes(text, "little") for text in told.to_pylist()] == [value * factor for value in values]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"")
    archive = open_archive(path)
    return Source(archive, "BTC/USD", (), chains_in(archive)[0])


@pytest.mark.skipif(importlib.util.find_spec("nautilus_trader") is not None, reason="nautilus_trader is installed")
def test_without_the_library_it_says_what_to_install(source, tmp_path):
    with pytest.raises(UsageError, match="pip install 'nautilus_trader<2'"):
        export_nautilus(source, tmp_path / "o")
    assert not (tmp_path / "o").exists()


# -- with a stand-in for the library: the same calls, and an encoding of its own in plain Python


FIXED_PRECISION = 16
_FIXED = pa.binary(16)
SCHEMA = pa.schema(
    [
        ("action", pa.uint8()),
        ("side", pa.uint8()),
        ("price", _FIXED),
        ("size", _FIXED),
        ("order_id", pa.uint64()),
        ("flags", pa.uint8()),
        ("sequence", pa.uint64()),
        ("ts_event", pa.uint64()),
        ("ts_init", pa.uint64()),
    ]
)


class Decimals:
    """A price or a quantity: its text as an integer of `FIXED_PRECISION` decimals."""

    def __init__(self, raw: int) -> None:
        self.raw = raw

    def text(self) -> bytes:
        return self.raw.to_bytes(16, "little")

    @classmethod
    def from_str(cls, text: str) -> Decimals:
        return cls(int(Decimal(text).scaleb(FIXED_PRECISION)))


class Order(NamedTuple):
    side: int
    price: Decimals
    size: Decimals
    order_id: int


class Delta(NamedTuple):
    instrument: str
    action: int
    order: Order
    flags: int
    sequence: int
    ts_event: int
    ts_init: int

    @classmethod
    def clear(cls, instrument: str, sequence: int, ts_event: int, ts_init: int) -> Delta:
        return cls(instrument, 4, Order(0, Decimals(0), Decimals(0), 0), 0, sequence, ts_event, ts_init)


class Tick(NamedTuple):
    instrument: str
    price: Decimals
    size: Decimals
    aggressor_side: int
    trade_id: str
    ts_event: int
    ts_init: int


TICKS = pa.schema(
    [
        ("price", _FIXED),
        ("size", _FIXED),
        ("aggressor_side", pa.uint8()),
        ("trade_id", pa.string()),
        ("ts_event", pa.uint64()),
        ("ts_init", pa.uint64()),
    ]
)


class Defined(SimpleNamespace):
    """An instrument: what it was defined with."""

    @property
    def instrument(self) -> str:
        return self.instrument_id


class Serializer:
    @staticmethod
    def serialize_batch(events, data_cls):
        assert {type(event) for event in events} == {data_cls}
        if data_cls is Tick:
            rows = [(t.price.text(), t.size.text(), *t[3:]) for t in events]
            return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(zip(*rows), TICKS)], schema=TICKS)
        rows = [
            (
                d.action,
                d.order.side,
                d.order.price.text(),
                d.order.size.text(),
                d.order.order_id,
                d.flags,
                d.sequence,
                d.ts_event,
                d.ts_init,
            )
            for d in events
        ]
        return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(zip(*rows), SCHEMA)], schema=SCHEMA)


class Catalog:
    max_rows_per_group = 500

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write_data(self, events) -> None:
        kind = {Delta: "order_book_deltas", Tick: "trade_tick", Defined: "currency_pair"}[type(events[0])]
        directory = self._path / "data" / kind / events[0].instrument.replace("/", "")
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{events[0].ts_init}_{events[-1].ts_init}.parquet"
        assert not path.exists()
        if kind == "currency_pair":
            told = {name: str(getattr(value, "raw", value)) for name, value in vars(events[0]).items()}
            pq.write_table(pa.table({name: [value] for name, value in told.items()}), path)
        else:
            pq.write_table(Serializer.serialize_batch(events, type(events[0])), path)


@pytest.fixture
def library(monkeypatch):
    enums = {
        "BookAction": SimpleNamespace(ADD=1, UPDATE=2, DELETE=3),
        "OrderSide": SimpleNamespace(BUY=1, SELL=2),
        "AggressorSide": SimpleNamespace(NO_AGGRESSOR=0, BUYER=1, SELLER=2),
    }
    text = SimpleNamespace(from_str=str)
    contents = {
        "": {"__version__": "0"},
        ".persistence": {},
        ".persistence.catalog": {"ParquetDataCatalog": Catalog},
        ".model": {},
        ".model.identifiers": {"InstrumentId": text, "TradeId": str, "Symbol": str},
        ".model.instruments": {"CurrencyPair": Defined},
        ".model.objects": {
            "FIXED_PRECISION": FIXED_PRECISION,
            "Price": Decimals,
            "Quantity": Decimals,
            "Currency": text,
        },
        ".model.enums": enums,
        ".model.data": {"BookOrder": Order, "OrderBookDelta": Delta, "TradeTick": Tick},
        ".serialization": {},
        ".serialization.arrow": {},
        ".serialization.arrow.serializer": {"ArrowSerializer": Serializer},
    }
    for name, content in contents.items():
        module = ModuleType(f"nautilus_trader{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, f"nautilus_trader{name}", module)


def follow(path: Path) -> dict[int, tuple[int, int, int]]:
    """The orders that the deltas of a file lead to: side, price, size."""
    orders: dict[int, tuple[int, int, int]] = {}
    last_ns = 0
    for row in pq.ParquetFile(path).read().to_pylist():
        assert row["ts_init"] >= last_ns
        last_ns = row["ts_init"]
        price, size = (int.from_bytes(row[name], "little") for name in ("price", "size"))
        if row["action"] == 4:
            orders.clear()
        elif row["action"] == 3:
            del orders[row["order_id"]]
        else:
            assert (row["order_id"] in orders) == (row["action"] == 2)
            orders[row["order_id"]] = (row["side"], price, size)
    return orders


def test_the_deltas_of_each_day_lead_to_its_book(library, tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=1_500, start_ns=NIGHT_NS, gap=True)
    result = export_format(str(source), str(tmp_path / "o"), "nautilus", ["BTC/USD"])
    assert result.exit_code() == 0
    days, ids = ([file.name for file in result.files if part in file.name] for part in ("order_book_deltas", ".csv"))
    assert (len(days), len(ids)) == (2, 2)
    oracle = Oracle(source)
    oracle.go_to(1 << 62)
    numbers = NumberedIds(64)
    expected = {
        int(numbers.of([order["order_id"].encode()])[0]): (
            side,
            int(order["limit_price"].scaleb(FIXED_PRECISION)),
            int(order["order_qty"].scaleb(FIXED_PRECISION)),
        )
        for side, orders in zip((1, 2), oracle.orders("BTC/USD").values())
        for order in orders
    }
    numbers.close()
    assert follow(tmp_path / "o" / days[1]) == expected
    assert len(follow(tmp_path / "o" / days[0])) > 10
    assert pq.ParquetFile(tmp_path / "o" / days[1]).metadata.row_group(0).num_rows == Catalog.max_rows_per_group
    for name in days:
        (tmp_path / "o" / name).unlink()  # made again beside ids that are still there
    assert export_format(str(source), str(tmp_path / "o"), "nautilus", ["BTC/USD"]).already_there == 0
    assert follow(tmp_path / "o" / days[1]) == expected
    assert not list((tmp_path / "o").rglob("*.tmp"))


def test_recorded_trades_and_the_pair_are_there(library, tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=1_500, start_ns=NIGHT_NS, trades=True)
    result = export_format(str(source), str(tmp_path / "o"), "nautilus", ["BTC/USD"])
    ticks, pairs = ([f.name for f in result.files if part in f.name] for part in ("trade_tick", "currency_pair"))
    archive = open_archive(source)
    assert len(ticks) == len(archive.days) == 2
    for day, name in zip(archive.days, ticks):
        recorded = DayTrades(archive, day).of("BTC/USD")
        rows = pq.ParquetFile(tmp_path / "o" / name).read().to_pylist()
        for trade, row in zip(recorded, rows):
            assert row["trade_id"] == str(trade["trade_id"])
            assert (row["ts_event"], row["ts_init"]) == (trade["ts_event"], trade["ts_recv"])
            assert row["aggressor_side"] == {Side.BID: 1, Side.ASK: 2}[trade["taker_side"]]
            for part, column in (("price", "price"), ("size", "qty")):
                scale = FIXED_PRECISION - int(trade[f"{column}_scale"])
                assert int.from_bytes(row[part], "little") == int(trade[column]) * 10**scale
        assert len(rows) == len(recorded) > 2
    [pair] = (pq.ParquetFile(tmp_path / "o" / name).read().to_pylist()[0] for name in pairs)
    assert (pair["base_currency"], pair["quote_currency"]) == ("BTC", "USD")
    assert (pair["price_precision"], pair["size_precision"]) == ("1", "8")
    assert (pair["price_increment"], pair["size_increment"]) == (str(10**15), str(10**8))
    assert (pair["maker_fee"], pair["taker_fee"]) == ("0.0025", "0.0040")


def test_a_name_without_currencies_defines_no_instrument(library, tmp_path):
    source = record(
        tmp_path / "a", symbols=("BTC/USD",), messages=100, change=lambda _, line: line.replace(b"BTC/USD", b"BTCUSD")
    )
    result = export_format(str(source), str(tmp_path / "o"), "nautilus", ["BTCUSD"])
    assert result.notes == ["BTCUSD: no instrument is defined: the name does not tell base and quote currency"]
    assert [file.name.split("/")[-3] for file in result.files if file.name.endswith("parquet")] == ["order_book_deltas"]


def test_an_encoding_that_is_not_known_is_refused_and_leaves_nothing(library, monkeypatch, tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=100)
    monkeypatch.setattr(Decimals, "from_str", classmethod(lambda cls, text: cls(int(Decimal(text).scaleb(9)))))
    with pytest.raises(UsageError, match="encodes Delta in a way that this export does not know"):
        export_format(str(source), str(tmp_path / "o"), "nautilus", ["BTC/USD"])
    assert not [path for path in (tmp_path / "o").rglob("*") if path.is_file()]


def test_a_catalog_that_cannot_be_written_is_a_clear_error(library, source, tmp_path):
    (tmp_path / "nautilus").write_bytes(b"")
    with pytest.raises(LocalFault, match="cannot write"):
        export_nautilus(source, tmp_path)
