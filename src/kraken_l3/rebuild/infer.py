"""Files by other recorders say neither precision nor depth, and may have lost zeros: when what was inferred fails, try
the rest.

Precision: the number of decimals in a symbol's first snapshot with which its checksum comes out. Depth: the next
larger ones that Kraken serves, if the symbol looks better with them; a book that was cut too short misses orders, one
cut too long keeps some that Kraken has forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Optional, Protocol

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.reader import Archive
from kraken_l3.book.book import Book
from kraken_l3.engine.parse import Precision, decimals_of, read_content
from kraken_l3.engine.port import DEPTHS, MAX_PRECISION
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.messages import Level3Data
from kraken_l3.protocol.decoding import decode_level3
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.verification import SymbolReport, Verification

__all__ = ["infer_missing", "precision_by_checksum", "symbols_in"]

_SNAPSHOT = re.compile(rb'"type" *: *"snapshot"')
_TRIED_DECIMALS = 12


class VerifyAgain(Protocol):
    """Verifies some symbols of the same archive with other metadata."""

    def __call__(self, metadata: Sequence[SymbolMetadata], symbols: frozenset[str]) -> Verification:
        """What is found then."""


def infer_missing(
    found: Verification, archive: Archive, metadata: Sequence[SymbolMetadata], verify_again: VerifyAgain
) -> list[str]:
    """Try other precisions and depths for symbols with inferred ones that look bad; says what was found better."""
    doubtful = {s for s, report in found.symbols.items() if report.tally.precision_inferred and _is_bad(report)}
    said = []
    precisions = dict(_precisions(archive, doubtful)) if doubtful else {}
    trials = [[SymbolMetadata(0, symbol, *precision) for symbol, precision in precisions.items()]]
    trials += [[SymbolMetadata(0, symbol, depth=depth) for symbol in found.symbols] for depth in DEPTHS[1:]]
    better: list[SymbolMetadata] = list(metadata)
    for trial in trials:
        wanted = [each for each in trial if _is_worth_trying(found.symbols[each.symbol], each)]
        if not wanted:
            continue
        other = verify_again([*better, *wanted], frozenset(each.symbol for each in wanted))
        improved = [f for f in wanted if other.symbols[f.symbol].bad < found.symbols[f.symbol].bad]
        for each in improved:
            _keep_inferred(other.symbols[each.symbol], each)
        other.symbols = {each.symbol: other.symbols[each.symbol] for each in improved}
        found.replace(other)
        better += improved
        said += [_describe(each) for each in improved]
    return said


def _is_bad(report: SymbolReport) -> bool:
    return bool(report.bad or report.tally.unverifiable.get("precision"))


def _is_worth_trying(report: SymbolReport, each: SymbolMetadata) -> bool:
    if not _is_bad(report):
        return False
    tally = report.tally
    if each.depth is None:
        return (tally.price_precision, tally.qty_precision) != (each.price_precision, each.qty_precision)
    return tally.depth_inferred and (tally.depth or 0) < each.depth


def _keep_inferred(report: SymbolReport, each: SymbolMetadata) -> None:
    """What was tried was told to the engine, but nobody outside told it to us."""
    report.tally.precision_inferred = True
    report.tally.depth_inferred = report.tally.depth_inferred or each.depth is not None


def _describe(each: SymbolMetadata) -> str:
    if each.depth is not None:
        return f"{each.symbol}: depth {each.depth} fits better than the one its snapshots suggest"
    return (
        f"{each.symbol}: zeros were lost in this file; its first snapshot's checksum comes out with"
        f" {each.price_precision} and {each.qty_precision} decimals"
    )


def _precisions(archive: Archive, symbols: Iterable[str]) -> Iterator[tuple[str, Precision]]:
    for symbol, data in _first_snapshots(archive, set(symbols)):
        precision = precision_by_checksum(data)
        if precision is not None:
            yield symbol, precision


def symbols_in(archive: Archive) -> list[str]:
    """The symbols that have a snapshot, found without reading the updates."""
    found: dict[str, None] = {}
    for path in archive.files():
        with DataFile(path) as file:
            for block in file.blocks():
                found.update((data.symbol, None) for data in _snapshots_in(block.data))
    return list(found)


def _first_snapshots(archive: Archive, wanted: set[str]) -> Iterator[tuple[str, Level3Data]]:
    for path in archive.files():
        with DataFile(path) as file:
            for block in file.blocks():
                for data in _snapshots_in(block.data):
                    if data.symbol in wanted:
                        wanted.remove(data.symbol)
                        yield data.symbol, data
                    if not wanted:
                        return


def _snapshots_in(block: bytes) -> Iterator[Level3Data]:
    for match in _SNAPSHOT.finditer(block):
        end = block.find(b"\n", match.start())
        line = block[block.rfind(b"\n", 0, match.start()) + 1 : end if end >= 0 else len(block)]
        try:
            message = decode_level3(line)
        except MalformedMessage:
            continue
        if message is not None:
            yield from message.data


def precision_by_checksum(data: Level3Data) -> Optional[Precision]:
    """The precision, fewest decimals first, at which a snapshot's own checksum comes out; None when there is none."""
    try:
        seen = decimals_of(data, snapshot=True).written
    except ValueError:
        return None
    last = min(_TRIED_DECIMALS, MAX_PRECISION)
    candidates = product(range(seen.price, max(last, seen.price) + 1), range(seen.qty, max(last, seen.qty) + 1))
    for price, qty in sorted(candidates, key=sum):
        precision = Precision(price, qty)
        try:
            content = read_content(data, precision, snapshot=True)
        except ValueError:
            continue
        if not content.checksum > 0:
            return None
        book = Book(DEPTHS[-1], *precision)
        book.fill(content.bids, content.asks)
        if book.checksum() == content.checksum:
            return precision
    return None
