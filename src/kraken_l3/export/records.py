"""What an engine gives, as records: one a row, each symbol's rows together, times and scales filled in.

A record's bytes are all that is known of a row, so that rows can be put aside on disk and taken back as they are.
Records of one symbol alone stay in the engine's columns (`ColumnRecords`); where symbols are mixed, each one's are a
numpy structured array, which costs less than twenty small arrays. Both are indexed alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

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
_INFERRED = re.compile(r"price_precision=(\d+) qty_precision=(\d+) ")
_VERDICTS = np.array(VERDICT_CODES, np.uint8)
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


def row_dtype(levels: int, *, orders: bool = False) -> np.dtype[Any]:
    """A book row of so many levels a side, with the numbers of their orders if wanted."""
    scalars = [("timestamp", "<i8"), ("ts_event", "<i8"), ("line", "<i8"), ("verdict", "u1"), ("suspect", "?")]
    scales = [("price_scale", "i1"), ("qty_scale", "i1"), ("over_gap", "?")]
    sides = [(name, "<i8", (levels,)) for name in _BOOK_SIDES]
    counts = [(name, "<u4", (levels,)) for name in _ORDER_COUNTS] if orders else []
    return np.dtype([*scalars, *scales, *sides, *counts])


def _columns_of(columns: Columns, codes: dict[str, str]) -> dict[str, Records]:
    """The port's columns as arrays, without a copy."""
    types = {name: np.dtype("S20" if code == "20s" else f"<{code}") for name, code in codes.items()}
    return {name: np.frombuffer(columns[name], dtype) for name, dtype in types.items()}


class _Messages:
    """The message columns of one result, and which of them leave a suspect book behind.

    After a mismatch or an unreadable message a book is suspect until the next good snapshot. `suspect_books`, by
    symbol, is what held before; it is brought up to date.
    """

    def __init__(self, result: Result, suspect_books: Records) -> None:
        columns = _columns_of(result.messages, MESSAGE_COLUMNS)
        self.line, self.symbol, self.msg_ns = columns["line"], columns["symbol"], columns["msg_ns"]
        self._verdict, self._reason = columns["verdict"], columns["reason"]
        self._before = suspect_books
        verdicts = result.messages["verdict"]  # as bytes, which are searched faster than any array is compared
        self._changes = _has_snapshot(result) or Verdict.MISMATCH in verdicts or Verdict.MALFORMED in verdicts
        if self._changes:
            self._before = suspect_books.copy()
            opens = (self._verdict == Verdict.MISMATCH) | (self._verdict == Verdict.MALFORMED)
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

    def verdict(self, message: Records) -> Records:
        """Indices into the words of verdicts."""
        return _VERDICTS[self._verdict, self._reason][message]

    def suspect(self, message: Records) -> Records:
        """Whether messages left a suspect book."""
        return self._suspect[message] if self._changes else self._before[self.symbol[message]]

    def suspect_at(self, symbol: Records, line: Records) -> Records:
        """Whether the book of a symbol was suspect after its message in a line, this block's or an earlier one."""
        if not self._changes:
            return self._before[symbol]
        keys = _keys(symbol, line)
        at = np.searchsorted(self._sorted_keys, keys, side="right") - 1
        found = (at >= 0) & (self._sorted_keys[at] == keys)
        return np.where(found, self._sorted_suspect[at], self._before[symbol])


def _has_snapshot(result: Result) -> bool:
    return MessageKind.SNAPSHOT in result.messages["kind"]


def _keys(symbol: Records, line: Records) -> Records:
    return (symbol.astype(np.int64) << 40) + line


class RecordBuilder:
    """Makes records of one engine's results; knows the symbols' scales and which books are suspect.

    Attributes:
        overflow_ids: order ids that do not fit their column (several builders may share them).
    """

    def __init__(
        self, engine: Engine, levels: int = 0, *, orders: bool = False, overflow_ids: Optional[list[str]] = None
    ) -> None:
        self._engine = engine
        self._row = row_dtype(levels, orders=orders)
        self._sides = (*_BOOK_SIDES, *_ORDER_COUNTS) if orders else _BOOK_SIDES
        self._suspect = np.zeros(0, bool)
        self._scales = np.full((0, 2), -1, np.int8)
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
        scales = [(-1 if t.price_precision is None else t.price_precision, _or_none(t.qty_precision)) for t in tallies]
        self._scales = np.array(scales, np.int8).reshape(len(tallies), 2)

    def build(self, step: Step) -> ResultRecords:
        """Records of a step's result. A clock other than `ReceiveClock` tells no receive times."""
        result = step.result
        times = step.times if isinstance(step.times, Times) else Times(step.block.first_line, None, None, None)
        scales = self._scales
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
            changes = list(self._scale_changes(result, scales))
        messages = _Messages(result, self._suspect)
        return ResultRecords(self, result, times, messages, changes)

    def _scale_changes(self, result: Result, before: Records) -> Iterator[tuple[int, int, Records]]:
        """(symbol, first line, scales that hold from there on) for symbols whose scales changed within the result."""
        inferred: dict[str, list[tuple[int, Records]]] = {}
        for note in result.notes:
            match = _INFERRED.match(note.detail) if note.kind == "inferred" else None
            if match is not None:
                scales = np.array([int(match[1]), int(match[2])], np.int8)
                inferred.setdefault(note.symbol, []).append((note.line, scales))
        columns = _columns_of(result.messages, MESSAGE_COLUMNS)
        for index, symbol in enumerate(self.symbols):
            was_known = index < len(before) and before[index, 0] >= 0
            if symbol in inferred:
                yield index, -1, before[index] if was_known else inferred[symbol][0][1]
                for line, scales in inferred[symbol]:
                    yield index, line, scales
            elif was_known and (self._scales[index] != before[index]).any():
                of_symbol = (columns["symbol"] == index) & (columns["kind"] == MessageKind.SNAPSHOT)
                yield index, -1, before[index]
                # without a snapshot, the file begins with the book of a checkpoint: the new scales hold from there
                first_line = int(columns["line"][of_symbol][0]) if of_symbol.any() else -1
                yield index, first_line, self._scales[index]

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

    def scales_at(
        self, symbol: Records, line: Records, changes: Sequence[tuple[int, int, Records]]
    ) -> tuple[Records, Records]:
        """The scales of rows' prices and quantities."""
        price_scale, qty_scale = self._scales[symbol, 0], self._scales[symbol, 1]
        for index, first_line, values in changes:
            changed = (symbol == index) & (line >= first_line)
            price_scale[changed], qty_scale[changed] = values
        return price_scale, qty_scale


def _known(times: Records) -> Records:
    """0 for what is no time of a message: an order book of before 1970 is a fault of its writer's."""
    return np.maximum(times, 0)


def _or_none(precision: Optional[int]) -> int:
    return -1 if precision is None else precision


class ResultRecords:
    """The records of one result; made by `RecordBuilder.build`."""

    def __init__(
        self,
        builder: RecordBuilder,
        result: Result,
        times: Times,
        messages: _Messages,
        changes: Sequence[tuple[int, int, Records]],
    ) -> None:
        self._builder, self._result, self._times = builder, result, times
        self._messages, self._changes = messages, changes

    def events(self) -> Iterator[tuple[str, Records]]:
        """Each symbol with its events in the order they happened."""
        columns = _columns_of(self._result.events, EVENT_COLUMNS)
        messages, message = self._messages, columns["message"]
        if not len(message):
            return
        symbol, line = messages.symbol[message], messages.line[message]
        price_scale, qty_scale = self._builder.scales_at(symbol, line, self._changes)
        recv_ns = self._times.recv_ns
        records = ColumnRecords(
            EVENT,
            {
                "ts_recv": _known(recv_ns[line - self._times.first_line])
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
        yield from self._by_symbol(symbol, records)

    def _with_overflow_ids(self, order_id: Records) -> Records:
        order_id = order_id.copy()
        for index, text in self._result.overflow_ids.items():
            order_id[index] = OVERFLOW_ID + b"%d" % len(self._builder.overflow_ids)
            self._builder.overflow_ids.append(text)
        return order_id

    def _flags(self, message: Records, action: Records, line: Records) -> Records:
        flags = np.append(message[1:] != message[:-1], True) * np.uint8(LAST)
        flags[(action == Action.SNAPSHOT) | (action == Action.CLEAR)] |= SNAPSHOT
        flags[self._messages.suspect(message)] |= MAYBE_BAD_BOOK
        if self._times.doubtful is not None:
            flags[self._times.doubtful[line - self._times.first_line]] |= BAD_RECEIVE_TIME
        return flags

    def rows(self) -> Iterator[tuple[str, Records]]:
        """Each symbol with its book rows in the order of time."""
        columns = _columns_of(self._result.rows, ROW_COLUMNS)
        symbol, line = columns["symbol"], columns["line"]
        if not len(symbol):
            return
        price_scale, qty_scale = self._builder.scales_at(symbol, line, self._changes)
        records = ColumnRecords(
            self._builder._row,
            {
                "timestamp": _known(columns["at_ns"]),
                "ts_event": _known(columns["msg_ns"]),
                "line": line,
                "verdict": columns["verdict"],
                "suspect": self._messages.suspect_at(symbol, line),
                "price_scale": price_scale,
                "qty_scale": qty_scale,
                "over_gap": np.zeros(len(symbol), bool),
                **{name: columns[name].reshape(len(symbol), -1) for name in self._builder._sides},
            },
        )
        for name, of_symbol in self._by_symbol(symbol, records):
            self._builder.keep_rising(name, of_symbol["timestamp"])
            yield name, of_symbol

    def _by_symbol(self, symbol: Records, records: ColumnRecords) -> Iterator[tuple[str, Records]]:
        names = self._builder.symbols
        order = _by_symbol(symbol)
        if order is None:
            yield names[symbol[0]], records
            return
        symbol, packed = symbol[order], records.packed()[order]
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
