"""What the Python engine tells of the lines it handles: notes, tallies of what is bad, and the columns asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from kraken_l3.engine.columns import MessageRow, event_columns, message_columns
from kraken_l3.engine.grid import BookRows
from kraken_l3.engine.parse import Content
from kraken_l3.engine.port import MAX_NOTES, Bad, EngineOptions, Note, Result, RowOptions
from kraken_l3.engine.symbol import SymbolBook
from kraken_l3.model.events import MessageKind, OrderEvent, Reason, Verdict

__all__ = ["Records"]


class Records:
    """Everything since the last `take`.

    Attributes:
        line, offset: where the line that is handled stands; -1 between lines.
        rows, best: the book rows, where they are asked for.
    """

    __slots__ = (
        "_event_messages",
        "_events",
        "_messages",
        "_noted",
        "_options",
        "_result",
        "best",
        "line",
        "offset",
        "rows",
    )

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._noted: dict[tuple[str, str], int] = {}
        self._result = Result()
        self._messages: list[MessageRow] = []
        self._events: list[OrderEvent] = []
        self._event_messages: list[int] = []
        self.rows = BookRows(options.rows) if options.rows is not None else None
        self.best = BookRows(RowOptions(levels=1)) if options.best else None
        self.line = self.offset = -1

    def take(self, lines: int = 0) -> Result:
        """What was told since the last call."""
        result, self._result = self._result, Result()
        result.lines = lines
        if self._options.messages:
            result.messages = message_columns(self._messages)
            self._messages = []
        if self._options.events:
            result.events, result.overflow_ids = event_columns(self._event_messages, self._events)
            self._events, self._event_messages = [], []
        if self.rows is not None:
            result.rows = self.rows.take()
        return result

    def tick(self, recv_ns: int, books: Iterable[SymbolBook]) -> None:
        """The receive clock runs on."""
        if self.rows is not None:
            self.rows.tick(recv_ns, books)
        if self.best is not None:
            self.best.tick(recv_ns, books)

    def after_message(self, entry: SymbolBook) -> None:
        """A message was applied to this book."""
        if self.rows is not None:
            self.rows.after_message(entry)
        if self.best is not None:
            self.best.after_message(entry)

    def take_notes(self) -> list[Note]:
        """The notes alone."""
        notes, self._result.notes = self._result.notes, []
        return notes

    def note(
        self,
        kind: str,
        symbol: str,
        detail: str = "",
        expected: Optional[int] = None,
        computed: Optional[int] = None,
    ) -> None:
        """Note something; of one kind and symbol only the first `MAX_NOTES`."""
        count = self._noted.get((symbol, kind), 0)
        if count < MAX_NOTES:
            self._noted[symbol, kind] = count + 1
            self._result.notes.append(Note(kind, self.line, self.offset, symbol, detail, expected, computed))

    def message(
        self,
        index: int,
        kind: MessageKind,
        verdict: Verdict,
        reason: Reason = Reason.NONE,
        expected: int = -1,
        computed: int = -1,
        msg_ns: int = 0,
    ) -> None:
        """The row of a message."""
        if self._options.messages:
            self._messages.append((self.line, index, kind, verdict, reason, expected, computed, msg_ns))

    def events(self, trace: Optional[list[OrderEvent]]) -> None:
        """A message's events; its row is the next to be written."""
        if trace:
            self._event_messages += [len(self._messages)] * len(trace)
            self._events += trace

    def finding(self, entry: SymbolBook, kind: str, order_id: str = "") -> None:
        """Something that cannot be in a book in step."""
        findings = entry.tally.findings
        findings[kind] = findings.get(kind, 0) + 1
        entry.blame(Bad(kind, self.line, self.offset))
        self.note(kind, entry.symbol, order_id)

    def mismatch(self, entry: SymbolBook, expected: int, computed: int) -> None:
        """The checksum of the book is another than the message's."""
        entry.tally.mismatched += 1
        entry.blame(Bad("mismatch", self.line, self.offset, expected, computed))
        if entry.tracker.differ():
            self.note("incident_opened", entry.symbol, "", expected, computed)

    def malformed(self, entry: SymbolBook, kind: MessageKind, why: str) -> None:
        """Something in the message cannot be read."""
        entry.tally.malformed += 1
        self.note("malformed", entry.symbol, why)
        entry.blame(Bad("malformed", self.line, self.offset))
        self.message(entry.index, kind, Verdict.MALFORMED)

    def unverifiable(
        self, entry: SymbolBook, kind: MessageKind, reason: Reason, content: Optional[Content] = None
    ) -> None:
        """Nothing can be said of the message; `content` when it was read."""
        counts = entry.tally.unverifiable
        name = reason.name.lower()
        counts[name] = counts.get(name, 0) + 1
        expected, msg_ns = (content.checksum, content.msg_ns) if content is not None else (-1, 0)
        self.message(entry.index, kind, Verdict.UNVERIFIABLE, reason, expected, -1, msg_ns)

    def drop(self, entry: SymbolBook, *, gap: bool = False) -> None:
        """The book is taken away."""
        if entry.drop(gap=gap):
            self.note("incident_closed", entry.symbol, "gap" if gap else "dropped")

    def inferred(self, entry: SymbolBook, before: tuple[Optional[int], ...]) -> None:
        """Tell what precision and depth hold where they were inferred, and are others than `before`."""
        price, qty, depth = now = entry.tally.parameters()
        inferred = entry.tally.precision_inferred or entry.tally.depth_inferred
        if inferred and now != before and price is not None:
            self.note("inferred", entry.symbol, f"price_precision={price} qty_precision={qty} depth={depth}")
