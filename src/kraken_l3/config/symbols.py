"""Which pairs `symbols` means: names stand for themselves, patterns and `all` need the list of instruments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from kraken_l3.errors import ConfigError, did_you_mean
from kraken_l3.model.instruments import Instrument

__all__ = ["check_listed", "expand", "fitting_pairs", "is_pattern", "needs_instruments"]

#: Pairs in these states have a book or will have one again.
_WITHOUT_BOOK = frozenset({"delisted", "work_in_progress"})


def needs_instruments(symbols: Iterable[str]) -> bool:
    """Whether the list cannot be understood without knowing what Kraken trades."""
    return any(is_pattern(symbol) for symbol in symbols)


def expand(symbols: Sequence[str], instruments: Iterable[Instrument]) -> list[str]:
    """The pairs by name, in the order given, each once.

    Raises:
        ConfigError: a pattern fits no pair.
    """
    traded = list(instruments)
    found: list[str] = []
    for symbol in symbols:
        fitting = fitting_pairs(symbol, traded) if is_pattern(symbol) else [symbol]
        if not fitting:
            raise ConfigError(
                f"{symbol!r} fits none of Kraken's {len(traded):,} pairs",
                where="symbols",
                hint="In a pattern * stands for any letters: '*/USD' means every pair against USD",
            )
        found += fitting
    return list(dict.fromkeys(found))


def check_listed(names: Iterable[str], instruments: Iterable[Instrument]) -> None:
    """Compare names with the list of instruments.

    Raises:
        ConfigError: Kraken does not list one of them; the hint has the most similar name that it does.
    """
    listed = {instrument.symbol for instrument in instruments}
    for name in names:
        if name not in listed:
            hint = did_you_mean(name, sorted(listed)) or f"It lists {len(listed):,} pairs, such as BTC/USD"
            raise ConfigError(f"Kraken does not list {name!r}", where="symbols", hint=hint)


def fitting_pairs(pattern: str, instruments: Iterable[Instrument]) -> list[str]:
    """The pairs with a book that a pattern, or `all`, means; in alphabetical order."""
    names = (instrument.symbol for instrument in instruments if instrument.status not in _WITHOUT_BOOK)
    return sorted(name for name in names if pattern == "all" or fnmatchcase(name, pattern))


def is_pattern(symbol: str) -> bool:
    """Whether it stands for pairs that have to be looked up."""
    return symbol == "all" or any(character in symbol for character in "*?[")
