"""The recorded book of a pair through a window of time: as it begins, and after each message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.gaps import last_receive_ns
from kraken_l3.archive.journal import decode_record
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.reader import Archive
from kraken_l3.audit.rest_book import Order, OrderKey
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EVENT_COLUMNS, MESSAGE_COLUMNS, ORDER_ID_BYTES, Columns, Engine, EngineOptions, Result
from kraken_l3.errors import ArchiveError, DataMissing, MalformedMessage
from kraken_l3.model.decimals import parse_scaled
from kraken_l3.model.events import Action, Side, Verdict
from kraken_l3.protocol.decoding import decode_level3
from kraken_l3.rebuild.book_at import BookAt, book_at
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import Place, Step, play

__all__ = ["Change", "recorded_changes", "recorded_until_ns"]

_GONE = (Action.DELETE, Action.EVICT)
#: A record is shorter, most are very much so.
_TAIL_BYTES = 128 * 1024
_READ = {name: EVENT_COLUMNS[name] for name in ("message", "side", "action", "price", "qty")}


class Change(NamedTuple):
    """What one message did to the book.

    Attributes:
        recv_ns: when it was received.
        begins_anew: all orders before it are gone.
        orders: those that came or changed, None where one is gone; in order.
        verdict: what the message's checksum said; None for the book with which the window begins.
        precisions: of price and quantity.
    """

    recv_ns: int
    begins_anew: bool
    orders: list[tuple[OrderKey, Optional[Order]]]
    verdict: Optional[Verdict]
    precisions: tuple[int, int]


def recorded_changes(
    archive: Archive, symbol: str, begin_ns: int, end_ns: int, engine_name: str = "auto"
) -> Iterator[Change]:
    """The book at the beginning, if there is one, and then each message up to the end.

    Args:
        archive: may be one that is being recorded.
        symbol: whose book.
        begin_ns: on the receive clock.
        end_ns: likewise; what was received just then is in it.
        engine_name: see `engine.choose`.

    Raises:
        DamageFound: the archive cannot be read up to there.
        DataMissing: it has no receive times, or nothing of the pair.
    """
    engine = make_engine(EngineOptions(messages=True, events=True, only=frozenset([symbol])), engine_name)
    begin = _place_at(archive, begin_ns)
    try:
        found = book_at(archive, symbol, at_ns=begin_ns, engine_name=engine_name)
    except DataMissing:  # it may begin within the window
        found = None
    if found is not None:
        engine.load_book(found.image)
        with DataFile(archive.directory / found.file) as file:
            begin = Place(file.path, file.at_line(found.line))
        yield _first(found)
    for step in play(engine, archive, metadata_in(archive), begin=begin, end=_place_at(archive, end_ns + 1)):
        if isinstance(step, Step) and step.result.messages:
            yield from _changes(engine, step, symbol)


def _place_at(archive: Archive, at_ns: int) -> Place:
    """Behind the last line received before a moment."""
    files = archive.files()
    for path in reversed(files):
        with DataFile(path) as file:
            if file.receipts is None:
                raise DataMissing("the lines have no receive times", where=str(path), hint="Audit a recording of ours")
            position = file.at_time(at_ns)
            if position.line or path == files[0]:
                return Place(path, position)
    raise DataMissing("there is no level3 data", where=str(archive.path))


def _first(found: BookAt) -> Change:
    message = decode_level3(found.image.message)
    assert message is not None
    (data,) = message.data
    precisions = (found.tally.price_precision or 0, found.tally.qty_precision or 0)
    orders: list[tuple[OrderKey, Optional[Order]]] = [
        ((side, entry.order_id), _scaled(bytes(entry.limit_price), bytes(entry.order_qty), precisions))
        for side, entries in ((Side.BID, data.bids), (Side.ASK, data.asks))
        for entry in entries or ()
    ]
    return Change(found.recv_ns or 0, True, orders, None, precisions)


def _scaled(price: bytes, qty: bytes, precisions: tuple[int, int]) -> Order:
    return parse_scaled(price, precisions[0]), parse_scaled(qty, precisions[1])


def _changes(engine: Engine, step: Step, symbol: str) -> Iterator[Change]:
    """One for each message of the pair in a step."""
    messages = _columns(step.result.messages, MESSAGE_COLUMNS)
    tally = next(each for each in engine.tallies() if each.symbol == symbol)
    precisions = (tally.price_precision or 0, tally.qty_precision or 0)
    by_message = _orders(step.result)
    receipts = step.block.file.receipts
    assert receipts is not None
    for number, line in enumerate(messages["line"]):
        orders = by_message.get(number, [])
        begins_anew = any(key is None for key, _ in orders)
        if begins_anew:
            last_clear = max(at for at, (key, _) in enumerate(orders) if key is None)
            orders = orders[last_clear + 1 :]
        changes = [(key, order) for key, order in orders if key is not None]
        verdict = Verdict(messages["verdict"][number])
        yield Change(receipts[line].recv_ns, begins_anew, changes, verdict, precisions)


def _columns(packed: Columns, codes: Mapping[str, str]) -> dict[str, memoryview[int]]:
    return {name: memoryview(packed[name]).cast(code) for name, code in codes.items()}  # type: ignore[call-overload]


def _orders(result: Result) -> dict[int, list[tuple[Optional[OrderKey], Optional[Order]]]]:
    """What each message (by its number in the result) did to orders; without a key: all are gone."""
    columns = _columns(result.events, _READ)
    ids = result.events["order_id"]
    found: dict[int, list[tuple[Optional[OrderKey], Optional[Order]]]] = defaultdict(list)
    for at, (message, side, action, price, qty) in enumerate(zip(*columns.values())):
        if action == Action.CLEAR:
            found[message].append((None, None))
            continue
        text = ids[at * ORDER_ID_BYTES : (at + 1) * ORDER_ID_BYTES].rstrip(b"\0").decode("utf-8", "surrogatepass")
        key = (Side(side), result.overflow_ids.get(at, text))
        found[message].append((key, None if action in _GONE else (price, qty)))
    return found


def recorded_until_ns(archive: Archive) -> int:
    """The latest moment that the files tell of, by a line or by a record of the journal; 0 where there is none."""
    return max(last_receive_ns(archive, Stream.LEVEL3), max(map(_last_record_ns, _journals(archive)), default=0))


def _journals(archive: Archive) -> list[Path]:
    return [DayPaths(archive.directory, day).journal for day in archive.days]


def _last_record_ns(journal: Path) -> int:
    try:
        file = PlainFile(journal)
    except ArchiveError:
        return 0
    try:
        tail = file.read_at(max(0, file.size() - _TAIL_BYTES), _TAIL_BYTES)
    finally:
        file.close()
    for line in reversed(tail[: tail.rfind(b"\n") + 1].splitlines()):
        with suppress(MalformedMessage):
            return decode_record(line).at_ns
    return 0
