"""The public channels of one connection: `instrument`, `trade`, `book`, `ticker`. Texts in and out, no sockets here.

Sources: https://docs.kraken.com/api/docs/websocket-v2/instrument, .../trade, .../book, .../ticker
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from kraken_l3.exchange.answers import (
    ALREADY,
    BAD_DEPTH,
    MALFORMED,
    NOT_FOUND,
    UNKNOWN_PAIR,
    Answer,
    Now,
    Refused,
    Request,
    acknowledge,
    finish,
    flag_in,
    reject,
    symbols_in,
)
from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.price_levels import BOOK_DEPTHS, PriceBooks, level3_depth

__all__ = ["PublicChannels"]

_TICK_SIZE_WARNING = "tick_size is deprecated, use price_increment"
_TRIGGERS = ("trades", "bbo")


class PublicChannels:
    """What one connection has subscribed.

    Args:
        feed: the data.
        records: symbol to the pair's object of the `instrument` channel.
        books: makes the messages of `book` and `ticker`.

    Attributes:
        instruments: whether `instrument` is subscribed.
        trades: symbols of the `trade` subscriptions.
        books: depths of the `book` subscriptions by symbol.
        tickers: what makes an update of the `ticker` subscriptions, "trades" or "bbo", by symbol.
        owed: channel and symbol of the `book` and `ticker` subscriptions whose snapshot comes as soon as the book is
            known.
    """

    NAMES = ("instrument", "trade", "book", "ticker")

    def __init__(self, feed: Feed, records: dict[str, str], books: PriceBooks) -> None:
        self.instruments = False
        self.trades: set[str] = set()
        self.books: dict[str, int] = {}
        self.tickers: dict[str, str] = {}
        self.owed: set[tuple[str, str]] = set()
        self._feed = feed
        self._records = records
        self._price_books = books
        # (channel, symbol) -> the level3 depth that is watched for it
        self._watched: dict[tuple[str, str], int] = {}

    def __bool__(self) -> bool:
        return bool(self.instruments or self.trades or self.books or self.tickers)

    def answer(self, request: Request, now: Now) -> Iterator[Answer]:
        """Answers to a request for one of these channels, in order."""
        if request["params"]["channel"] == "instrument":
            return self._instrument(request, now)
        return self._each_symbol(request, now)

    def begin_again(self) -> set[str]:
        """The feed is at another moment: what is shown of books begins anew. Returns their symbols."""
        self.owed |= {("book", symbol) for symbol in self.books} | {("ticker", symbol) for symbol in self.tickers}
        return {symbol for _, symbol in self.owed}

    def end(self) -> None:
        """The connection is over."""
        for channel, symbol in list(self._watched):
            self._unwatch(channel, symbol)
        self.trades.clear()
        self.books.clear()
        self.tickers.clear()
        self.owed.clear()
        self.instruments = False

    def _instrument(self, request: Request, now: Now) -> Iterator[Answer]:
        method, wanted = request["method"], request["method"] == "subscribe"
        snapshot = flag_in(request["params"], "snapshot", True)
        if wanted == self.instruments:
            yield reject(request, now, method, ALREADY if wanted else NOT_FOUND)
            return
        self.instruments = wanted
        if not wanted:
            yield finish({"method": method, "result": {"channel": "instrument"}, "success": True}, request, now)
            return
        result = {"channel": "instrument", "snapshot": snapshot, "warnings": [_TICK_SIZE_WARNING]}
        yield finish({"method": method, "result": result, "success": True}, request, now)
        if snapshot:
            data = f'{{"assets":[{self._feed.assets()}],"pairs":[{",".join(self._records.values())}]}}'
            yield Answer(f'{{"channel":"instrument","type":"snapshot","data":{data}}}'.encode(), "instrument")

    def _each_symbol(self, request: Request, now: Now) -> Iterator[Answer]:
        params, method = request["params"], request["method"]
        channel: str = params["channel"]
        snapshot = flag_in(params, "snapshot", channel != "trade")
        depth, trigger = params.get("depth", 10), params.get("event_trigger", "trades")
        if channel == "book" and (type(depth) is not int or depth not in BOOK_DEPTHS):
            raise Refused(BAD_DEPTH)
        if channel == "ticker" and trigger not in _TRIGGERS:
            raise Refused(MALFORMED)
        for symbol in symbols_in(params):
            error = self._error(channel, symbol, depth, method == "subscribe")
            if error is not None:
                yield reject(request, now, method, error, symbol=symbol)
            elif method == "unsubscribe":
                self._forget(channel, symbol)
                yield acknowledge(request, now, symbol)
            else:
                self._enter(channel, symbol, depth, trigger)
                yield acknowledge(request, now, symbol, {"snapshot": snapshot})
                message = self._snapshot(channel, symbol, depth) if snapshot else None
                if message is not None:
                    yield Answer(message, channel, symbol)
                elif snapshot and channel != "trade":
                    self.owed.add((channel, symbol))

    def _error(self, channel: str, symbol: str, depth: int, wanted: bool) -> Optional[str]:
        if symbol not in self._records:
            return UNKNOWN_PAIR.format(symbol=symbol)
        if wanted == (symbol in self._symbols(channel)):
            return ALREADY if wanted else NOT_FOUND
        if wanted and channel == "book" and level3_depth(self._feed.depths(symbol), depth) is None:
            return BAD_DEPTH
        return None

    def _symbols(self, channel: str) -> Any:
        return {"trade": self.trades, "book": self.books, "ticker": self.tickers}[channel]

    def _enter(self, channel: str, symbol: str, depth: int, trigger: str) -> None:
        if channel == "trade":
            self.trades.add(symbol)
            return
        if channel == "book":
            self.books[symbol] = depth
        else:
            self.tickers[symbol], depth = trigger, 1
        watched = level3_depth(self._feed.depths(symbol), depth)
        if watched is not None:
            self._watched[channel, symbol] = watched
            self._feed.watch(symbol, watched)

    def _forget(self, channel: str, symbol: str) -> None:
        if channel == "trade":
            self.trades.discard(symbol)
        else:
            self._symbols(channel).pop(symbol)
            self._unwatch(channel, symbol)
            self.owed.discard((channel, symbol))

    def _unwatch(self, channel: str, symbol: str) -> None:
        depth = self._watched.pop((channel, symbol), None)
        if depth is not None:
            self._feed.unwatch(symbol, depth)

    def _snapshot(self, channel: str, symbol: str, depth: int) -> Optional[bytes]:
        if channel == "trade":
            return self._feed.recent_trades(symbol)
        if channel == "book":
            return self._price_books.snapshot(symbol, depth)
        return self._price_books.ticker("snapshot", symbol)
