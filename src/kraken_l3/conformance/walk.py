"""A connection's level3 messages, applied to books of the checks' own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Optional

from kraken_l3.conformance.books import OrderBook
from kraken_l3.conformance.check import Skipped
from kraken_l3.conformance.transcript import Entry, Message, Talk, Transcript

__all__ = ["Applied", "applied", "level3_messages", "walks"]


class Applied(NamedTuple):
    """One message, applied.

    Attributes:
        symbol, kind: the pair's name, and "snapshot" or "update".
        data: the message's element of `data`.
        unknown: events of orders that the book did not have.
        sizes: levels of asks and bids before and after it.
        is_crossed: whether best bid and ask cross after it.
        checksum, arrival_checksum: of the book after it, its queues in order of time, and in order of arrival.
        replaced: for each `modify`, the order before it.
    """

    symbol: str
    kind: str
    data: Message
    unknown: list[str]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    is_crossed: bool
    checksum: int
    arrival_checksum: int
    replaced: list[tuple[Message, Message]]


def level3_messages(talk: Talk) -> Iterator[Entry]:
    """Those with a symbol that can be read."""
    for entry in talk.data("level3"):
        data = entry.message.get("data")
        if isinstance(data, list) and data and isinstance(data[0], dict) and "symbol" in data[0]:
            yield entry


@lru_cache(maxsize=16)  # many checks look at one transcript
def applied(transcript: Transcript, name: str) -> list[Applied]:
    """Every message of a connection of which the book is known."""
    talk, depth = transcript.talks[name], int(name.partition("-")[2] or 10)
    books: dict[str, OrderBook] = {}
    done = []
    for entry in talk.received():
        message = entry.message
        if message.get("method") == "unsubscribe" and message.get("success") is True:
            books.pop(str(message["result"].get("symbol")), None)
        if message.get("channel") != "level3":
            continue
        for data in message["data"]:
            symbol = str(data["symbol"])
            if message["type"] == "snapshot":
                books[symbol] = OrderBook(depth, transcript.precisions.get(symbol))
            book = books.get(symbol)
            if book is not None:
                done.append(_apply(book, symbol, message["type"], data))
    return done


def _apply(book: OrderBook, symbol: str, kind: str, data: Message) -> Applied:
    before = (book.size("asks"), book.size("bids"))
    changed = [order for side in ("asks", "bids") for order in data[side] if order.get("event") == "modify"]
    replaced = [(old, new) for new in changed if (old := book.order(new["order_id"])) is not None]
    unknown = book.apply(data)
    after = (book.size("asks"), book.size("bids"))
    checksum = book.checksum()
    # Only orders that come together can come out of order
    is_ambiguous = any(sum(order.get("event") == "add" for order in data[side]) > 1 for side in ("asks", "bids"))
    by_arrival = book.checksum(by_time=False) if is_ambiguous else checksum
    return Applied(symbol, kind, data, unknown, (before, after), book.is_crossed, checksum, by_arrival, replaced)


def walks(transcript: Transcript, kind: Optional[str] = None) -> list[tuple[str, Applied]]:
    """What was applied on all level3 connections, with the connection's name; at least one message."""
    found = [
        (name, each)
        for name, talk in transcript.talks.items()
        if name == "main" or name.startswith("depth-")
        if talk.endpoint == "level3"
        for each in applied(transcript, name)
        if kind in (None, each.kind)
    ]
    if not found:
        raise Skipped(transcript.missing.get("main", f"no {kind or 'message'} of a known book came"))
    return found
