"""The engine in pure Python: the reference for what the port's page leaves open, and what runs where the native package
is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from struct import iter_unpack
from typing import Optional

from kraken_l3.book.book import Book, Finding
from kraken_l3.book.side import CHECKSUM_LEVELS
from kraken_l3.engine.columns import RowColumns
from kraken_l3.engine.depth import InferredWindow
from kraken_l3.engine.fastpath import decode_update, read_update
from kraken_l3.engine.parse import (
    Content,
    Precision,
    check_line,
    check_symbol,
    is_symbol,
    read_content,
    read_time,
    too_fine_number,
)
from kraken_l3.engine.port import (
    LARGEST_PRICE,
    MAX_ORDERS,
    MAX_SYMBOLS,
    BookImage,
    EngineOptions,
    Note,
    Result,
    SymbolTally,
    Totals,
)
from kraken_l3.engine.precision import lowest_precision, read_inferring
from kraken_l3.engine.records import Records
from kraken_l3.engine.routing import Owner, Routing
from kraken_l3.engine.symbol import SymbolBook
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import TooManyDecimals
from kraken_l3.model.events import MessageKind, OrderEvent, Reason, State, Verdict
from kraken_l3.model.messages import Level3Data, Level3Message
from kraken_l3.protocol.decoding import decode_level3

__all__ = ["PythonEngine"]

_INT64_END = 1 << 63
_BOM = b"\xef\xbb\xbf"
# Python 3.9 looks a member of an enumeration up by a function, which would be called for each message.
_UPDATE = MessageKind.UPDATE
_OK, _MISMATCH, _UNVERIFIABLE = Verdict.OK, Verdict.MISMATCH, Verdict.UNVERIFIABLE
_SYNCED = State.SYNCED


class PythonEngine:
    """See `engine.port.Engine`."""

    name = "python"

    def __init__(self, options: EngineOptions = EngineOptions()) -> None:  # noqa: B008 - frozen
        self._options = options
        self._books: dict[str, SymbolBook] = {}
        self._lines = self._not_data = self._malformed = self._skipped = self._too_many_symbols = 0
        self._level3_elsewhere = 0
        self._routing = Routing(options) if options.part[1] > 1 or options.only is not None else None
        self._records = Records(options)

    # What the caller says

    def set_symbol(
        self,
        symbol: str,
        *,
        price_precision: Optional[int] = None,
        qty_precision: Optional[int] = None,
        depth: Optional[int] = None,
    ) -> None:
        """See `Engine.set_symbol`."""
        entry = self._book_of(symbol) if is_symbol(symbol) else None
        if entry is not None:
            entry.parameters.set(price_precision, qty_precision, depth)

    def invalidate(self, symbol: Optional[str] = None) -> list[Note]:
        """See `Engine.invalidate`."""
        records = self._records
        records.line = records.offset = -1
        for entry in list(self._books.values()) if symbol is None else filter(None, [self._books.get(symbol)]):
            if entry.book is not None:
                records.drop(entry, gap=True)
        return records.take_notes()

    def load_book(self, image: BookImage) -> bool:
        """See `Engine.load_book`."""
        if not is_symbol(image.symbol) or not -_INT64_END <= image.newest_ns < _INT64_END:
            return False
        if self._routing is not None and self._routing.of_symbol(image.symbol.encode()) is not Owner.OWN:
            return False
        entry = self._book_of(image.symbol)
        try:
            check_line(image.message)
            message = decode_level3(image.message)
        except MalformedMessage:
            return False
        if entry is None or message is None or message.type != "snapshot" or len(message.data) != 1:
            return False
        data = message.data[0]
        try:
            content, precision = read_inferring(data, entry.parameters, snapshot=True)
        except ValueError:
            return False
        book = Book(entry.parameters.depth_for(content.levels()), *precision)
        book.fill(content.bids, content.asks)
        if data.symbol != image.symbol or book.checksum() != content.checksum:
            return False
        book.memory.newest_ns = max(book.memory.newest_ns, image.newest_ns)
        for order_id in image.amending:
            book.memory.remember_amend(order_id)
        self._adopt(entry, book, content)
        entry.last_verdict = Verdict.OK
        if self._records.best is not None:
            self._records.best.after_load(entry)
        return True

    # What the caller asks

    def export_book(self, symbol: str) -> Optional[BookImage]:
        """See `Engine.export_book`."""
        entry = self._books.get(symbol)
        return entry.image() if entry is not None else None

    def symbols(self) -> Sequence[str]:
        """See `Engine.symbols`."""
        return list(self._books)

    def tallies(self) -> list[SymbolTally]:
        """See `Engine.tallies`."""
        return [entry.up_to_date_tally() for entry in self._books.values()]

    def totals(self) -> Totals:
        """See `Engine.totals`."""
        return Totals(
            self._lines,
            self._not_data,
            self._malformed,
            self._skipped,
            self._too_many_symbols,
            self._level3_elsewhere,
        )

    # Lines

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        """See `Engine.feed`."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if recv_ns is not None and len(recv_ns) != 8 * len(lines):
            raise ValueError(f"{len(recv_ns)} bytes of receive times for {len(lines)} lines")
        records, routing = self._records, self._routing
        shows_rows = records.rows is not None or records.best is not None
        times = iter_unpack("<q", recv_ns) if recv_ns is not None and shows_rows else None
        records.line, records.offset = first_line, offset
        for line in lines:
            if times is not None:
                records.tick(next(times)[0], self._books.values())
            length = len(line) + 1
            if records.offset == 0 and line.startswith(_BOM):
                line = line[len(_BOM) :]
            if routing is not None:
                self._handle_routed(line, routing)
            elif not self._follow(line) and not self._handle(line):
                break
            records.line += 1
            records.offset += length
        taken = records.line - first_line
        self._lines += taken
        result = records.take(taken)
        if records.best is not None:
            result.best = records.best.take()
        return result

    def advance(self, recv_ns: int) -> Result:
        """See `Engine.advance`."""
        self._records.tick(recv_ns, self._books.values())
        result = self._records.take()
        if self._records.best is not None:
            result.best = RowColumns().take()  # those of loaded books come with lines
        return result

    def _handle_routed(self, line: bytes, routing: Routing) -> None:
        """A line that may be another engine's."""
        owner = routing.of_line(line)
        if owner is None:
            self._handle_shared(line, routing)
        elif owner is not Owner.OWN:
            self._skipped += 1
        elif not self._follow(line):
            self._handle(line)

    def _handle_shared(self, line: bytes, routing: Routing) -> None:
        """A line that only parsing tells whose it is: each engine takes the messages of its own symbols."""
        try:
            message = self._decode(line)
        except MalformedMessage:
            message = None
        if message is None or not message.data:
            if self._options.part[0] == 0:
                self._handle(line)
            else:
                self._skipped += 1
            return
        owners = [routing.of_symbol(data.symbol.encode()) for data in message.data]
        # It counts as passed over by all engines but the one of its first message.
        if next((owner for owner in owners if owner is not Owner.NOBODY), None) is not Owner.OWN:
            self._skipped += 1
        for data, owner in zip(message.data, owners):
            if owner is Owner.OWN:
                self._handle_data(data, message.type == "snapshot")

    def _decode(self, line: bytes) -> Optional[Level3Message]:
        """The messages of a line; None when it is not data."""
        check_line(line)
        message = decode_level3(line) if line.strip(b" \t\r") else None
        for data in message.data if message is not None else ():
            if data.symbol not in self._books:
                check_symbol(data.symbol)
        return message

    def _handle(self, line: bytes) -> bool:
        """Handle a line of any form; False when it comes too late and was not taken."""
        try:
            message = self._decode(line)
        except MalformedMessage as error:
            self._malformed += 1
            self._records.note("malformed", "", str(error))
            self._records.message(-1, MessageKind.UNREADABLE, Verdict.MALFORMED)
            return True
        if message is None:
            self._not_data += 1
            self._level3_elsewhere += b"level3" in line
            return True
        if self._options.until_ns is not None and self._is_late(message, self._options.until_ns):
            return False
        snapshot = message.type == "snapshot"
        for data in message.data:
            self._handle_data(data, snapshot)
        return True

    def _is_late(self, message: Level3Message, until_ns: int) -> bool:
        for data in message.data:
            entry = self._books.get(data.symbol)
            is_read = message.type == "snapshot" or (entry is not None and entry.book is not None)
            if is_read and read_time(data.timestamp) > until_ns:
                return True
        return False

    # One message of one symbol

    def _follow(self, line: bytes) -> bool:
        """The fast path: an update in Kraken's usual form for a book that stands. False: not taken."""
        data = decode_update(line)
        if data is None:
            return False
        entry = self._books.get(data.symbol)
        if entry is None or entry.book is None or entry.open:
            return False
        content = read_update(data, entry.precision)
        if content is None or (self._options.until_ns is not None and content.msg_ns > self._options.until_ns):
            return False
        entry.tally.messages += 1
        entry.tally.last_line = self._records.line
        self._apply_update(entry, content)
        self._judge(entry, _UPDATE, content)
        return True

    def _handle_data(self, data: Level3Data, snapshot: bool) -> None:
        kind = MessageKind.SNAPSHOT if snapshot else MessageKind.UPDATE
        entry = self._book_of(data.symbol)
        if entry is None:
            self._too_many_symbols += 1
            self._records.note("unverifiable", "", "too_many_symbols")
            self._records.message(-1, kind, Verdict.UNVERIFIABLE, Reason.TOO_MANY_SYMBOLS)
            return
        tally = entry.tally
        tally.messages += 1
        tally.snapshots += snapshot
        tally.last_line = self._records.line
        if entry.book is None and not snapshot:
            if entry.after_gap:
                self._records.unverifiable(entry, kind, Reason.AFTER_GAP)
            else:
                tally.before_snapshot += 1
                self._records.message(entry.index, kind, Verdict.BEFORE_SNAPSHOT)
            return
        try:
            if not snapshot and not (entry.open and (data.bids or data.asks)):
                content = read_content(data, entry.precision, snapshot=False)
            else:
                content, precision = read_inferring(data, entry.parameters, snapshot=snapshot)
                if not snapshot:
                    self._settle(entry, precision)
        except ValueError as error:
            self._refuse(entry, data, snapshot, error)
            return
        if snapshot:
            self._apply_snapshot(entry, content, precision)
        else:
            self._apply_update(entry, content)
        self._judge(entry, kind, content)

    def _refuse(self, entry: SymbolBook, data: Level3Data, snapshot: bool, error: ValueError) -> None:
        """Something in the message could not be read."""
        kind = MessageKind.SNAPSHOT if snapshot else MessageKind.UPDATE
        if isinstance(error, TooManyDecimals):
            try:
                precision = entry.precision
                if snapshot or entry.open:
                    precision = lowest_precision(data, entry.parameters, snapshot=snapshot)
                number = too_fine_number(data, precision, snapshot=snapshot)
            except ValueError as worse:
                error = worse
            else:
                self._records.note("unverifiable", entry.symbol, f"precision: {number}")
                self._records.unverifiable(entry, kind, Reason.PRECISION)
                self._records.drop(entry)
                return
        self._records.malformed(entry, kind, str(error))
        if snapshot and entry.book is not None:
            self._records.drop(entry)

    def _apply_snapshot(self, entry: SymbolBook, content: Content, precision: Precision) -> None:
        parameters = entry.parameters
        levels = content.levels()
        depth = parameters.depth_for(levels)
        book = Book(depth, *precision)
        trace: Optional[list[OrderEvent]] = [] if self._options.events else None
        book.fill(content.bids, content.asks, trace)
        before = entry.tally.parameters()
        if self._adopt(entry, book, content):
            self._records.note("incident_closed", entry.symbol, "snapshot")
        self._records.events(trace)
        self._records.inferred(entry, before)
        if levels > depth and parameters.depth is not None:
            self._records.finding(entry, "too_deep", "")

    def _apply_update(self, entry: SymbolBook, content: Content) -> None:
        assert entry.book is not None
        trace: Optional[list[OrderEvent]] = [] if self._options.events else None
        if entry.window is None:
            findings = entry.book.update(content.bids, content.asks, trace)
        else:
            findings = self._update_in_window(entry, entry.window, content, trace)
        for finding in findings:
            self._records.finding(entry, finding.kind, finding.order_id)
        entry.last_msg_ns = content.msg_ns
        entry.open = entry.open and not entry.book.orders
        if trace:
            self._records.events(trace)

    def _update_in_window(
        self, entry: SymbolBook, window: InferredWindow, content: Content, trace: Optional[list[OrderEvent]]
    ) -> list[Finding]:
        assert entry.book is not None
        before = entry.tally.parameters()
        entry.book, findings = window.update(entry.book, content, trace)
        entry.tally.depth = entry.book.depth
        entry.window = window if window.open else None
        self._records.inferred(entry, before)
        return findings

    def _adopt(self, entry: SymbolBook, book: Book, content: Content) -> bool:
        """Take a snapshot's book; True when that closed an incident."""
        parameters, tally = entry.parameters, entry.tally
        entry.book, entry.last_msg_ns, entry.after_gap, entry.last_top = book, content.msg_ns, False, None
        entry.precision = Precision(book.price_precision, book.qty_precision)
        entry.open = parameters.need_precision and not content.bids and not content.asks
        if not entry.open:
            tally.price_precision, tally.qty_precision = entry.precision
        tally.depth, tally.depth_inferred = book.depth, parameters.depth is None
        entry.window = InferredWindow(book.depth) if tally.depth_inferred else None
        tally.precision_inferred = parameters.need_precision
        return entry.tracker.snapshot()

    def _settle(self, entry: SymbolBook, precision: Precision) -> None:
        """The first numbers for a book that was empty so far tell its precision."""
        assert entry.book is not None
        before = entry.tally.parameters()
        entry.precision = precision
        entry.book.price_precision, entry.book.qty_precision = precision
        entry.tally.price_precision, entry.tally.qty_precision = precision
        self._records.inferred(entry, before)

    def _judge(self, entry: SymbolBook, kind: MessageKind, content: Content) -> None:
        """The whole message is applied: compare."""
        book, tally, records = entry.book, entry.tally, self._records
        assert book is not None
        bids, asks, expected = book.bids.keys, book.asks.keys, content.checksum
        if bids and asks and -bids[0] >= asks[0]:
            records.finding(entry, "crossed")
        if len(book.orders) > MAX_ORDERS:
            records.note("unverifiable", entry.symbol, "too_many_orders")
            records.unverifiable(entry, kind, Reason.TOO_MANY_ORDERS, content)
            records.drop(entry)
            return
        if expected < 0:
            verdict = _UNVERIFIABLE
            records.unverifiable(entry, kind, Reason.NO_CHECKSUM, content)
        elif (bids and bids[0] == -LARGEST_PRICE) or (
            asks and asks[-1] == LARGEST_PRICE and len(asks) <= CHECKSUM_LEVELS
        ):  # the checksum covers the price at which all rest that are too large
            verdict = _UNVERIFIABLE
            records.unverifiable(entry, kind, Reason.TOO_LARGE, content)
        else:
            computed = book.checksum()
            if computed == expected:
                verdict = _OK
                tally.ok += 1
                tally.last_ok_line = records.line
                if entry.tracker.state is not _SYNCED and entry.tracker.agree():
                    records.note("incident_closed", entry.symbol, "match")
            else:
                verdict = _MISMATCH
                records.mismatch(entry, expected, computed)
            if self._options.messages:
                records.message(entry.index, kind, verdict, Reason.NONE, expected, computed, content.msg_ns)
        entry.last_verdict, entry.last_line = verdict, records.line
        records.after_message(entry)

    def _book_of(self, symbol: str) -> Optional[SymbolBook]:
        entry = self._books.get(symbol)
        if entry is None and len(self._books) < MAX_SYMBOLS:
            entry = self._books[symbol] = SymbolBook(symbol, len(self._books))
        return entry
