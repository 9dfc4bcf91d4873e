"""Columns of the port, packed from Python values."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from kraken_l3.engine.port import EVENT_COLUMNS, MESSAGE_COLUMNS, ORDER_ID_BYTES, ROW_COLUMNS, Columns
from kraken_l3.model.events import OrderEvent, Verdict

__all__ = ["MessageRow", "RowColumns", "event_columns", "message_columns"]

#: line, symbol, kind, verdict, reason, expected, computed, msg_ns, in the order of `MESSAGE_COLUMNS`.
MessageRow = tuple[int, int, int, int, int, int, int, int]


_MAX = (1 << 63) - 1


def _pack(code: str, values: Iterable[Any]) -> bytes:
    items = list(values)
    try:
        return struct.pack(f"<{len(items)}{code}", *items)
    except struct.error:  # a quantity past int64, which saturates
        return struct.pack(f"<{len(items)}{code}", *(max(-_MAX, min(item, _MAX)) for item in items))


def message_columns(rows: Sequence[MessageRow]) -> Columns:
    """The columns of messages."""
    by_column: Iterable[Sequence[Any]] = zip(*rows) if rows else [()] * len(MESSAGE_COLUMNS)
    return {name: _pack(code, values) for (name, code), values in zip(MESSAGE_COLUMNS.items(), by_column)}


def event_columns(messages: Sequence[int], events: Sequence[OrderEvent]) -> tuple[Columns, dict[int, str]]:
    """The columns of events, each with the index of its message, and the ids that do not fit theirs."""
    overflow_ids: dict[int, str] = {}
    ids = bytearray()
    for index, event in enumerate(events):
        order_id = event.order_id.encode()
        if len(order_id) > ORDER_ID_BYTES or b"\0" in order_id:
            overflow_ids[index] = event.order_id
            order_id = b""
        ids += order_id.ljust(ORDER_ID_BYTES, b"\0")
    columns = {"message": _pack("I", messages)}
    for name, code in EVENT_COLUMNS.items():
        if name == "order_id":
            columns[name] = bytes(ids)
        elif name != "message":
            columns[name] = _pack(code, (getattr(event, name) for event in events))
    return columns, overflow_ids


class RowColumns:
    """Collects book rows."""

    def __init__(self) -> None:
        self._columns = {name: array(code) for name, code in ROW_COLUMNS.items()}

    def append(
        self, symbol: int, at_ns: int, msg_ns: int, line: int, verdict: Verdict, top: tuple[Sequence[int], ...]
    ) -> None:
        """Add a row; `top` has bid prices, bid quantities, ask prices, ask quantities and, where they are asked for,
        bid orders and ask orders, each of the asked width."""
        scalars = (symbol, at_ns, msg_ns, line, int(verdict))
        for column, value in zip(self._columns.values(), scalars):
            column.append(value)
        for column, values in zip(list(self._columns.values())[len(scalars) :], top):
            column.extend(values)

    def take(self) -> Columns:
        """The columns so far, which start again empty."""
        columns = {name: column.tobytes() for name, column in self._columns.items()}
        self.__init__()  # type: ignore[misc] # starting again is exactly what the constructor does
        return columns
