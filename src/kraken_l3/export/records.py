"""What an engine gives, as records: one a row, each symbol's rows together, times and scales filled in.

A record's bytes are all that is known of a row, so that rows can be put aside on disk and taken back as they are.
Records of one symbol alone stay in the engine's columns (`ColumnRecords`); where symbols are mixed, each one's are a
numpy structured array, which costs less than twenty small arrays. Both are indexed alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from kraken_l3.engine.port import (
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    ORDER_ID_BYTES,
    ROW_COLUMNS,
    Columns,
    Engine,
    Result,
)
from kraken_l3.export.clock import Times
from kraken_l3.export.column_records import ColumnRecords
from kraken_l3.export.schema import BAD_RECEIVE_TIME, LAST, MAYBE_BAD_BOOK, SNAPSHOT, VERDICT_CODES
from kraken_l3.model.events import Action, MessageKind, Verdict
from kraken_l3.rebuild.playback import Step

__all__ = ["EVENT", "OVERFLOW_ID", "RecordBuilder", "Records", "ResultRecords", "row_dtype"]

Records = Any  # numpy arrays: their types say little before numpy 2, and we support older ones

EVENT = np.dtype(
    [
        ("ts_recv", "<i8"),
        ("ts_event", "<i8"),
        ("ts_order", "<i8"),
        ("line", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("change", "<i8"),
        ("qty_ahead", "<i8"),
        ("level", "<i4"),
        ("queue_position", "<i4"),
        ("order_id", f"S{ORDER_ID_BYTES}"),
        ("side", "u1"),
        ("action", "u1"),
        ("classification", "u1"),
        ("verdict", "u1"),
        ("flags", "u1"),
        ("price_scale", "i1"),
        ("qty_scale", "i1"),
    ]
)
#: An id that does not fit its column: this byte, which no UTF-8 text holds, and an index into `overflow_ids`.
OVERFLOW_ID = b"\xff"

_BOOK_SIDES = ("bid_price", "bid_qty", "ask_price", "ask_qty")
_ORDER_COUNTS = ("bid_orders", "ask_orders")
_INFERRED = re.compile(r"price_precision=(\d+) qty_precision=(\d+) depth=(\d+)")
_VERDICTS = np.array(VERDICT_CODES, np.uint8)
_LINE_BITS = 40
#: Fields of `EVENT` that are columns of the engine as they are.
_AS_THEY_ARE = (
    "price",
    "qty",
    "change",
    "qty_ahead",
    "level",
    "queue_position",
    "order_id",
    "side",
    "action",
    "classification",
)


def row_dtype(levels: int, *, orders: bool = False, flow: bool = False) -> np.dtype[Any]:
    """A book row of so many levels a side, with the numbers of their orders and what flowed before it if wanted."""
    scalars = [("timestamp", "<i8"), ("ts_event", "<i8"), ("line", "<i8"), ("verdict", "u1"), ("suspect", "?")]
    scales = [("price_scale", "i1"), ("qty_scale", "i1"), ("over_gap", "?")]
    sides = [(name, "<i8", (levels,)) for name in _BOOK_SIDES]
    counts = [(name, "<u4", (levels,)) for name in _ORDER_COUNTS] if orders else []
    flows = [("ofi", "<i8"), ("ofi_scale", "i1"), ("has_ofi", "?")] if flow else []
    return np.dtype([*scalars, *scales, *sides, *counts, *flows])


def _columns_of(columns: Columns, codes: dict[str, str]) -> dict[str, Records]:
    """The port's columns as arrays, without a copy."""
    types = {name: np.dtype("S20" if code == "20s" else f"<{code}") for name, code in codes.items()}
    return {name: np.frombuffer(columns[name], dtype) for name, dtype in types.items()}


class Judged(NamedTuple):
    """Messages of one symbol: receive time (without receipts the latest of their own; 0: unknown), verdict, and whether
    they left a suspect book.
    """

    times: Records
    verdict: Records
    suspect: Records


class _Messages:
    """The message columns of one result, and which of them leave a suspect book behind.

    After a mismatch or an unreadable message a book is suspect until the next good snapshot. `suspect_books`, by
    symbol, is what held before; it is brought up to date.
    """

    def __init__(self, result: Result, suspect_books: Records) -> None:
        columns = _columns_of(result.messages, MESSAGE_COLUMNS)
        self.line, self.symbol, self.msg_ns = columns["line"], columns["symbol"], columns["msg_ns"]
        self.kind = columns["kind"]
        self.raw_verdict, self._reason = columns["verdict"], columns["reason"]
        self._before = suspect_books
        verdicts = result.messages["verdict"]  # as bytes, which are searched faster than any array is compared
        self._changes = _has_snapshot(result) or Verdict.MISMATCH in verdicts or Verdict.MALFORMED in verdicts
        if self._changes:
            self._before = suspect_books.copy()
            opens = (self.raw_verdict == Verdict.MISMATCH) | (self.raw_verdict == Verdict.MALFORMED)
            self._follow(opens, opens | (columns["kind"] == MessageKind.SNAPSHOT), suspect_books)

    def _follow(self, opens: Records, decides: Records, suspect_books: Records) -> None:
        order = _by_symbol(self.symbol)
        if order is None:
            order = np.arange(len(self.symbol))
        symbol, opens, decides = self.symbol[order], opens[order], decides[order]
        count = len(symbol)
        starts = _starts(symbol)
        last = np.maximum.accumulate(np.where(decides, np.arange(count), -1))
        first = np.repeat(starts, np.diff(starts, append=count))
        carried = np.append(self._before, False)[symbol]  # -1, a line of no symbol, finds the last one
        suspect = np.where(last >= first, opens[last], carried)
        ends = np.append(starts[1:], count) - 1
        known = symbol[ends] >= 0
        suspect_books[symbol[ends][known]] = suspect[ends][known]
        self._sorted_keys = _keys(symbol, self.line[order])
        self._sorted_suspect = suspect
        self._suspect = np.empty(count, bool)
        self._suspect[order] = suspect

    def is_ok(self) -> Records:
        """Whether each was verified."""
        return self.raw_verdict == Verdict.OK

    def verdict(self, message: Records) -> Records:
        """Indices into the words of verdicts."""
        return _VERDICTS[self.raw_verdict, self._reason][message]

    def suspect(self, message: Records) -> Records:
        """Whether messages left a suspect book."""
        return self._suspect[message] if self._changes else self._before[self.symbol[message]]

    def suspect_at(self, symbol: Records, line: Records) -> Records:
        """Whether the book of a symbol was suspect after its last message up to a line of this block or before it."""
        if not self._changes:
            return self._before[symbol]
        at = np.searchsorted(self._sorted_keys, _keys(symbol, line), side="right") - 1
        found = (at >= 0) & (self._sorted_keys[at] >> _LINE_BITS == symbol)
        return np.where(found, self._sorted_suspect[at], self._before[symbol])


def _has_snapshot(result: Result) -> bool:
    return MessageKind.SNAPSHOT in result.messages["kind"]


def _keys(symbol: Records, line: Records) -> Records:
    return (symbol.astype(np.int64) << _LINE_BITS) + line


class RecordBuilder:
    """Makes records of one engine's results; knows the symbols' scales and which books are suspect.

    Attributes:
        overflow_ids: order ids that do not fit their column (several builders may share them).
    """

    def __init__(
        self,
        engine: Engine,
        levels: int = 0,
        *,
        orders: bool = False,
        grid: bool = False,
        flow: bool = False,
        overflow_ids: Optional[list[str]] = None,
    ) -> None:
        self._engine = engine
        self.grid = grid
        self._row = row_dtype(levels, orders=orders, flow=flow)
        self.sides = (*_BOOK_SIDES, *_ORDER_COUNTS) if orders else _BOOK_SIDES
        self._suspect = np.zeros(0, bool)
        self._parameters = np.full((0, 3), -1, np.int64)
        self._shown_ns: dict[str, int] = {}
        self._path: Optional[Path] = None
        self.overflow_ids: list[str] = overflow_ids if overflow_ids is not None else []
        self.symbols: Sequence[str] = ()

    def look(self) -> None:
        """Take note of the engine's symbols and their precisions, before the first feed and where books were loaded."""
        tallies = self._engine.tallies()
        self.symbols = [tally.symbol for tally in tallies]
        new = len(tallies) - len(self._suspect)
        self._suspect = np.append(self._suspect, np.zeros(new, bool))
        parameters = [[-1 if each is None else each for each in tally.parameters()] for tally in tallies]
        self._parameters = np.array(parameters, np.int64).reshape(len(tallies), 3)

    def build(self, step: Step) -> ResultRecords:
        """Records of a step's result. A clock other than `ReceiveClock` tells no receive times."""
        result = step.result
        times = step.times if isinstance(step.times, Times) else Times(step.block.first_line, None, None, None)
        parameters = self._parameters
        changes: list[tuple[int, int, Records]] = []
        symbols = np.frombuffer(result.messages["symbol"], "<i4")
        # Snapshots change scales and bring symbols; so do the books of checkpoints, where a file begins with some, and
        # the first order of a book that was empty.
        begins_file = step.path != self._path
        self._path = step.path
        inferred = any(note.kind == "inferred" for note in result.notes)
        new_symbols = symbols.max(initial=-1) >= len(self.symbols)
        if begins_file or inferred or new_symbols or _has_snapshot(result):
            self.look()
            changes = list(self._changes(result, parameters))
        messages = _Messages(result, self._suspect)
        return ResultRecords(self, result, times, messages, changes)

    def _changes(self, result: Result, before: Records) -> Iterator[tuple[int, int, Records]]:
        """(symbol, first line, parameters that hold from there on) for symbols whose own changed within the result."""
        inferred: dict[str, list[tuple[int, Records]]] = {}
        for note in result.notes:
            match = _INFERRED.match(note.detail) if note.kind == "inferred" else None
            if match is not None:
                parameters = np.array([int(each) for each in match.groups()], np.int64)
                inferred.setdefault(note.symbol, []).append((note.line, parameters))
        columns = _columns_of(result.messages, MESSAGE_COLUMNS)
        for index, symbol in enumerate(self.symbols):
            was_known = index < len(before) and before[index, 0] >= 0
            if symbol in inferred:
                yield index, -1, before[index] if was_known else inferred[symbol][0][1]
                for line, parameters in inferred[symbol]:
                    yield index, line, parameters
            elif was_known and (self._parameters[index] != before[index]).any():
                of_symbol = (columns["symbol"] == index) & (columns["kind"] == MessageKind.SNAPSHOT)
                yield index, -1, before[index]
                # without a snapshot, the file begins with the book of a checkpoint: the new ones hold from there
                first_line = int(columns["line"][of_symbol][0]) if of_symbol.any() else -1
                yield index, first_line, self._parameters[index]

    def is_suspect(self, symbol: str) -> bool:
        """Whether a symbol's book may be wrong now."""
        return bool(self._suspect[self.symbols.index(symbol)])

    def keep_rising(self, symbol: str, timestamp: Records) -> None:
        """Have a symbol's times never fall, in place: without receipts the messages tell the time, and theirs may step
        back. A time that is not known (0) becomes the one before; at the beginning it stays 0.
        """
        np.maximum.accumulate(timestamp, out=timestamp)
        np.maximum(timestamp, self._shown_ns.get(symbol, 0), out=timestamp)
        self._shown_ns[symbol] = int(timestamp[-1])

    def parameters_at(
        self, symbol: Records, line: Records, changes: Sequence[tuple[int, int, Records]]
    ) -> tuple[Records, Records, Records]:
        """The scales of rows' prices and quantities, and the depths of their books."""
        parameters = self._parameters[symbol]
        for index, first_line, values in changes:
            parameters[(symbol == index) & (line >= first_line)] = values
        price_scale, qty_scale, depth = parameters.T
        return price_scale.astype(np.int8), qty_scale.astype(np.int8), depth


def _known(times: Records) -> Records:
    """0 for what is no time of a message: an order book of before 1970 is a fault of its writer's."""
    return np.maximum(times, 0)


class ResultRecords:
    """The records of one result; made by `RecordBuilder.build`.

    Attributes:
        messages: what it says of messages.
        times: when its lines came.
        flow: columns that are added to those of the rows.
    """

    def __init__(
        self,
        builder: RecordBuilder,
        result: Result,
        times: Times,
        messages: _Messages,
        changes: Sequence[tuple[int, int, Records]],
    ) -> None:
        self._builder, self._result, self._changes = builder, result, changes
        self.times, self.messages = times, messages
        self.flow: dict[str, Records] = {}

    @property
    def events_of_all(self) -> dict[str, Records]:
        """The engine's event columns."""
        return _columns_of(self._result.events, EVENT_COLUMNS)

    @property
    def best(self) -> dict[str, Records]:
        """The engine's best rows, of all symbols."""
        return _columns_of(self._result.best, ROW_COLUMNS)

    @property
    def book_rows(self) -> dict[str, Records]:
        """The engine's book rows, of all symbols."""
        return _columns_of(self._result.rows, ROW_COLUMNS)

    def begins_anew(self, symbol: Records, line: Records) -> Records:
        """Which of the messages, by symbol and line, are snapshots; so is the book of a checkpoint, of line -1."""
        begins: Records = line < 0
        is_snapshot = self.messages.kind == MessageKind.SNAPSHOT
        if is_snapshot.any():
            snapshots = _keys(self.messages.symbol[is_snapshot], self.messages.line[is_snapshot])
            begins = begins | np.isin(_keys(symbol, line), snapshots)
        return begins

    def parameters_at(self, symbol: Records, line: Records) -> tuple[Records, Records, Records]:
        """The scales of prices and of quantities of symbols at lines, and the depths of their books."""
        return self._builder.parameters_at(symbol, line, self._changes)

    def events(self) -> Iterator[tuple[str, Records]]:
        """Each symbol with its events in the order they happened."""
        columns = self.events_of_all
        messages, message = self.messages, columns["message"]
        if not len(message):
            return
        symbol, line = messages.symbol[message], messages.line[message]
        price_scale, qty_scale, _ = self.parameters_at(symbol, line)
        recv_ns = self.times.recv_ns
        records = ColumnRecords(
            EVENT,
            {
                "ts_recv": _known(recv_ns[line - self.times.first_line])
                if recv_ns is not None
                else np.zeros(len(message), np.int64),
                "ts_event": _known(messages.msg_ns[message]),
                "ts_order": _known(columns["order_ns"]),
                "line": line,
                **{name: columns[name] for name in _AS_THEY_ARE},
                "verdict": messages.verdict(message),
                "flags": self._flags(message, columns["action"], line),
                "price_scale": price_scale,
                "qty_scale": qty_scale,
            },
        )
        if self._result.overflow_ids:
            records["order_id"] = self._with_overflow_ids(columns["order_id"])
        yield from self.by_symbol(symbol, records)

    def _with_overflow_ids(self, order_id: Records) -> Records:
        order_id = order_id.copy()
        for index, text in self._result.overflow_ids.items():
            order_id[index] = OVERFLOW_ID + b"%d" % len(self._builder.overflow_ids)
            self._builder.overflow_ids.append(text)
        return order_id

    def _flags(self, message: Records, action: Records, line: Records) -> Records:
        flags = np.append(message[1:] != message[:-1], True) * np.uint8(LAST)
        flags[(action == Action.SNAPSHOT) | (action == Action.CLEAR)] |= SNAPSHOT
        flags[self.messages.suspect(message)] |= MAYBE_BAD_BOOK
        if self.times.doubtful is not None:
            flags[self.times.doubtful[line - self.times.first_line]] |= BAD_RECEIVE_TIME
        return flags

    def judged(self) -> Iterator[tuple[str, Judged]]:
        """Each symbol with its messages in the order of time."""
        messages = self.messages
        is_named = messages.symbol >= 0
        recv_ns = self.times.recv_ns
        times = messages.msg_ns if recv_ns is None else recv_ns[messages.line - self.times.first_line]
        suspect = messages.suspect(np.arange(len(times)))
        columns = [column[is_named] for column in (messages.symbol, times, messages.raw_verdict, suspect)]
        if not len(columns[0]):
            return
        order = np.argsort(columns[0], kind="stable")
        symbol, times, verdict, suspect = (column[order] for column in columns)
        starts = _starts(symbol)
        for start, end in zip(starts, np.append(starts[1:], len(symbol))):
            rising = np.maximum.accumulate(times[start:end])
            yield self._builder.symbols[symbol[start]], Judged(rising, verdict[start:end], suspect[start:end])

    def rows_of_all(self) -> tuple[Records, ColumnRecords]:
        """The symbol of each book row, and the rows as the engine gave them."""
        columns = self.book_rows
        symbol, line = columns["symbol"], columns["line"]
        levels = len(columns["bid_price"]) // max(1, len(symbol))
        price_scale, qty_scale, _ = self.parameters_at(symbol, line)
        return symbol, ColumnRecords(
            self._builder._row,
            {
                "timestamp": _known(columns["at_ns"]),
                "ts_event": _known(columns["msg_ns"]),
                "line": line,
                "verdict": columns["verdict"],
                "suspect": self.messages.suspect_at(symbol, self._seen_lines(columns) if self._builder.grid else line),
                "price_scale": price_scale,
                "qty_scale": qty_scale,
                "over_gap": np.zeros(len(symbol), bool),
                **{name: columns[name].reshape(len(symbol), levels) for name in self._builder.sides},
                **self.flow,
            },
        )

    def _seen_lines(self, columns: dict[str, Records]) -> Records:
        """The last line before each instant of a grid; a message that could not be read is no row's own."""
        clock_ns = self.times.clock_ns if self.times.clock_ns is not None else np.zeros(0, np.int64)
        return self.times.first_line - 1 + np.searchsorted(clock_ns, columns["at_ns"], side="right")

    def rows(self) -> Iterator[tuple[str, Records]]:
        """Each symbol with its book rows in the order of time."""
        symbol, records = self.rows_of_all()
        for name, of_symbol in self.by_symbol(symbol, records):
            self._builder.keep_rising(name, of_symbol["timestamp"])
            yield name, of_symbol

    def by_symbol(self, symbol: Records, records: Any) -> Iterator[tuple[str, Records]]:
        """Each symbol with its own of the records, in their order."""
        if not len(symbol):
            return
        names = self._builder.symbols
        order = _by_symbol(symbol)
        if order is None:
            yield names[symbol[0]], records
            return
        packed = records.packed() if isinstance(records, ColumnRecords) else records
        symbol, packed = symbol[order], packed[order]
        starts = _starts(symbol)
        for start, end in zip(starts, np.append(starts[1:], len(symbol))):
            yield names[symbol[start]], packed[start:end].copy()


def _by_symbol(symbol: Records) -> Optional[Records]:
    """The order that puts symbols together, or None when they are."""
    if not len(symbol) or symbol.min() == symbol.max():
        return None
    return np.argsort(symbol, kind="stable")


def _starts(symbol: Records) -> Records:
    """Where each symbol begins in a column that has them together."""
    changes = np.flatnonzero(symbol[1:] != symbol[:-1]) + 1
    return np.append(0, changes) if len(symbol) else changes
