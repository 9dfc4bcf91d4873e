"""The private REST call `Level3`: the orders of one pair's book. No sockets here.

Source: https://docs.kraken.com/api/docs/rest-api/get-level-3-order-book
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from kraken_l3.exchange.exact_json import read_exact
from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.price_levels import level3_depth
from kraken_l3.exchange.public_rest import symbol_named
from kraken_l3.exchange.rest import field_of
from kraken_l3.model.timestamps import parse_rfc3339

__all__ = ["LEVEL3_CALL", "level3_answer"]

LEVEL3_CALL = "/0/private/Level3"
_DEPTHS = ("0", "10", "25", "100", "250", "1000")
_DEFAULT_DEPTH = "100"


def level3_answer(body: bytes, content_type: str, feed: Feed, records: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object to answer an admitted call with. Depth 0 is all that the feed has."""
    symbol = symbol_named(field_of(body, content_type, "pair"), records)
    if symbol is None:
        return {"error": ["EQuery:Unknown asset pair"]}
    depth = field_of(body, content_type, "depth") or _DEFAULT_DEPTH
    if depth not in _DEPTHS:
        return {"error": ["EGeneral:Invalid arguments:depth"]}
    offered = feed.depths(symbol)
    levels = int(depth) or max(offered)
    watched = level3_depth(offered, levels) or max(offered)
    feed.watch(symbol, watched)
    snapshot = feed.snapshot(symbol, watched)
    feed.unwatch(symbol, watched)
    if snapshot is None:
        return {"error": ["EService:Unavailable"]}
    book = read_exact(snapshot.decode())["data"][0]
    sides = {side: _orders(book[side], levels) for side in ("bids", "asks")}
    return {"error": [], "result": {"pair": symbol, **sides}}


def _orders(entries: list[dict[str, str]], levels: int) -> list[dict[str, Any]]:
    found = []
    for number, (_, level) in enumerate(groupby(entries, key=lambda entry: entry["limit_price"])):
        if number == levels:
            break
        found += [
            {
                "price": str(entry["limit_price"]),
                "qty": str(entry["order_qty"]),
                "order_id": entry["order_id"],
                "timestamp": parse_rfc3339(entry["timestamp"]) if "timestamp" in entry else 0,
            }
            for entry in level
        ]
    return found
