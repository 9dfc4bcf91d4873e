"""What is told of symbols from outside the data: precisions and depths.

One meaning everywhere: what is told holds from its line on, until something else is told. Its line is the first one
received at its moment or later. Two things are known ahead of that:

- the first value of each kind that is ever told of a symbol holds from the symbol's first line, since a snapshot may
  come before the acknowledgement that tells its depth;
- the first depth acknowledged on a connection holds for all of that connection, for the same reason.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional, Union

from kraken_l3.archive.datafile import Block, DataFile
from kraken_l3.archive.journal import Acknowledged, Connected, Instruments, Record
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.opening import open_source
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.receipts import ReceiptIndex
from kraken_l3.engine.port import Engine
from kraken_l3.errors import ArchiveError, MalformedMessage, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.protocol.decoding import PRECISIONS, decode_instruments, decode_level3

__all__ = ["MetadataReader", "MetadataTeller", "SymbolMetadata", "metadata_in", "read_instruments", "symbols_in"]


_SNAPSHOT = re.compile(rb'"type" *: *"snapshot"')


class SymbolMetadata(NamedTuple):
    """Something told of a symbol, from `at_ns` (wall clock) on; None where this says nothing."""

    at_ns: int
    symbol: str
    price_precision: Optional[int] = None
    qty_precision: Optional[int] = None
    depth: Optional[int] = None


class MetadataReader:
    """Reads what the records of journals, in order, tell of symbols."""

    def __init__(self) -> None:
        self._connected_ns: dict[int, int] = {}
        self._acknowledged: set[tuple[int, str]] = set()

    def read(self, record: Record) -> Iterator[SymbolMetadata]:
        """What one record tells."""
        if isinstance(record, Instruments):
            for pair in record.instruments:
                if pair.price_precision not in PRECISIONS or pair.qty_precision not in PRECISIONS:
                    continue  # nobody can verify with it; a journal may come from anyone
                yield SymbolMetadata(record.at_ns, pair.symbol, pair.price_precision, pair.qty_precision)
        elif isinstance(record, Connected):
            self._connected_ns.setdefault(record.connection, record.at_ns)  # a restated one was connected long before
        elif isinstance(record, Acknowledged) and record.channel == Stream.LEVEL3.value and record.depth is not None:
            at_ns = record.at_ns
            if (record.connection, record.symbol) not in self._acknowledged:
                self._acknowledged.add((record.connection, record.symbol))
                at_ns = min(at_ns, self._connected_ns.get(record.connection, at_ns))
            yield SymbolMetadata(at_ns, record.symbol, depth=record.depth)


def metadata_in(
    archive: Archive, instruments: Iterable[Instrument] = (), depths: Optional[Mapping[str, int]] = None
) -> list[SymbolMetadata]:
    """All that is told of an archive's symbols, oldest first and without repetitions.

    Args:
        archive: whose journals are read.
        instruments: precisions that the user knows; they outweigh the journal's.
        depths: subscribed depths that the user knows, by symbol; likewise.
    """
    told = [SymbolMetadata(0, pair.symbol, pair.price_precision, pair.qty_precision) for pair in instruments]
    given = {each.symbol for each in told}
    told += (SymbolMetadata(0, symbol, depth=depth) for symbol, depth in (depths or {}).items())
    reader = MetadataReader()
    for day in archive.days:
        for record in archive.journal(day):
            for each in reader.read(record):
                if each.symbol not in (given if each.depth is None else depths or {}):
                    told.append(each)
    return list(_changes(sorted(told, key=lambda each: each.at_ns)))


def _changes(told: Iterable[SymbolMetadata]) -> Iterator[SymbolMetadata]:
    known: dict[str, SymbolMetadata] = {}
    for each in told:
        before = known.get(each.symbol, SymbolMetadata(0, each.symbol))
        after = _over(before, each)
        if after[2:] != before[2:]:
            known[each.symbol] = after
            yield after


def _over(before: SymbolMetadata, told: SymbolMetadata) -> SymbolMetadata:
    """What is known after `told`, when `before` was known."""
    values = (old if new is None else new for old, new in zip(before[2:], told[2:]))
    return SymbolMetadata(told.at_ns, told.symbol, *values)


class MetadataTeller:
    """Tells an engine what is known of symbols, each at its line.

    Args:
        engine: is told.
        metadata: what is known so far, oldest first.
        begin_ns: what was told before is told at once: no line that comes is older.
    """

    def __init__(self, engine: Engine, metadata: Iterable[SymbolMetadata] = (), *, begin_ns: int = 0) -> None:
        self._engine = engine
        self._known: dict[str, SymbolMetadata] = {}
        self._told: dict[str, SymbolMetadata] = {}
        self._pending: list[SymbolMetadata] = []
        for each in metadata:
            self.add(each)
        self.tell_until(begin_ns)

    @property
    def known(self) -> Mapping[str, SymbolMetadata]:
        """The newest of each symbol, whether or not its line was reached."""
        return self._known

    def add(self, told: SymbolMetadata) -> None:
        """Something more is known, newer than all before: told at once where it is a first value, else at its line."""
        before = self._known.get(told.symbol, SymbolMetadata(0, told.symbol))
        after = _over(before, told)
        self._known[told.symbol] = after
        firsts = [new if old is None else None for old, new in zip(before[2:], after[2:])]
        if any(value is not None for value in firsts):
            self._tell(SymbolMetadata(told.at_ns, told.symbol, *firsts))
        if any(old not in (None, new) for old, new in zip(before[2:], after[2:])):
            self._pending.append(after)

    def tell_until(self, at_ns: int) -> None:
        """Tell what holds from a moment before `at_ns`, or at it, on."""
        while self._pending and self._pending[0].at_ns <= at_ns:
            self._tell(self._pending.pop(0))

    def tell_before_line(self, receipts: ReceiptIndex, line: int) -> None:
        """Tell what holds at a line."""
        while self._pending and receipts.line_at_time(self._pending[0].at_ns) <= line:
            self._tell(self._pending.pop(0))

    def tell_again(self) -> None:
        """Tell what holds once more: a checkpoint that was loaded tells a depth too, and what is told outweighs it."""
        for told in self._told.values():
            self._set(told)

    def cut(self, file: DataFile, block: Block) -> Iterator[Union[Block, SymbolMetadata]]:
        """A block in pieces, between which is told what holds from there on.

        Without receipts nothing says which line a moment is: then it is told where the next file begins.
        """
        receipts = file.receipts
        while self._pending and receipts is not None:
            begin = receipts.start_of(receipts.line_at_time(self._pending[0].at_ns)) - block.offset
            if begin >= len(block.data):
                break
            if begin > 0:
                head = block.data[:begin]
                yield block._replace(data=head)
                lines = head.count(b"\n")
                block = block._replace(
                    data=block.data[begin:], offset=block.offset + begin, first_line=block.first_line + lines
                )
            told = self._pending.pop(0)
            self._tell(told)
            yield told
        if block.data:
            yield block

    def _tell(self, told: SymbolMetadata) -> None:
        self._told[told.symbol] = _over(self._told.get(told.symbol, SymbolMetadata(0, told.symbol)), told)
        self._set(told)

    def _set(self, told: SymbolMetadata) -> None:
        self._engine.set_symbol(
            told.symbol, price_precision=told.price_precision, qty_precision=told.qty_precision, depth=told.depth
        )


def symbols_in(archive: Archive) -> list[str]:
    """The symbols that have a snapshot, found without decoding the updates."""
    found: dict[str, None] = {}
    for path in archive.files():
        with DataFile(path) as file:
            for block in file.blocks():
                for match in _SNAPSHOT.finditer(block.data):
                    end = block.data.find(b"\n", match.start())
                    begin = block.data.rfind(b"\n", 0, match.start()) + 1
                    found.update(dict.fromkeys(_symbols_of(block.data[begin : end if end >= 0 else None])))
    return list(found)


def _symbols_of(line: bytes) -> list[str]:
    try:
        message = decode_level3(line)
    except MalformedMessage:
        return []
    return [] if message is None else [data.symbol for data in message.data]


def read_instruments(path: Path) -> list[Instrument]:
    """Precisions from a file of `instrument` messages, one a line or the whole file one.

    Raises:
        UsageError: it holds none.
    """
    try:
        with contextlib.closing(open_source(path)) as source:
            content = source.read_at(0, source.size())
    except ArchiveError as error:  # a FIFO would be waited for, a device never ends
        raise UsageError(error.what, where=str(path)) from None
    lines = [line for line in content.splitlines() if line.strip()]
    is_one_message = len(lines) > 1 and not lines[0].rstrip().endswith(b"}")
    pairs: dict[str, Instrument] = {}
    try:
        for message in [content] if is_one_message else lines:
            pairs.update((pair.symbol, pair) for pair in decode_instruments(message))
    except MalformedMessage as error:
        raise UsageError(error.what, where=str(path), hint="It takes messages of Kraken's instrument channel") from None
    return list(pairs.values())
