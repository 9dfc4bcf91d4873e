"""The pairs of a recording, as the `instrument` channel describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.archive.datafile import DataFile, Skipped
from kraken_l3.archive.journal import Instruments
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, SymbolTally
from kraken_l3.errors import DamageFound
from kraken_l3.exchange.exact_json import read_exact, write_exact
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import play

__all__ = ["Listing", "described", "list_instruments", "newest_instruments", "offered", "read_instruments"]


class Listing(NamedTuple):
    """What a recording has.

    Attributes:
        records: symbol to its object of the `instrument` channel, as JSON text.
        assets: the elements of that channel's array `assets`, as JSON text.
        depths: symbol to the largest depth it was recorded with.
    """

    records: dict[str, str]
    assets: str
    depths: dict[str, int]


def list_instruments(archive: Archive, metadata: list[SymbolMetadata], engine_name: str) -> Listing:
    """The pairs that have level3 data: as the recorded channel, else the journal, else the data itself describes them.

    Where no journal tells depths and precisions, all of the data is read once.
    """
    depths: dict[str, int] = {}
    precisions: dict[str, Instrument] = {}
    for told in metadata:
        if told.depth is not None:
            depths[told.symbol] = max(told.depth, depths.get(told.symbol, 0))
    for day in archive.days:
        for record in archive.journal(day):
            if isinstance(record, Instruments):
                precisions.update((pair.symbol, pair) for pair in record.instruments)
    if not depths or not depths.keys() <= precisions.keys():
        for tally in _tallies(archive, metadata, engine_name):
            if tally.depth is not None and tally.price_precision is not None and tally.qty_precision is not None:
                depths[tally.symbol] = max(tally.depth, depths.get(tally.symbol, 0))
                pair = Instrument(
                    symbol=tally.symbol, price_precision=tally.price_precision, qty_precision=tally.qty_precision
                )
                precisions.setdefault(tally.symbol, pair)
    recorded, assets = _recorded(archive)
    records = {
        symbol: recorded.get(symbol) or described(precisions[symbol])
        for symbol in sorted(depths)
        if symbol in recorded or symbol in precisions
    }
    return Listing(records, assets, depths)


def _tallies(archive: Archive, metadata: list[SymbolMetadata], engine_name: str) -> list[SymbolTally]:
    engine = make_engine(EngineOptions(), engine_name)
    hidden: list[DamageFound] = []  # told again while the recording is shown
    for _ in play(engine, archive, metadata, on_damage=hidden.append):
        pass
    return engine.tallies()


class _Message(msgspec.Struct):
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()


def _recorded(archive: Archive) -> tuple[Mapping[str, str], str]:
    """The records and assets of the first snapshot of the `instrument` channel, if that was recorded."""
    if not archive.is_directory:
        return {}, ""
    for line in archive.lines(Stream.INSTRUMENT, skipped=Skipped()):
        if _type_of(line.payload) == "snapshot":
            return read_instruments(line.payload)
    return {}, ""


def newest_instruments(archive: Archive) -> tuple[Mapping[str, str], str]:
    """The same of the last snapshot, for a recording that goes on."""
    for path in reversed(archive.files(Stream.INSTRUMENT, parts=False)):
        with DataFile(path) as file:
            last = None
            for line in file.lines(skipped=Skipped()):
                if _type_of(line.payload) == "snapshot":
                    last = line.payload
        if last is not None:
            return read_instruments(last)
    return {}, ""


def _type_of(payload: bytes) -> str:
    try:
        return msgspec.json.decode(payload, type=_Message).type
    except msgspec.DecodeError:
        return ""


def read_instruments(payload: bytes) -> tuple[Mapping[str, str], str]:
    """The records and assets of a message of the `instrument` channel; none where it cannot be read."""
    try:
        data = read_exact(bytes(msgspec.json.decode(payload, type=_Message).data).decode("utf-8", "replace"))
        pairs = {str(pair["symbol"]): write_exact(pair) for pair in data.get("pairs") or []}
        return pairs, ",".join(write_exact(asset) for asset in data.get("assets") or [])
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, ""


def described(pair: Instrument) -> str:
    """A pair's object with what is known of it; fees and minimums, which nobody recorded, are the least possible."""
    base, _, quote = pair.symbol.partition("/")
    price = pair.price_increment or _increment(pair.price_precision)
    qty = pair.qty_increment or _increment(pair.qty_precision)
    text = write_exact({"symbol": pair.symbol, "base": base, "quote": quote, "status": pair.status})
    return (
        f'{text[:-1]},"qty_precision":{pair.qty_precision},"qty_increment":{qty},'
        f'"price_precision":{pair.price_precision},"cost_precision":8,"marginable":false,"has_index":false,'
        f'"cost_min":0.5,"tick_size":{price},"price_increment":{price},"qty_min":{qty}}}'
    )


def _increment(precision: int) -> str:
    return f"0.{'1'.rjust(precision, '0')}" if precision else "1"


def offered(depth: Optional[int]) -> tuple[int, ...]:
    """The depths that a recording of this depth can serve."""
    return tuple(each for each in (10, 100, 1000) if depth is not None and each <= depth) or ((10,) if depth else ())
