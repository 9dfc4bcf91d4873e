"""Whose a line is, where engines share the symbols of a file or only some symbols are wanted.

Told from the bytes where that is safe: parsing the lines of all other engines would undo what sharing saves. Where a
line could name several symbols, or name one with escapes, each engine parses it and takes what is its own.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Optional
from zlib import crc32

from kraken_l3.engine.parse import is_symbol
from kraken_l3.engine.port import MAX_SYMBOLS, EngineOptions

__all__ = ["Owner", "Routing"]

_KEY = b'"symbol"'
_SYMBOL = re.compile(rb'"symbol" *: *"([^"]*)"')


class Owner(Enum):
    """Whose a symbol is."""

    OWN = 0
    OTHER_ENGINE = 1
    NOBODY = 2


class Routing:
    """The share of one engine, as its options say."""

    def __init__(self, options: EngineOptions) -> None:
        self._part, self._parts = options.part
        self._only = {each.encode() for each in options.only if is_symbol(each)} if options.only is not None else None
        self._owners: dict[bytes, Owner] = {}

    def of_line(self, line: bytes) -> Optional[Owner]:
        """Whose a line is, told from its text; None when only parsing tells."""
        if b"\\" in line:
            return None
        count = line.count(_KEY)
        if not count:
            return Owner.OWN if self._part == 0 else Owner.OTHER_ENGINE
        match = _SYMBOL.search(line) if count == 1 else None
        return self.of_symbol(match[1]) if match is not None else None

    def of_symbol(self, symbol: bytes) -> Owner:
        """Whose the messages of a symbol are."""
        owner = self._owners.get(symbol)
        if owner is None:
            if self._only is not None and symbol not in self._only:
                owner = Owner.NOBODY
            else:
                owner = Owner.OWN if crc32(symbol) % self._parts == self._part else Owner.OTHER_ENGINE
            if len(self._owners) < MAX_SYMBOLS:
                self._owners[symbol] = owner
        return owner
