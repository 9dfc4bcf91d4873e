"""Where a table's files lie: DIR/<table>/symbol=BTC-USD/date=2026-11-22/part-0.parquet.

Polars, DuckDB, pyarrow and Dask read such a tree by themselves and give `symbol` and `date` as columns. "/" is written
"-"; every other byte outside A-Z a-z 0-9 . _ is "~" and two hexadecimal digits, the minus itself included ("~2D"), so
that a name leads back to its symbol. (No "%": readers take that apart by themselves, and the way back would be lost.)
"""

from __future__ import annotations

import datetime as dt
import re

__all__ = ["escape_symbol", "part_path", "unescape_symbol"]

_SPECIAL = re.compile(rb"[^A-Za-z0-9._/]")


def escape_symbol(symbol: str) -> str:
    """The symbol as part of a path."""
    escaped = _SPECIAL.sub(lambda match: b"~%02X" % match[0][0], symbol.encode())
    return escaped.decode("ascii").replace("/", "-")


def unescape_symbol(name: str) -> str:
    """The inverse of `escape_symbol`."""
    text = name.replace("-", "/").encode("ascii")
    return re.sub(rb"~([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text).decode()


def part_path(table: str, symbol: str, day: dt.date) -> str:
    """Path of a table's file below the output directory."""
    return f"{table}/symbol={escape_symbol(symbol)}/date={day.isoformat()}/part-0.parquet"
