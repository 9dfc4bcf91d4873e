"""The port of the rebuilding engine: lines of an archive in, verdicts, order events and book rows out.

Two engines stand behind it with the same results, `engine.python` (the reference for whatever this page leaves open)
and `engine.native`, which wraps the package `kraken_l3_native`. An engine holds the books of all symbols and is fed
blocks of whole lines. It does no I/O and never guesses about the outside: gaps, precisions, depths and receive times
are told to it. Results never depend on how the lines were cut into blocks.

The life of a line
------------------
Lines end in "\\n" (a missing last newline is fine; "\\r" before it and a byte order mark at offset 0 are ignored). A
blank line, and a valid JSON value that is not an object with channel "level3" and type "snapshot" or "update", is
*not data*: counted, no message. A line that is not UTF-8, not JSON, longer than `MAX_LINE_BYTES`, nested deeper than
`MAX_NESTING`, or whose shape is wrong (below) is *malformed*.
Otherwise every element of `data` is one message of its symbol and goes through these steps; the first that applies
decides the verdict:

1. An update for a symbol without a book: BEFORE_SNAPSHOT, or UNVERIFIABLE (AFTER_GAP) when `invalidate` took the book
   away. Nothing in it is read beyond its shape.
2. A number, id or event in it cannot be read: MALFORMED, nothing of it is applied. (A malformed snapshot takes the
   book away.)
3. A number has nonzero decimals beyond the symbol's precision: UNVERIFIABLE (PRECISION), the book is taken away.
4. It is applied as a whole: a snapshot replaces the book, an update's `bids` then its `asks` in array order; then
   each side is truncated to its `depth` best price levels, and the orders cut off are forgotten. More than
   `MAX_ORDERS` orders now: UNVERIFIABLE (TOO_MANY_ORDERS), the book is taken away.
5. No `checksum`: UNVERIFIABLE (NO_CHECKSUM). A price of `LARGEST_PRICE` among the 10 best levels of a side:
   UNVERIFIABLE (TOO_LARGE); the book lives on. Else CRC32 over these levels as Kraken defines it is compared: OK or
   MISMATCH.

Shape: `data` is an array of objects. Duplicate keys: the last wins; unknown keys are ignored; key order is free.
`symbol` is a string of 1 to `MAX_ID_BYTES` bytes; `bids`, `asks` are absent, null or arrays of objects, in which
`order_id` and `event` are strings or absent, `limit_price` and `order_qty` any JSON value or absent; `timestamp` of
entry and message is a string, null or absent; `checksum` is any JSON value or absent (null is the same).

Step 2: prices and quantities as `model.decimals.parse_scaled` reads them (exponents, quoted numbers; no sign), scaled
below `NUMBER_END`. The supply of some coins does not fit 64 bits: books and checksums hold such a quantity exactly,
columns of 64 bits saturate at 2**63 - 1. Prices saturate at `LARGEST_PRICE` in the book already; `order_id` of 1 to
`MAX_ID_BYTES` bytes; `event` one of add, modify, delete (not read in a snapshot); `checksum` an unsigned integer below
2**63 without exponent, quoted or not. A delete's price is not read, since only its id counts; its quantity is. Times as
`model.timestamps.parse_rfc3339`, within int64 nanoseconds; one that is absent or cannot be read is 0, "unknown", and
makes nothing malformed (Kraken's own documented example has one).

Applying
--------
Orders in a level queue by (order time, arrival): a new one goes behind all whose time is not later.
- add: if the id rests anywhere in the book (either side) it is removed first; then queued.
- modify: same price and same time (or none given): the quantity changes in place. Otherwise removed and queued again.
- delete: removed, whatever price it states.
- modify or delete of an id that rests on the other side: finding WRONG_SIDE, not applied. Of an id that does not
  rest: finding UNKNOWN_ID, not applied. After truncation best bid >= best ask: finding CROSSED. A snapshot with more
  levels than a depth that was set: finding TOO_DEEP. Findings are counted one per entry (CROSSED, TOO_DEEP: one per
  message) and change no verdict.

Incidents: a MISMATCH opens one for its symbol unless one is open; the next OK, a snapshot (before its own verdict),
`invalidate` and whatever takes the book away close it. Meanwhile messages are still applied and compared.

Precision and depth of a symbol are those last set before its last snapshot (`set_symbol`; takes effect at the next
snapshot). What was not set is inferred from each snapshot on, from it and what follows it alone; a note "inferred" says
what holds from its line on.

Precision: equal numbers verify however they were written. First the most decimals written are tried (at most
`MAX_PRECISION`): raw digits are trusted before any guess. If the snapshot's checksum does not come out so, every pair
of price and quantity decimals is tried, from as few as hold its numbers up to `MAX_TRIED_DECIMALS` or as many as were
written, fewest in sum first; of those one that was set stays as it was set. The first at which the checksum comes out
is taken; when there is none, no checksum, or more than `MAX_TRIED_ORDERS` orders that it covers, as written. A pair at
which a price is above `LARGEST_PRICE` or a quantity not below `NUMBER_END` is passed over, as written too: then the
fewest that hold. Numbers that need more
than `MAX_PRECISION` decimals are MALFORMED. A snapshot without orders is a book, and tells nothing: the precision stays
open, and the first update with entries tells it in the same way, as do later ones until an order rests.

Depth: the smallest of 10, 100 and 1000 that holds the levels of both sides (the largest beyond). A thin pair may show
fewer levels than its window has room for, so while a larger depth is possible, and from the first update that might cut
a level off, the same updates go to a second book of the largest depth. The window is larger, if the second book's
checksum agrees and either the first's does not or the second could apply entries that the first could not (the exchange
speaks of no order that it has let go): the second book takes the place of the first with the smallest larger depth that
holds it, told with CLEAR and SNAPSHOT rows, and the larger depths go on to be possible. The depth is right, if its
checksum agrees and either the second's does not or the message adds an id that rests in the second alone (the exchange
sends again what it has let go): the second book is dropped, as it is with more than `MAX_ORDERS` orders. A message
without a checksum agrees with both.

Routing: with `part` = (k, n) an engine handles the symbols with crc32(UTF-8 of the name) % n == k; lines without a
symbol and what cannot be read belong to part 0. With `only`, all other symbols are passed over (lines without a symbol
are not). So n engines that are fed the same lines find together what one finds, but for notes past `MAX_NOTES` and the
bound on symbols, which each has for itself. A line without a backslash in which `"symbol"` stands once (followed by
optional spaces, colon, optional spaces, quote) is told from that text before any parsing; one without `"symbol"` or
backslash belongs to part 0. Any other is parsed by each engine, which handles the messages of its own symbols.
`skipped` counts the lines whose first wanted message belongs to another part, or that have none.

Until: with `until_ns` a feed ends before the first line that has a message with a later timestamp of its own; `lines`
of the `Result` tells how many lines were taken, and the line before which it ended is not counted anywhere. A message
that would be of step 1 does not end it, since nothing in it is read.

Order events (with `events`), one row for each change, in the order it was applied
----------------------------------------------------------------------------------
- CLEAR (side NONE) then SNAPSHOT rows, bids best to worst then asks, each level in queue order, after truncation.
- ADD, MODIFY, DELETE for each entry that was applied; EVICT for each order cut off (bids then asks, worst level
  first, each level in queue order, each order with its place in its level as it was before the cut) and, directly
  before its ADD, for an order that the ADD replaced.
`level` (0 = best), `queue_position` (0 = first) and `qty_ahead` (quantity before it in its level) tell the place
just after ADD, MODIFY and SNAPSHOT, just before DELETE and EVICT; within a message the book is one in passing.
`price`, `qty` are the resting order's: after ADD, MODIFY, SNAPSHOT; before DELETE, EVICT. `change` is what the row did
to the resting quantity at that price's order (ADD +qty, MODIFY new - old, DELETE and EVICT -qty, SNAPSHOT +qty).
`stated_qty` is the entry's own order_qty (a delete: 0 = filled; CLEAR and EVICT: 0). `order_ns` is the resting order's
time, `stated_ns` the entry's own (0 when absent; CLEAR and EVICT: 0).

Classifications come from the book alone. `newest` is the latest entry time of earlier messages of the symbol since its
snapshot (those of the snapshot's orders included; deletes too), "amending" the last `MAX_AMENDING` ids deleted with
AMEND since the snapshot:
- DELETE: stated quantity 0: FILL; both times known and the entry's later than the order's: CANCEL; equal: AMEND (an
  add of the same id follows); else UNKNOWN.
- ADD: id amending or replaced: AMEND; order time known and not later than `newest`: REENTRY (it rested outside the
  window before); order time unknown: UNKNOWN; else NEW.
- MODIFY: place kept, quantity down: PARTIAL_FILL when the same array of this message fills another order (a delete of
  quantity 0), else REDUCTION (a partial fill or a reduction by its owner: only trades tell); requeued or quantity up:
  AMEND; else UNKNOWN.
- SNAPSHOT, CLEAR, EVICT: NONE.

Book rows (with `rows`): the `levels` best levels of each side, at every message after which they differ from the row
before (a snapshot's always) or, with `grid_ns`, at the instants that are multiples of it on the receive clock. A grid
instant g shows the books after all lines received at or before g: when a line's receive time r is greater than g, a
row for each symbol that has a book is due for every g < r not yet shown, symbols in index order, instants ascending.
The clock is the running maximum of `recv_ns`; the first instant is the first multiple >= the first line's time. A
step over more than `MAX_GRID_STEP` instants shows none of them. Absent levels have price -1, quantity 0 and no orders.
A number of orders that changes while no price or quantity does makes no row: asking for them changes no rows.

Best rows (with `best`): rows of one level a side at every change, beside rows on a grid or without any other. A book
that `load_book` takes in has one as well, of line -1, among those of the next feed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from operator import add
from typing import Any, Optional, Protocol

from kraken_l3.book.classification import MAX_AMENDING
from kraken_l3.model.events import Action, Classification, MessageKind, Reason, Side, State, Verdict

__all__ = [
    "EVENT_COLUMNS",
    "LARGEST_PRICE",
    "MAX_AMENDING",
    "MAX_GRID_STEP",
    "MAX_ID_BYTES",
    "MAX_LINE_BYTES",
    "MAX_NESTING",
    "MAX_NOTES",
    "MAX_ORDERS",
    "MAX_PRECISION",
    "MAX_SYMBOLS",
    "MAX_TRIED_DECIMALS",
    "MAX_TRIED_ORDERS",
    "MESSAGE_COLUMNS",
    "NUMBER_END",
    "ORDER_ID_BYTES",
    "ROW_COLUMNS",
    "Action",
    "Bad",
    "BookImage",
    "Classification",
    "Columns",
    "Engine",
    "EngineOptions",
    "MessageKind",
    "Note",
    "Reason",
    "Result",
    "RowOptions",
    "Side",
    "State",
    "SymbolTally",
    "Totals",
    "Verdict",
]

MAX_ID_BYTES = 255
#: Newline not counted. Kraken's longest messages, snapshots of 1,000 levels a side, have a few megabytes.
MAX_LINE_BYTES = 1 << 26
#: Objects and arrays open at a time; Kraken's messages have five.
MAX_NESTING = 128
#: Scaled prices and quantities are below `NUMBER_END`. Prices from `LARGEST_PRICE` on rest there; in columns of 64 bits
#: quantities saturate at the same number.
NUMBER_END = 10**38
LARGEST_PRICE = (1 << 63) - 1
MAX_PRECISION = 18
#: Decimals up to which a precision is searched for, and orders in the ten best levels of both sides beyond which it is
#: not: bounds on what a snapshot whose checksum never comes out can cost.
MAX_TRIED_DECIMALS = 12
MAX_TRIED_ORDERS = 5_000
MAX_ORDERS = 1_000_000
#: An element of one symbol more is UNVERIFIABLE (TOO_MANY_SYMBOLS) with symbol index -1.
MAX_SYMBOLS = 10_000
MAX_GRID_STEP = 100_000
#: Notes given for each (symbol, kind) in an engine's life; the rest is only counted.
MAX_NOTES = 1_000
#: Width of an id in the event column, padded with NUL; longer ids, and ids that hold a NUL, stand in
#: `Result.overflow_ids` instead.
ORDER_ID_BYTES = 20


#: Columns by name with their `struct` item code. Every column is `bytes`: little-endian items, one after the other,
#: so that `memoryview(column).cast(code)` and `numpy.frombuffer(column, ...)` read it without a copy.
MESSAGE_COLUMNS = {
    "line": "q",  # number of the line
    "symbol": "i",  # index into `Engine.symbols()`, -1: none
    "kind": "B",  # MessageKind
    "verdict": "B",  # Verdict
    "reason": "B",  # Reason
    "expected": "q",  # checksum in the message, -1: none read
    "computed": "q",  # checksum of the book, -1: none computed
    "msg_ns": "q",  # the message's own timestamp, 0: none read
}
EVENT_COLUMNS = {
    "message": "I",  # index of its message in this result's message columns
    "side": "B",
    "action": "B",
    "classification": "B",
    "order_id": "20s",  # ORDER_ID_BYTES each; all NUL for CLEAR and for ids in `overflow_ids`
    "order_ns": "q",
    "stated_ns": "q",
    "price": "q",  # scaled by the symbol's price precision; 0 for CLEAR
    "qty": "q",  # scaled by the symbol's quantity precision
    "change": "q",
    "stated_qty": "q",
    "level": "i",  # -1 for CLEAR, as are the next two
    "queue_position": "i",
    "qty_ahead": "q",  # saturates at 2**63 - 1
}
#: From `bid_price` on `levels` items a row (best first); the last two are empty without `RowOptions.orders`.
ROW_COLUMNS = {
    "symbol": "i",
    "at_ns": "q",  # the grid instant; without a grid the receive time (running maximum), or msg_ns when none were given
    "msg_ns": "q",  # timestamp of the symbol's last applied message
    "line": "q",  # its line
    "verdict": "B",  # its verdict
    "bid_price": "q",
    "bid_qty": "q",  # sum of the level, saturates at 2**63 - 1
    "ask_price": "q",
    "ask_qty": "q",
    "bid_orders": "I",  # number of orders of the level
    "ask_orders": "I",
}

Columns = dict[str, bytes]


@dataclass(frozen=True)
class RowOptions:
    """Book rows wanted: `levels` a side (1..1000), at every change or on a grid of `grid_ns` of the receive clock.

    `orders`: with the number of orders of each level.
    """

    levels: int
    grid_ns: Optional[int] = None
    orders: bool = False


@dataclass(frozen=True)
class EngineOptions:
    """What an engine handles and gives back. `events` needs `messages`; `best` goes with no rows at every change.

    See the module text for `part`, `only` and `until_ns`; `until_ns` goes with neither of the others, nor with `rows`
    or `best`.
    """

    messages: bool = False
    events: bool = False
    rows: Optional[RowOptions] = None
    part: tuple[int, int] = (0, 1)
    only: Optional[frozenset[str]] = None
    until_ns: Optional[int] = None
    best: bool = False


@dataclass(frozen=True)
class Note:
    """Something at a line that a person may want to look at.

    `kind`: "malformed", "incident_opened" (expected, computed), "incident_closed" (`detail`: "match",
    "snapshot", "gap" (invalidate) or "dropped" (the book was taken away); `line` is where it closed, -1 for a gap),
    "unverifiable" (`detail`: the reason; only PRECISION, TOO_MANY_ORDERS, TOO_MANY_SYMBOLS), a finding ("unknown_id",
    "wrong_side": `detail` is the id; "crossed", "too_deep"), or "inferred" (precision or depth inferred at this
    snapshot differ from before: `detail` "price_precision=1 qty_precision=8 depth=10"). `offset` is where the line
    starts. `symbol` is "" when unknown. Texts of `detail` for "malformed" are free and need not agree between
    engines; for PRECISION it is "precision: " and the number's text.
    """

    kind: str
    line: int
    offset: int
    symbol: str = ""
    detail: str = ""
    expected: Optional[int] = None
    computed: Optional[int] = None


@dataclass
class Result:
    """What one `feed` gave. Columns not asked for are empty dicts."""

    lines: int = 0
    messages: Columns = field(default_factory=dict)
    events: Columns = field(default_factory=dict)
    overflow_ids: dict[int, str] = field(default_factory=dict)
    rows: Columns = field(default_factory=dict)
    best: Columns = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Bad:
    """The first bad thing of a symbol: `kind` is "mismatch", "malformed" or a finding, whichever came first."""

    kind: str
    line: int
    offset: int
    expected: Optional[int] = None
    computed: Optional[int] = None


@dataclass
class SymbolTally:
    """Counts of one symbol since the engine began; each message is in one of ok, mismatched, before_snapshot,
    malformed and unverifiable.
    """

    symbol: str
    state: State = State.AWAITING_SNAPSHOT
    depth: Optional[int] = None
    depth_inferred: bool = False
    price_precision: Optional[int] = None
    qty_precision: Optional[int] = None
    precision_inferred: bool = False
    messages: int = 0
    snapshots: int = 0
    ok: int = 0
    mismatched: int = 0
    incidents: int = 0
    before_snapshot: int = 0
    malformed: int = 0
    unverifiable: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    first_bad: Optional[Bad] = None
    last_line: int = -1
    last_ok_line: int = -1
    orders: int = 0

    def parameters(self) -> tuple[Optional[int], Optional[int], Optional[int]]:
        """Price precision, quantity precision and depth of the last book."""
        return self.price_precision, self.qty_precision, self.depth

    def then(self, later: SymbolTally) -> SymbolTally:
        """What one engine counts where a second one went on from the first one's book, and counted `later`."""
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(later, name) for name in _SUMS}
        return replace(
            later,
            **sums,
            unverifiable=dict(Counter(self.unverifiable) + Counter(later.unverifiable)),
            findings=dict(Counter(self.findings) + Counter(later.findings)),
            first_bad=self.first_bad or later.first_bad,
            last_line=later.last_line if later.messages else self.last_line,
            last_ok_line=later.last_ok_line if later.ok else self.last_ok_line,
        )


_SUMS = ("messages", "snapshots", "ok", "mismatched", "incidents", "before_snapshot", "malformed")


@dataclass(frozen=True)
class Totals:
    """Counts over all lines fed. `malformed` are lines malformed as a whole (no symbol); the tallies have those of a
    symbol. `level3_elsewhere` are lines that are not data and have the text `level3` somewhere: they may hold a message
    in a form that engines do not read."""

    lines: int = 0
    not_data: int = 0
    malformed: int = 0
    skipped: int = 0
    too_many_symbols: int = 0
    level3_elsewhere: int = 0

    def then(self, later: Totals) -> Totals:
        """Over the lines of both."""
        return Totals(*map(add, astuple(self), astuple(later)))


@dataclass(frozen=True)
class BookImage:
    """A book to go on from, in the shape of a Kraken snapshot.

    Attributes:
        symbol: whose book.
        message: a level3 snapshot message: full decimals at the symbol's precision, times with nine digits, keys in
            Kraken's usual order (order_id, limit_price, order_qty, timestamp; bids best to worst, asks best to worst,
            queue order), `checksum` of the book as it stands, `timestamp` of the last applied message; unknown times
            (0) are left out.
        newest_ns: see the module text (for classification only).
        amending: ids, oldest first (for classification only).
    """

    symbol: str
    message: bytes
    newest_ns: int = 0
    amending: tuple[str, ...] = ()


class Engine(Protocol):
    """One engine; not shared between threads. Made by `engine_class(EngineOptions(...))`."""

    name: str

    def set_symbol(
        self,
        symbol: str,
        *,
        price_precision: Optional[int] = None,
        qty_precision: Optional[int] = None,
        depth: Optional[int] = None,
    ) -> None:
        """Say what is known of a symbol from its next snapshot on; None leaves that one as it was.

        What cannot be a symbol in a message (empty, over `MAX_ID_BYTES`, no valid Unicode) is left alone, here and in
        the methods below.

        Raises:
            ValueError: a precision outside 0..MAX_PRECISION or a depth below 1.
        """

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        """Process a block of whole lines.

        Args:
            block: the lines.
            first_line: number of its first line.
            offset: where it starts in its file (for notes; a byte order mark is looked for at 0).
            recv_ns: receive time of each line, packed int64 (needed for a grid).
        """

    def advance(self, recv_ns: int) -> Result:
        """Let the receive clock run on without a line: gives the grid rows due."""

    def invalidate(self, symbol: Optional[str] = None) -> list[Note]:
        """Take away the book of a symbol (None: of all), as at a gap. Unknown symbols are left alone."""

    def load_book(self, image: BookImage) -> bool:
        """Go on from a book as if its snapshot had just come, without tallies, events or rows.

        Returns:
            Whether its checksum matches; otherwise, when it cannot be read, or when the symbol is not handled here
            (`part`, `only`), nothing was loaded. Images come from files that anyone may have written.
        """

    def export_book(self, symbol: str) -> Optional[BookImage]:
        """The book as it stands, or None when the symbol has none."""

    def symbols(self) -> Sequence[str]:
        """All symbols in index order: order of first appearance in `set_symbol`, `load_book` or a message."""

    def tallies(self) -> list[SymbolTally]:
        """One tally a symbol, in index order."""

    def totals(self) -> Totals:
        """Counts over all lines."""
