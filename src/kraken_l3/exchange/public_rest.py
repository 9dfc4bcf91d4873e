"""The public REST calls that clients make before they subscribe: Time, SystemStatus, Assets, AssetPairs. No sockets.

Sources: https://docs.kraken.com/api/docs/rest-api/get-server-time, .../get-system-status, .../get-asset-info,
.../get-tradable-asset-pairs.
Kraken's REST names are older than its symbols: BTC is XBT, DOGE is XDG, and its first assets have an X (coins) or Z
(money) in front.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Optional

from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339

__all__ = ["PUBLIC_PREFIX", "answered_as", "public_answer", "symbol_named"]

PUBLIC_PREFIX = "/0/public/"

_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
_OLD_COINS = frozenset({"ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC"})
_OLD_MONEY = frozenset({"AUD", "CAD", "EUR", "GBP", "JPY", "USD"})
#: Coins that were among the first, and whose pairs are listed under their short name all the same.
_SHORT_KEYS = frozenset({"XDG"})


def public_answer(
    method: str, wanted: str, records: Mapping[str, str], assets: str, system: str, wall_ns: int
) -> dict[str, Any]:
    """The JSON object to answer a public call with.

    Args:
        method: "Time", "SystemStatus", "Assets" or "AssetPairs"; every other one is unknown.
        wanted: the assets or pairs that are asked for, with commas between (empty: all).
        records: for each symbol its object of the `instrument` channel, as JSON text.
        assets: the elements of that channel's array `assets`, as JSON text.
        system: the engine's status.
        wall_ns: the wall clock.
    """
    if method == "Time":
        unix_s = wall_ns // NS_PER_S
        text = formatdate(unix_s)  # Kraken writes the year with two digits
        return {"error": [], "result": {"unixtime": unix_s, "rfc1123": f"{text[:12]}{text[14:25]} +0000"}}
    if method == "SystemStatus":
        return {"error": [], "result": {"status": system, "timestamp": format_rfc3339(wall_ns)[:19] + "Z"}}
    if method == "Assets":
        return _assets(wanted, records, assets)
    if method == "AssetPairs":
        return _asset_pairs(wanted, records)
    return {"error": ["EGeneral:Unknown method"]}


def symbol_named(name: str, records: Mapping[str, str]) -> Optional[str]:
    """The symbol of a pair by any of its names: BTC/USD, XBT/USD, XBTUSD, XXBTZUSD; None: there is no such pair."""
    for symbol, record in records.items():
        key, pair = _asset_pair(symbol, record)
        if name in (symbol, key, pair["altname"], pair["wsname"]):
            return symbol
    return None


def answered_as(name: str, symbol: str, record: str) -> str:
    """The key of a pair in an answer: XXBTZUSD for XBTUSD.

    Asked for by its symbol a pair is told under it: python-kraken-sdk's order book relies on that.
    """
    return name if name == symbol else _asset_pair(symbol, record)[0]


def _assets(wanted: str, records: Mapping[str, str], assets: str) -> dict[str, Any]:
    """Every asset of the channel and of a pair; of the latter alone nobody knows the decimals."""
    names = dict.fromkeys(name for symbol in records for name in symbol.split("/"))
    listed = {asset["id"]: asset for asset in json.loads(f"[{assets}]")}
    found = {}
    for name in sorted({*names, *listed}):
        asset, old = listed.get(name, {}), _OLD_NAMES.get(name, name)
        found[_old_asset(old)] = {
            "aclass": "currency",
            "altname": old,
            "decimals": asset.get("precision", 10),
            "display_decimals": asset.get("precision_display", 5),
            "status": asset.get("status", "enabled"),
        }
    by_name = {name: key for key, asset in found.items() for name in (key, asset["altname"])}
    keys = [by_name.get(name) for name in wanted.split(",")] if wanted else list(found)
    if None in keys:
        return {"error": ["EQuery:Unknown asset"]}
    return {"error": [], "result": {key: found[key] for key in keys if key is not None}}


def _asset_pairs(wanted: str, records: Mapping[str, str]) -> dict[str, Any]:
    if not wanted:
        return {"error": [], "result": dict(_asset_pair(symbol, record) for symbol, record in records.items())}
    found = {}
    for name in wanted.split(","):
        symbol = symbol_named(name, records)
        if symbol is None:
            return {"error": ["EQuery:Unknown asset pair"]}
        found[answered_as(name, symbol, records[symbol])] = _asset_pair(symbol, records[symbol])[1]
    return {"error": [], "result": found}


def _asset_pair(symbol: str, record: str) -> tuple[str, dict[str, Any]]:
    """A pair's key in the answer, and its object. Numbers keep the text that they have in the record."""
    listed = json.loads(record, parse_float=str)
    base, quote = (_OLD_NAMES.get(name, name) for name in symbol.split("/"))
    old_base, old_quote = _old_asset(base), _old_asset(quote)
    is_old = old_base != base and old_quote != quote and base not in _SHORT_KEYS
    return old_base + old_quote if is_old else base + quote, {
        "altname": base + quote,
        "wsname": f"{base}/{quote}",
        "aclass_base": "currency",
        "base": old_base,
        "aclass_quote": "currency",
        "quote": old_quote,
        "lot": "unit",
        "cost_decimals": listed["cost_precision"],
        "pair_decimals": listed["price_precision"],
        "lot_decimals": listed["qty_precision"],
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.25]],
        "fees_maker": [[0, 0.15]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": str(listed["qty_min"]),
        "costmin": str(listed["cost_min"]),
        "tick_size": str(listed["tick_size"]),
        "status": listed["status"],
    }


def _old_asset(name: str) -> str:
    return "X" + name if name in _OLD_COINS else "Z" + name if name in _OLD_MONEY else name
