"""nautilus_trader's own encoding of what a catalog holds, and ours from columns, which must be the same.

The library encodes one Python object an event. So it encodes the first rows of each file, as a proof that nothing is
encoded otherwise there; the rest goes straight from columns into its schema.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from kraken_l3.errors import UsageError
from kraken_l3.export.formats.increments import Increments
from kraken_l3.export.records import Records
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import Side

__all__ = [
    "CLEAR",
    "DELTA",
    "TRADE_TICK",
    "Deltas",
    "Encoding",
    "Pair",
    "TradeTicks",
    "currency_pair",
    "fixed_point",
    "library_schema",
]

ADD, UPDATE, DELETE, CLEAR = 1, 2, 3, 4
BUY, SELL = 1, 2
VENUE = "KRAKEN"
#: What Kraken asks of an account without volume (https://www.kraken.com/features/fee-schedule); it publishes no fees in
#: its market data.
MAKER_FEE, TAKER_FEE = "0.0025", "0.0040"

#: A delta, and a trade, before prices and sizes are brought to the library's fixed point.
DELTA = np.dtype(
    [
        ("action", "u1"),
        ("side", "u1"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("order_id", "<u8"),
        ("flags", "u1"),
        ("ts_event", "<u8"),
        ("ts_init", "<u8"),
    ]
)
TRADE_TICK = np.dtype(
    [
        ("price", "<i8"),
        ("size", "<i8"),
        ("aggressor_side", "u1"),
        ("trade_id", "<i8"),
        ("ts_event", "<u8"),
        ("ts_init", "<u8"),
    ]
)
#: `aggressor_side` by the taker's side.
AGGRESSORS = np.zeros(3, np.uint8)
AGGRESSORS[[Side.BID, Side.ASK, Side.NONE]] = (1, 2, 0)


class Pair(NamedTuple):
    """A pair as the library names it, and the decimals of its prices and sizes in our rows."""

    symbol: str
    price_scale: int
    qty_scale: int

    @property
    def instrument(self) -> Any:
        """Its instrument id."""
        from nautilus_trader.model.identifiers import InstrumentId

        return InstrumentId.from_str(f"{self.symbol}.{VENUE}")

    def price(self, value: int) -> Any:
        """As the library's object."""
        from nautilus_trader.model.objects import Price

        return Price.from_str(format_scaled(value, self.price_scale))

    def size(self, value: int) -> Any:
        """As the library's object."""
        from nautilus_trader.model.objects import Quantity

        return Quantity.from_str(format_scaled(value, self.qty_scale))

    def factors(self) -> tuple[int, int]:
        """What prices and sizes are multiplied by in the library's fixed point."""
        from nautilus_trader.model.objects import FIXED_PRECISION

        return 10 ** (FIXED_PRECISION - self.price_scale), 10 ** (FIXED_PRECISION - self.qty_scale)


class Encoding(Protocol):
    """One kind of rows, as the library's objects and as columns of its schema."""

    dtype: np.dtype[Any]

    def data_class(self) -> Any:
        """The library's class."""

    def objects(self, rows: Records) -> list[Any]:
        """The library's objects, which checks the rows."""

    def columns(self, rows: Records) -> dict[str, pa.Array]:
        """All columns but `price` and `size`."""


class Deltas:
    """OrderBookDelta."""

    dtype = DELTA

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def data_class(self) -> Any:
        """See `Encoding.data_class`."""
        from nautilus_trader.model.data import OrderBookDelta

        return OrderBookDelta

    def objects(self, rows: Records) -> list[Any]:
        """See `Encoding.objects`."""
        from nautilus_trader.model.data import BookOrder, OrderBookDelta
        from nautilus_trader.model.enums import BookAction, OrderSide

        pair, instrument = self._pair, self._pair.instrument
        actions = {ADD: BookAction.ADD, UPDATE: BookAction.UPDATE, DELETE: BookAction.DELETE}
        made = []
        for action, side, price, size, order_id, flags, event_ns, init_ns in rows.tolist():
            if action == CLEAR:
                made.append(OrderBookDelta.clear(instrument, 0, event_ns, init_ns))
                continue
            order_side = OrderSide.BUY if side == BUY else OrderSide.SELL
            order = BookOrder(side=order_side, price=pair.price(price), size=pair.size(size), order_id=order_id)
            made.append(OrderBookDelta(instrument, actions[action], order, flags, 0, event_ns, init_ns))
        return made

    def columns(self, rows: Records) -> dict[str, pa.Array]:
        """See `Encoding.columns`."""
        names = ("action", "side", "order_id", "flags", "ts_event", "ts_init")
        return {"sequence": pa.array(np.zeros(len(rows), np.uint64)), **{name: pa.array(rows[name]) for name in names}}


class TradeTicks:
    """TradeTick."""

    dtype = TRADE_TICK

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def data_class(self) -> Any:
        """See `Encoding.data_class`."""
        from nautilus_trader.model.data import TradeTick

        return TradeTick

    def objects(self, rows: Records) -> list[Any]:
        """See `Encoding.objects`."""
        from nautilus_trader.model.data import TradeTick
        from nautilus_trader.model.enums import AggressorSide
        from nautilus_trader.model.identifiers import TradeId

        pair, instrument = self._pair, self._pair.instrument
        sides = [AggressorSide.NO_AGGRESSOR, AggressorSide.BUYER, AggressorSide.SELLER]
        return [
            TradeTick(instrument, pair.price(price), pair.size(size), sides[side], TradeId(str(number)), event, init)
            for price, size, side, number, event, init in rows.tolist()
        ]

    def columns(self, rows: Records) -> dict[str, pa.Array]:
        """See `Encoding.columns`."""
        told = {name: pa.array(rows[name]) for name in ("aggressor_side", "ts_event", "ts_init")}
        return {**told, "trade_id": pa.array(rows["trade_id"]).cast(pa.string())}


def library_schema(encoding: Encoding, pair: Pair, rows: Records) -> pa.Schema:
    """The schema in which the library writes these rows.

    Raises:
        UsageError: it encodes them otherwise than we do.
    """
    from nautilus_trader import __version__
    from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

    encoded = ArrowSerializer.serialize_batch(encoding.objects(rows), data_cls=encoding.data_class())
    theirs = pa.Table.from_batches([encoded]) if isinstance(encoded, pa.RecordBatch) else encoded
    if not theirs.equals(table_of(encoding, pair, rows, theirs.schema)):
        name = encoding.data_class().__name__
        raise UsageError(
            f"nautilus_trader {__version__} encodes {name} in a way that this export does not know",
            hint="pip install 'nautilus_trader<=1.231'",
        )
    return theirs.schema


def table_of(encoding: Encoding, pair: Pair, rows: Records, schema: pa.Schema) -> pa.Table:
    """Rows in the library's schema."""
    factors = pair.factors()
    columns = encoding.columns(rows)
    for name, factor in zip(("price", "size"), factors):
        columns[name] = fixed_point(rows[name], factor, schema.field(name).type)
    return pa.table([columns[name] for name in schema.names], schema)


def currency_pair(pair: Pair, steps: Increments, at_ns: int) -> Any:
    """The instrument, defined at a moment; its fees are `MAKER_FEE` and `TAKER_FEE`."""
    from decimal import Decimal

    from nautilus_trader.model.identifiers import Symbol
    from nautilus_trader.model.instruments import CurrencyPair
    from nautilus_trader.model.objects import Currency, Price, Quantity

    base, _, quote = pair.symbol.partition("/")
    return CurrencyPair(
        instrument_id=pair.instrument,
        raw_symbol=Symbol(pair.symbol),
        base_currency=Currency.from_str(base),
        quote_currency=Currency.from_str(quote),
        price_precision=pair.price_scale,
        size_precision=pair.qty_scale,
        price_increment=Price.from_str(f"{steps.price:.{pair.price_scale}f}"),
        size_increment=Quantity.from_str(f"{steps.qty:.{pair.qty_scale}f}"),
        ts_event=at_ns,
        ts_init=at_ns,
        maker_fee=Decimal(MAKER_FEE),
        taker_fee=Decimal(TAKER_FEE),
    )


def fixed_point(values: Records, factor: int, kind: pa.DataType) -> pa.Array:
    """values * factor as little-endian integers of 8 or 16 bytes; neither is negative, and factor is below 2**54."""
    values = values.astype(np.uint64)
    low32 = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    factor_low, factor_high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    value_low, value_high = values & low32, values >> shift
    # schoolbook multiplication of 32-bit digits; the middle sum stays below 2**64
    low = value_low * factor_low
    middle = (low >> shift) + value_low * factor_high + value_high * factor_low
    words = np.empty((len(values), kind.byte_width // 8), np.uint64)
    words[:, 0] = (middle << shift) | (low & low32)
    words[:, 1:] = (value_high * factor_high + (middle >> shift)).reshape(-1, 1)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)])
