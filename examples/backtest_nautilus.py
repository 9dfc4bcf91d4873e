"""A market maker in NautilusTrader over an exported catalog: level 3 book (L3_MBO), recorded trades, queue position.

It keeps one order at the best bid and one at the best ask. The venue fills an order when a trade comes through its
price, at its price once the quantity that stood before it has traded, or when an order comes to rest that crosses it.
Afterwards each fill is checked against the recorded flow: at that nanosecond such a trade or such an order came.

Without an archive, ten minutes over midnight are simulated. Needs nautilus_trader 1.x (Python 3.12 or later) and
kraken-l3-recorder[research] in one environment ("make tools" makes .venv-nautilus).
Run: python examples/backtest_nautilus.py [ARCHIVE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import BacktestEngineConfig, DataEngineConfig, LoggingConfig
from nautilus_trader.model.data import OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import AccountType, BookAction, BookType, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy

import kraken_l3


class Fill(NamedTuple):
    """One fill of ours."""

    side: OrderSide
    price: Decimal
    at_ns: int


class MarketMaker(Strategy):
    """Quotes the best bid and ask with one order each.

    Args:
        pair: what is traded.
        qty: of each order.
    """

    def __init__(self, pair: CurrencyPair, qty: str) -> None:
        super().__init__()
        self.pair, self.qty = pair, pair.make_qty(Decimal(qty))
        self.quotes: dict[OrderSide, Any] = {OrderSide.BUY: None, OrderSide.SELL: None}
        self.fills: list[Fill] = []
        self.books = 0

    def on_start(self) -> None:
        """Subscribe."""
        self.subscribe_order_book_deltas(self.pair.id, BookType.L3_MBO)
        self.subscribe_trade_ticks(self.pair.id)

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        """Follow the best prices."""
        self.books += 1
        book = self.cache.order_book(self.pair.id)
        bid, ask = book.best_bid_price(), book.best_ask_price()
        if bid is None or ask is None or bid >= ask:
            return
        for side, best in ((OrderSide.BUY, bid), (OrderSide.SELL, ask)):
            quote = self.quotes[side]
            if quote is not None and quote.is_open and quote.price != best and not quote.is_pending_cancel:
                self.cancel_order(quote)
            if quote is None or quote.is_closed:
                order = self.order_factory.limit(self.pair.id, side, self.qty, best, post_only=True)
                self.quotes[side] = order
                self.submit_order(order)

    def on_order_filled(self, event: OrderFilled) -> None:
        """Remember it."""
        self.fills.append(Fill(event.order_side, event.last_px.as_decimal(), event.ts_event))


def run(catalog: ParquetDataCatalog, symbol: str, qty: str) -> MarketMaker:
    """The backtest over all that the catalog has of a pair."""
    pair = catalog.instruments(instrument_ids=[f"{symbol}.KRAKEN"])[-1]
    # a strategy sees each message as a whole (F_LAST), not the book between two deltas of it
    whole = DataEngineConfig(buffer_deltas=True)
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), data_engine=whole))
    engine.add_venue(
        Venue("KRAKEN"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        starting_balances=[Money(10_000_000, pair.quote_currency), Money(100, pair.base_currency)],
        book_type=BookType.L3_MBO,
        trade_execution=True,
        queue_position=True,
    )
    engine.add_instrument(pair)
    engine.add_data(catalog.order_book_deltas(instrument_ids=[str(pair.id)]))
    engine.add_data(catalog.trade_ticks(instrument_ids=[str(pair.id)]))
    strategy = MarketMaker(pair, qty)
    engine.add_strategy(strategy)
    engine.run()
    engine.dispose()
    return strategy


def came_for(fill: Fill, trades: list[TradeTick], deltas: list[OrderBookDelta]) -> str:
    """What of a moment reaches the order that was filled: "trade", "order", or "" for nothing."""
    is_buy = fill.side == OrderSide.BUY
    sign, taker, other = (1, "SELLER", OrderSide.SELL) if is_buy else (-1, "BUYER", OrderSide.BUY)

    def reaches(price: Price) -> bool:
        return bool(sign * price.as_decimal() <= sign * fill.price)

    if any(trade.aggressor_side.name == taker and reaches(trade.price) for trade in trades):
        return "trade"
    came = (delta for delta in deltas if delta.action == BookAction.ADD and delta.order.side == other)
    return "order" if any(reaches(delta.order.price) for delta in came) else ""


def main() -> None:
    """Backtest, check, print; exit code 1 where a fill has no trade."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--qty", default="0.01")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = arguments.archive or Path(scratch, "data")
        if arguments.archive is None:
            kraken_l3.simulate(source, "10m", symbols=[arguments.symbol], start="2026-01-02T23:55:00Z")
        export = ["export", "nautilus", source, "--out", scratch, "--symbols", arguments.symbol]
        subprocess.run([sys.executable, "-m", "kraken_l3", *map(str, export)], check=True, stdout=subprocess.DEVNULL)
        catalog = ParquetDataCatalog(str(Path(scratch, "nautilus")))
        maker = run(catalog, arguments.symbol, arguments.qty)
        told = {"instrument_ids": [f"{arguments.symbol}.KRAKEN"]}
        trades, deltas = defaultdict(list), defaultdict(list)
        for trade in catalog.trade_ticks(**told):
            trades[trade.ts_init].append(trade)
        for delta in catalog.order_book_deltas(**told):
            deltas[delta.ts_init].append(delta)
        causes = Counter(came_for(fill, trades[fill.at_ns], deltas[fill.at_ns]) for fill in maker.fills)
        print(f"{maker.books:,} books, {sum(map(len, trades.values())):,} trades, {len(maker.fills):,} fills of ours:")
        print(f"{causes['trade']:,} by a trade, {causes['order']:,} by a crossing order, {causes['']:,} by nothing")
        sys.exit(1 if causes[""] else 0)


if __name__ == "__main__":
    main()
