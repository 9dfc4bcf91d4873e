"""The public REST call `Trades`: a pair's recent trades. No sockets here.

Source: https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kraken_l3.exchange.exact_json import read_exact
from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.public_rest import answered_as, symbol_named
from kraken_l3.model.timestamps import parse_rfc3339

__all__ = ["TRADES_METHOD", "trades_answer"]

TRADES_METHOD = "Trades"


def trades_answer(pair: str, since: str, feed: Feed, records: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object to answer with: of the last 50 trades those after `since` (nanoseconds; empty: all)."""
    symbol = symbol_named(pair, records)
    if symbol is None:
        return {"error": ["EQuery:Unknown asset pair"]}
    if since and not since.isdecimal():
        return {"error": ["EGeneral:Invalid arguments:since"]}
    recent = feed.recent_trades(symbol)
    trades = read_exact(recent.decode())["data"] if recent is not None else []
    rows, last = [], since or "0"
    for trade in trades:
        at_ns = parse_rfc3339(trade["timestamp"])
        if since and at_ns <= int(since):
            continue
        side, ord_type = trade["side"][0], trade["ord_type"][0]
        rows.append([str(trade["price"]), str(trade["qty"]), at_ns / 1e9, side, ord_type, "", int(trade["trade_id"])])
        last = str(at_ns)
    return {"error": [], "result": {answered_as(pair, symbol, records[symbol]): rows, "last": last}}
