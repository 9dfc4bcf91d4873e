"""What is traded: real precisions of some pairs, and as many made-up ones as a test wants."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Union

from kraken_l3.exchange.exact_json import read_exact, write_exact

__all__ = ["Pair", "assets", "listing"]

_FIXTURE = Path(__file__).with_name("instruments.json")

#: Plausible prices to start from; a pair not named starts at one quoted unit.
_START = {
    "BTC/USD": "90000", "ETH/USD": "3200", "SOL/USD": "210", "XRP/USD": "1.1", "DOGE/USD": "0.4", "ADA/USD": "0.6",
    "LTC/USD": "85", "BTC/EUR": "84000", "ETH/EUR": "3000", "ETH/BTC": "0.0355", "BTC/JPY": "13800000",
    "YFI/USD": "6400", "SHIB/USD": "0.000025", "PEPE/USD": "0.000012", "LINK/USD": "14", "DOT/USD": "5.2",
    "USDT/USD": "1.0002", "EUR/USD": "1.0625", "BTC/USDT": "90010", "ATOM/USD": "5.1", "TIA/USD": "5.4",
    "SOL/ETH": "0.0656",
}  # fmt: skip


class Pair(NamedTuple):
    """One tradable pair.

    Attributes:
        symbol: WebSocket v2 name.
        price_precision: decimals of a price.
        qty_precision: decimals of a quantity.
        start_ticks: the price to start from, in units of 10**-price_precision.
        record: the pair's object of the `instrument` channel, as JSON text.
    """

    symbol: str
    price_precision: int
    qty_precision: int
    start_ticks: int
    record: str


@lru_cache(maxsize=1)
def _fixture() -> tuple[list[Pair], list[str]]:
    data = read_exact(_FIXTURE.read_text(encoding="utf-8"))
    return [_pair(record) for record in data["pairs"]], [write_exact(asset) for asset in data["assets"]]


def _pair(record: dict[str, object]) -> Pair:
    symbol = str(record["symbol"])
    precision = int(str(record["price_precision"]))
    whole, _, fraction = _START.get(symbol, "1").partition(".")
    ticks = int(whole + fraction.ljust(precision, "0")[:precision])
    return Pair(symbol, precision, int(str(record["qty_precision"])), ticks, write_exact(record))


def _made_up(number: int) -> Pair:
    symbol = f"S{number:03d}/USD"
    record = (
        f'{{"symbol":"{symbol}","base":"S{number:03d}","quote":"USD","status":"online","qty_precision":8,'
        '"qty_increment":1E-8,"price_precision":4,"cost_precision":8,"marginable":false,"has_index":false,'
        '"cost_min":0.50,"tick_size":0.0001,"price_increment":0.0001,"qty_min":1.00000000}'
    )
    return Pair(symbol, 4, 8, 10_000 * (1 + number % 97), record)


def listing(symbols: Union[int, str, list[str], tuple[str, ...], None] = None) -> list[Pair]:
    """The pairs asked for: all of the fixture (None), the first N (made-up names follow the real ones), or by name.

    Names of the form S001/USD are made up on demand; any other name must be in the fixture.

    Raises:
        KeyError: a name that is neither.
    """
    real = _fixture()[0]
    if symbols is None:
        return list(real)
    if isinstance(symbols, int):
        return real[:symbols] + [_made_up(n) for n in range(1, symbols - len(real) + 1)]
    names = [symbols] if isinstance(symbols, str) else symbols
    known = {pair.symbol: pair for pair in real}
    return [known[name] if name in known else _made_up(_number(name)) for name in names]


def _number(name: str) -> int:
    digits = name[1:-4]
    if name.startswith("S") and name.endswith("/USD") and digits.isdigit():
        number = int(digits)
        if f"S{number:03d}/USD" == name:
            return number
    raise KeyError(name)


def assets() -> str:
    """The elements of the instrument snapshot's array `assets`: those that the fixture's pairs use."""
    return ",".join(_fixture()[1])
