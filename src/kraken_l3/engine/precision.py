"""The precision that nothing told: from the digits of a message and its checksum ("Precision" on the port's page)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from zlib import crc32

from kraken_l3.book.book import Book
from kraken_l3.book.side import CHECKSUM_LEVELS, BookSide
from kraken_l3.engine.parse import Content, Precision, decimals_of, read_content
from kraken_l3.engine.port import LARGEST_PRICE, MAX_PRECISION, MAX_TRIED_DECIMALS, MAX_TRIED_ORDERS, NUMBER_END
from kraken_l3.engine.symbol import BookParameters
from kraken_l3.model.messages import Level3Data

__all__ = ["lowest_precision", "read_inferring"]

_NONE = Precision(0, 0)


def read_inferring(data: Level3Data, parameters: BookParameters, *, snapshot: bool) -> tuple[Content, Precision]:
    """Read a snapshot, or an update of an empty book whose precision is open, at what was told or else inferred.

    Raises:
        TooManyDecimals: a number is finer than what was told.
        ValueError: something cannot be read.
    """
    lowest = lowest_precision(data, parameters, snapshot=snapshot)
    content = read_content(data, lowest, snapshot=snapshot)
    if not parameters.need_precision:
        return content, lowest
    changes = (*content.bids, *content.asks)
    highest_price = max([change[2] for change in changes], default=0)
    highest_qty = max([change[3] for change in changes], default=0)
    price, qty = decimals_of(data, snapshot=snapshot).written
    written = parameters.precision(Precision(min(price, MAX_PRECISION), min(qty, MAX_PRECISION)))

    def fits(precision: Precision) -> bool:
        price = highest_price * 10 ** (precision.price - lowest.price)
        qty = highest_qty * 10 ** (precision.qty - lowest.qty)
        return bool(price <= LARGEST_PRICE and qty < NUMBER_END)

    precision = written if fits(written) else lowest
    if content.checksum >= 0:
        book = Book(parameters.depth_for(content.levels()), *lowest)
        if snapshot:
            book.fill(content.bids, content.asks)
        else:
            book.update(content.bids, content.asks)
        tokens = [*_digits(book.asks), *_digits(book.bids)]
        for candidate in _candidates(parameters, lowest, written, search=len(tokens) <= MAX_TRIED_ORDERS):
            if fits(candidate) and _checksum(tokens, lowest, candidate) == content.checksum:
                precision = candidate
                break
    return content.scaled(10 ** (precision.price - lowest.price), 10 ** (precision.qty - lowest.qty)), precision


def lowest_precision(data: Level3Data, parameters: BookParameters, *, snapshot: bool) -> Precision:
    """What was told, and where nothing was told the fewest decimals that hold the message's numbers.

    There the numbers are smallest, and any other precision only adds zeros behind them.

    Raises:
        ValueError: a number cannot be read, or needs more than `MAX_PRECISION` decimals.
    """
    if not parameters.need_precision:
        return parameters.precision(_NONE)
    lowest = parameters.precision(decimals_of(data, snapshot=snapshot).needed)
    if max(lowest) > MAX_PRECISION:
        raise ValueError(f"a number with {max(lowest)} decimals")
    return lowest


def _candidates(
    parameters: BookParameters, lowest: Precision, written: Precision, *, search: bool
) -> Iterator[Precision]:
    """As written first: raw digits are trusted before any guess. Then the fewest decimals first."""
    yield written
    if not search:
        return
    last = Precision(max(written.price, MAX_TRIED_DECIMALS), max(written.qty, MAX_TRIED_DECIMALS))
    prices = range(lowest.price, last.price + 1) if parameters.price_precision is None else [lowest.price]
    quantities = range(lowest.qty, last.qty + 1) if parameters.qty_precision is None else [lowest.qty]
    yield from sorted((Precision(*pair) for pair in product(prices, quantities)), key=lambda pair: (sum(pair), pair))


def _digits(side: BookSide) -> Iterator[tuple[str, str]]:
    """Price and quantity of the orders that the checksum covers, without leading zeros; nothing for zero."""
    for key in side.keys[:CHECKSUM_LEVELS]:
        for order in side.levels[key]:
            yield str(order.price or ""), str(order.qty or "")


def _checksum(tokens: list[tuple[str, str]], lowest: Precision, at: Precision) -> int:
    price_zeros, qty_zeros = "0" * (at.price - lowest.price), "0" * (at.qty - lowest.qty)
    text = "".join([f"{price}{price and price_zeros}{qty}{qty and qty_zeros}" for price, qty in tokens])
    return crc32(text.encode())
