"""Trades as `GET /0/public/Trades` gives them. No sockets here.

Source: https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

from __future__ import annotations

from typing import NamedTuple, Union

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import exact, parse_scaled
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.messages import Trade

__all__ = ["TRADES_PATH", "TradePage", "read_trade_page"]

TRADES_PATH = "/0/public/Trades"
#: Times end in 2262.
_LAST_NS = (1 << 63) - 1
_SIDES = {"b": "buy", "s": "sell"}
_ORD_TYPES = {"m": "market", "l": "limit"}

#: price, volume, time in seconds, side, type of the taker's order, miscellaneous, id
_Row = tuple[str, str, msgspec.Raw, str, str, str, int]
_result = msgspec.json.Decoder(dict[str, msgspec.Raw])
_rows = msgspec.json.Decoder(list[_Row])


class TradePage(NamedTuple):
    """Up to 1,000 trades, oldest first.

    Attributes:
        last: what to ask with for those after them.
    """

    trades: list[Trade]
    last: str


def read_trade_page(symbol: str, result: Union[bytes, msgspec.Raw]) -> TradePage:
    """The trades in the `result` of an answer.

    Raises:
        MalformedMessage: there are none in it.
    """
    read = decode_json(_result, result, where="Trades")
    last = bytes(read.pop("last", b"")).decode("ascii", "replace").strip('"')
    if len(read) != 1:
        raise MalformedMessage("not the trades of one pair", where="Trades")
    (rows,) = read.values()
    return TradePage([_trade(symbol, row) for row in decode_json(_rows, rows, where="Trades")], last)


def _trade(symbol: str, row: _Row) -> Trade:
    price, qty, time, side, ord_type, _, trade_id = row
    try:
        exact(price.encode())
        exact(qty.encode())
        timestamp_ns = min(parse_scaled(bytes(time), 9), _LAST_NS)
    except ValueError as error:
        raise MalformedMessage(str(error), where=f"Trades, trade {trade_id}") from error
    return Trade(
        symbol=symbol,
        side=_SIDES.get(side, side),
        price=price,
        qty=qty,
        ord_type=_ORD_TYPES.get(ord_type, ord_type),
        trade_id=trade_id,
        timestamp_ns=timestamp_ns,
    )
