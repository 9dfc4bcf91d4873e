"""Order ids as 64-bit numbers, for tools that know no other."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from kraken_l3.export.formats.csv_text import csv_lines
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store, write_file

__all__ = ["NumberedIds"]

_SALTS = 256


class NumberedIds:
    """The same id has the same number in every file, and no two ids of a file share one.

    Args:
        bits: how many the numbers may have.
    """

    def __init__(self, bits: int = 63) -> None:
        self._shift = 64 - bits
        self._numbers: dict[bytes, int] = {}
        self._taken: set[int] = set()

    def of(self, ids: Sequence[bytes]) -> Records:
        """The numbers of ids, as unsigned integers."""
        numbers = self._numbers
        found = [numbers.get(order_id) or self._new(order_id) for order_id in ids]
        return np.array(found, np.uint64)

    def of_orders(self, orders: Orders, index: Records) -> Records:
        """The numbers of some of the orders; ids of no others are numbered."""
        wanted = orders.order_id[index]
        used = np.zeros(len(orders.ids), bool)
        used[wanted] = True
        numbers = np.zeros(len(orders.ids), np.uint64)
        numbers[used] = self.of([orders.ids[i] for i in np.flatnonzero(used).tolist()])
        return numbers[wanted]

    def _new(self, order_id: bytes) -> int:
        for salt in range(_SALTS):
            digest = blake2b(order_id, digest_size=8, salt=bytes([salt])).digest()
            number = int.from_bytes(digest, "little") >> self._shift
            if number and number not in self._taken:
                self._numbers[order_id] = number
                self._taken.add(number)
                return number
        raise AssertionError(f"{_SALTS} collisions in a row")

    def write(self, store: Store, name: str) -> str:
        """The map beside the file that uses it: number,order_id lines, sorted."""
        numbers = np.fromiter(self._numbers.values(), np.uint64, len(self._numbers))
        order = np.argsort(numbers)
        ids = pa.array(list(self._numbers), pa.binary()).take(pa.array(order))
        return write_file(store, name, b"number,order_id\n" + csv_lines([numbers[order], ids]))
