"""`kraken-l3 book`: the order book of a pair as it was."""

from __future__ import annotations

import sys
from decimal import Decimal
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Optional

from kraken_l3.api.arguments import moment_ns
from kraken_l3.cli.console import Screen, Table
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import (
    check_depth,
    warn_of_engine,
    warn_of_unread,
)
from kraken_l3.errors import DamageFound, DataMissing, UsageError
from kraken_l3.model.events import State
from kraken_l3.model.messages import Level3Data, OrderEntry
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.protocol.decoding import decode_level3
from kraken_l3.rebuild.book_at import BookAt, book_at
from kraken_l3.rebuild.metadata import read_instruments

__all__ = ["book"]


def book(
    path: Path,
    symbol: str,
    at: Optional[str],
    line: Optional[int],
    levels: int,
    as_json: bool,
    as_message: bool,
    depth: Optional[int],
    instruments: Optional[Path],
    engine: str,
) -> int:
    """Run `kraken-l3 book`; gives its exit code back."""
    if as_json and as_message:
        raise UsageError("--json and --message cannot be combined")
    if at is not None and line is not None:
        raise UsageError("--at and --line cannot be combined")
    check_depth(depth)
    warn_of_engine(engine)
    warn_of_unread(path, journals_alone=True)
    pairs = read_instruments(instruments) if instruments is not None else []
    found = book_at(
        path,
        symbol,
        at_ns=None if at is None else moment_ns(at, "--at"),
        line=line,
        instruments=pairs,
        depth=depth,
        engine_name=engine,
    )
    message = decode_level3(found.image.message)
    assert message is not None
    (data,) = message.data
    code = DataMissing.exit_code if found.gap else 0
    if found.tally.state is State.DIVERGED:
        code = DamageFound.exit_code
    if as_json:
        return print_result(_report(found, data), code)
    if as_message:
        sys.stdout.write(found.image.message.decode() + "\n")
    else:
        _print_book(found, data, levels)
    return code


def _report(found: BookAt, data: Level3Data) -> dict[str, Any]:
    return {
        "symbol": data.symbol,
        "file": found.file,
        "line": found.line,
        "received": format_rfc3339(found.recv_ns) if found.recv_ns is not None else None,
        "recv_ns": found.recv_ns,
        "timestamp": data.timestamp,
        "state": found.tally.state.name.lower(),
        "gap": found.gap or None,
        "checksum": int(bytes(data.checksum)),
        "depth": found.tally.depth,
        "bids": [_level(price, orders) for price, orders in _levels(data.bids)],
        "asks": [_level(price, orders) for price, orders in _levels(data.asks)],
    }


def _levels(entries: Optional[list[OrderEntry]]) -> list[tuple[str, list[OrderEntry]]]:
    return [(price, list(orders)) for price, orders in groupby(entries or (), key=lambda e: _text(e.limit_price))]


def _level(price: str, orders: list[OrderEntry]) -> dict[str, Any]:
    return {
        "price": price,
        "qty": _sum(orders),
        "orders": [{"order_id": o.order_id, "qty": _text(o.order_qty), "timestamp": o.timestamp} for o in orders],
    }


def _text(raw: Any) -> str:
    return bytes(raw).decode()


def _sum(orders: list[OrderEntry]) -> str:
    return f"{sum((Decimal(_text(order.order_qty)) for order in orders), Decimal(0)):f}"


def _print_book(found: BookAt, data: Level3Data, levels: int) -> None:
    screen = Screen()
    table = Table(">bid orders", ">bid qty", ">bid", "ask", "ask qty", "ask orders")
    bids, asks = _levels(data.bids), _levels(data.asks)
    for bid, ask in zip_longest(bids[:levels], asks[:levels]):
        left = (str(len(bid[1])), _sum(bid[1]), bid[0]) if bid else ("", "", "")
        right = (ask[0], _sum(ask[1]), str(len(ask[1]))) if ask else ("", "", "")
        table.add(*left, *right)
    when = f", received {format_rfc3339(found.recv_ns)}" if found.recv_ns is not None else ""
    screen.line(f"{data.symbol} after {found.line:,} lines of {found.file}{when}")
    screen.table(table)
    screen.line(
        f"{len(bids):,} bid and {len(asks):,} ask levels, {found.tally.orders:,} orders,"
        f" checksum {_text(data.checksum)}"
    )
    if found.gap:
        screen.line(f"This moment lies in a gap ({found.gap}). The book is the last one known before it.", "yellow")
    if found.tally.state is State.DIVERGED:
        screen.line("This book does not agree with Kraken's checksums.", "bold red")
