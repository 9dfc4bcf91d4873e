"""Where a table's files lie: DIR/<table>/symbol=BTC-USD/date=2026-11-22/part-0.parquet.

Polars, DuckDB, pyarrow and Dask read such a tree by themselves and give `symbol` and `date` as columns. "/" is written
"-"; every other byte outside A-Z 0-9 . _ is "~" and two hexadecimal digits, so that a name leads back to its symbol.
Lower case letters are among them: two symbols that differ only in case would share a file on disks that ignore it.
(No "%": readers decode that by themselves, and the way back would be lost.)
"""

from __future__ import annotations

import datetime as dt
import re
from hashlib import blake2b
from typing import Optional

__all__ = ["UNKNOWN_DATE", "escape_symbol", "part_path", "printable", "unescape_symbol"]

#: What Hive, and all who read its trees, write for a partition whose value is null.
UNKNOWN_DATE = "__HIVE_DEFAULT_PARTITION__"

_SPECIAL = re.compile(rb"[^A-Z0-9._/]")
_EMPTY = "~"
_LONGEST = 150  # of the 255 bytes that file systems allow: prefixes, days and suffixes come on top
_KEPT = 100


def escape_symbol(symbol: str) -> str:
    """The symbol as part of a path.

    One that would be longer than 150 bytes is cut, and a hash takes the place of the rest: it does not lead back.
    """
    # surrogatepass: JSON can name half a character, which UTF-8 cannot
    escaped = _SPECIAL.sub(lambda match: b"~%02X" % match[0][0], symbol.encode("utf-8", "surrogatepass"))
    name = escaped.decode("ascii").replace("/", "-")
    if len(name) > _LONGEST:
        return f"{name[:_KEPT]}~~{blake2b(escaped, digest_size=16).hexdigest().upper()}"
    return name or _EMPTY


def unescape_symbol(name: str) -> str:
    """The inverse of `escape_symbol`.

    Raises:
        ValueError: the name was cut.
    """
    if "~~" in name:
        raise ValueError(f"the symbol was too long for a file name: {name}")
    text = b"" if name == _EMPTY else name.replace("-", "/").encode("ascii")
    return re.sub(rb"~([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text).decode("utf-8", "surrogatepass")


def printable(symbol: str) -> str:
    """The symbol as text that UTF-8 holds: JSON can name half a character, which it does not."""
    return symbol.encode("utf-8", "backslashreplace").decode()


def part_path(table: str, symbol: str, day: Optional[dt.date], part: int = 0) -> str:
    """Path of a table's file below the output directory.

    `day` is None for rows whose time is not known, `part` the number of the source file within its day.
    """
    date = day.isoformat() if day is not None else UNKNOWN_DATE
    return f"{table}/symbol={escape_symbol(symbol)}/date={date}/part-{part}.parquet"
