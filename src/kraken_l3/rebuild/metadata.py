"""What is known of symbols from outside the data: precisions and depths, and from which moment on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.journal import Acknowledged, Instruments, Record
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import MalformedMessage, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.protocol.decoding import decode_instruments

__all__ = ["SymbolMetadata", "metadata_in", "metadata_of_record", "read_instruments"]


class SymbolMetadata(NamedTuple):
    """Something known of a symbol from `at_ns` on (wall clock); None where this says nothing."""

    at_ns: int
    symbol: str
    price_precision: Optional[int] = None
    qty_precision: Optional[int] = None
    depth: Optional[int] = None


def metadata_of_record(record: Record) -> Iterator[SymbolMetadata]:
    """What a journal record tells."""
    if isinstance(record, Instruments):
        yield from _instrument_facts(record.instruments, record.at_ns)
    elif isinstance(record, Acknowledged) and record.channel == Stream.LEVEL3.value and record.depth is not None:
        yield SymbolMetadata(record.at_ns, record.symbol, depth=record.depth)


def metadata_in(
    archive: Archive, instruments: Iterable[Instrument] = (), depths: Optional[Mapping[str, int]] = None
) -> list[SymbolMetadata]:
    """All facts of an archive, oldest first and without repetitions; precisions and depths that the user gives are
    final.
    """
    facts = list(_instrument_facts(instruments, 0))
    given = {fact.symbol for fact in facts}
    facts += (SymbolMetadata(0, symbol, depth=depth) for symbol, depth in (depths or {}).items())
    for day in archive.days:
        for record in archive.journal(day):
            for fact in metadata_of_record(record):
                if fact.symbol not in (given if fact.depth is None else depths or {}):
                    facts.append(fact)
    return list(_changes(sorted(facts, key=lambda fact: fact.at_ns)))


def read_instruments(path: Path) -> list[Instrument]:
    """Precisions from a file of `instrument` messages, one a line or the whole file one.

    Raises:
        UsageError: it holds none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path)) from None
    pairs: dict[str, Instrument] = {}
    try:
        for message in _messages_in(content):
            pairs.update((pair.symbol, pair) for pair in decode_instruments(message))
    except MalformedMessage as error:
        raise UsageError(error.what, where=str(path), hint="It takes messages of Kraken's instrument channel") from None
    return list(pairs.values())


def _messages_in(content: bytes) -> list[bytes]:
    lines = [line for line in content.splitlines() if line.strip()]
    is_one = len(lines) > 1 and not lines[0].rstrip().endswith(b"}")
    return [content] if is_one else lines


def _instrument_facts(instruments: Iterable[Instrument], at_ns: int) -> Iterator[SymbolMetadata]:
    for pair in instruments:
        yield SymbolMetadata(at_ns, pair.symbol, pair.price_precision, pair.qty_precision)


def _changes(facts: Iterable[SymbolMetadata]) -> Iterator[SymbolMetadata]:
    """Facts that are news."""
    known: dict[str, SymbolMetadata] = {}
    for fact in facts:
        before = known.get(fact.symbol, SymbolMetadata(0, fact.symbol))
        merged = SymbolMetadata(
            fact.at_ns,
            fact.symbol,
            before.price_precision if fact.price_precision is None else fact.price_precision,
            before.qty_precision if fact.qty_precision is None else fact.qty_precision,
            before.depth if fact.depth is None else fact.depth,
        )
        if merged[2:] != before[2:]:
            known[fact.symbol] = merged
            yield merged
