"""A growing archive behind the exchange's port: its messages as soon as the recorder has written them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import BookImage, SymbolTally
from kraken_l3.exchange.feed import Message
from kraken_l3.exchange.replay.book_feed import BookFeed
from kraken_l3.exchange.replay.listing import Listing, described, newest_instruments, read_instruments
from kraken_l3.exchange.replay.others import message_of
from kraken_l3.model.events import MessageKind
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.following import Followed, Follower, Lines, OtherLine

__all__ = ["LiveFeed"]

#: Between two looks at the files: a look takes some microseconds, so this is most of the delay.
_POLL_NS = 1_000_000
#: When nothing was written for `_QUIET_NS`.
_QUIET_POLL_NS = 4_000_000
_QUIET_NS = 250_000_000
#: Between two looks for pairs that are new.
_LISTING_NS = 1_000_000_000


class LiveFeed(BookFeed):
    """Shows what a recorder is recording; implements `Feed`.

    Args:
        directory: its archive; it may still be empty.
        on_listed: told of a pair that is new, or described anew: its symbol and its object of the `instrument` channel.
        engine_name: which engine rebuilds the books.

    Raises:
        UsageError: there is no such directory.
    """

    def __init__(self, directory: Path, *, on_listed: Callable[[str, str], None], engine_name: str = "auto") -> None:
        recorded, assets = newest_instruments(open_archive(directory))
        super().__init__(Listing({}, assets, {}))
        self._recorded = dict(recorded)
        self._on_listed = on_listed
        self._follower = Follower(
            directory, events=True, streams=(Stream.TRADE, Stream.INSTRUMENT), engine_name=engine_name
        )
        self._tallies: dict[str, SymbolTally] = {}
        self._looking: Iterator[Followed] = iter(())
        self._is_behind = False
        self._looked_ns = self._written_ns = self._listed_ns = 0

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def catch_up(self) -> Iterator[None]:
        """Read what is there, before anybody is subscribed, piece by piece."""
        for told in self._follower.look():
            self._take(told)
            yield
        self._look_at_books()

    @property
    def at_ns(self) -> int:
        """Receive time of the newest line (0: none yet)."""
        return self._follower.now_ns

    @property
    def missing(self) -> list[str]:
        """The pairs in a gap."""
        return [symbol for symbol in self._listing.records if self._is_missing(symbol)]

    # what the follower knows

    def _tally(self, symbol: str) -> Optional[SymbolTally]:
        return self._tallies.get(symbol)

    def _look_at_books(self) -> None:
        """Depths and precisions, which change with snapshots alone; with many pairs it takes milliseconds to ask."""
        self._tallies = self._follower.tallies()
        self._list_pairs()

    def _is_missing(self, symbol: str) -> bool:
        return self._follower.is_missing(symbol)

    def _verified(self, symbol: str) -> Optional[BookImage]:
        return self._follower.book(symbol)

    def set_system(self, system: str) -> None:
        """See `Feed.set_system`. What is recorded is shown whatever a fault script says of the engine's status."""

    # what is written

    def due(self, _wall_ns: int, mono_ns: int) -> list[Message]:
        """See `Feed.due`."""
        told = next(self._looking, None)
        if told is None:
            self._looking = self._follower.look()
            told = next(self._looking, None)
        self._looked_ns, self._is_behind = mono_ns, told is not None
        if told is not None:
            self._written_ns = mono_ns
        out = self._take(told) if told is not None else []
        if mono_ns - self._listed_ns >= _LISTING_NS:
            self._listed_ns = mono_ns
            self._look_at_books()
        return out

    def next_due_ns(self) -> int:
        """See `Feed.next_due_ns`: never 0, since a recorder does not wait for those who read slowly."""
        if self._is_behind:
            return self._looked_ns
        return self._looked_ns + (_QUIET_POLL_NS if self._looked_ns - self._written_ns > _QUIET_NS else _POLL_NS)

    def _take(self, told: Followed) -> list[Message]:
        if isinstance(told, Lines):
            if MessageKind.SNAPSHOT in told.result.messages["kind"]:
                self._look_at_books()
            return list(self._messages(told.result, told.lines, told.begin.line, told.symbols))
        if not isinstance(told, OtherLine):
            return []  # a gap: silence, until its snapshot comes
        if told.stream is Stream.INSTRUMENT:
            self._describe(told.line.payload)
        return [self._other(message_of(told.stream, told.line.payload))]

    def _describe(self, payload: bytes) -> None:
        pairs, assets = read_instruments(payload)
        self._recorded.update(pairs)
        if assets:
            self._listing = self._listing._replace(assets=assets)
        for symbol in pairs.keys() & self._listing.records.keys():
            self._list(symbol, pairs[symbol])

    def _list_pairs(self) -> None:
        """Offer the pairs whose depth and precisions are known."""
        for symbol, known in self._follower.known().items():
            if known.depth is None or known.price_precision is None or known.qty_precision is None:
                continue
            self._listing.depths[symbol] = known.depth
            if symbol not in self._listing.records:
                pair = Instrument(
                    symbol=symbol, price_precision=known.price_precision, qty_precision=known.qty_precision
                )
                self._list(symbol, self._recorded.get(symbol) or described(pair))

    def _list(self, symbol: str, record: str) -> None:
        self._listing.records[symbol] = record
        self._on_listed(symbol, record)
