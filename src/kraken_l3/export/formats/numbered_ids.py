"""Order ids as 64-bit numbers, for tools that know no other: the same id has the same number in every file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import ORDER_ID_BYTES
from kraken_l3.export.formats.csv_text import csv_lines
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store

__all__ = ["IdsCollide", "NumberedIds"]

_USED = np.dtype([("number", "<u8"), ("id", f"S{ORDER_ID_BYTES}")])
_READ_ROWS = 1 << 18
_MEMORY_BYTES = 1 << 20


class IdsCollide(Exception):
    """Two ids of a file have the same number: all of it is to be written again with another salt."""


class NumberedIds:
    """Numbers ids, and remembers which it has numbered: beyond a megabyte in a temporary file.

    Args:
        bits: how many the numbers may have.
        salt: another one gives other numbers.
        scratch: a directory for the temporary file (None: the system's own).
        range_rows: about so many are sorted at once.
    """

    def __init__(
        self, bits: int = 63, *, salt: int = 0, scratch: Optional[Path] = None, range_rows: int = 1 << 18
    ) -> None:
        self._shift, self._salt = np.uint64(64 - bits), np.uint64(salt)
        directory = str(scratch) if scratch is not None else None
        self._used = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=directory, prefix=".ids-")  # noqa: SIM115
        self._count, self._range_rows = 0, range_rows
        self._long: dict[int, bytes] = {}

    def of(self, ids: Sequence[bytes]) -> Records:
        """The numbers of ids, as unsigned integers."""
        fits = all(len(each) <= ORDER_ID_BYTES and b"\0" not in each for each in ids)
        return self._of(np.array(ids, f"S{ORDER_ID_BYTES}" if fits else object))

    def of_orders(self, orders: Orders, index: Records) -> Records:
        """The numbers of some of the orders; ids of no others are numbered."""
        wanted = orders.order_id[index]
        used = np.zeros(len(orders.ids), bool)
        used[wanted] = True
        numbers = np.zeros(len(orders.ids), np.uint64)
        numbers[used] = self._of(orders.ids[used])
        return numbers[wanted]

    def _of(self, ids: Records) -> Records:
        if ids.dtype == object:
            return np.concatenate([np.zeros(0, np.uint64), *map(self._of_any, ids.tolist())])
        numbers = self._numbers(ids)
        self._remember(numbers, ids)
        return numbers

    def _of_any(self, order_id: bytes) -> Records:
        """Of an id that need not fit a record: its digest is numbered in its place."""
        if len(order_id) <= ORDER_ID_BYTES and b"\0" not in order_id:
            return self._of(np.array([order_id], f"S{ORDER_ID_BYTES}"))
        number = self._numbers(np.array([blake2b(order_id, digest_size=ORDER_ID_BYTES).digest()]))
        if self._long.setdefault(int(number[0]), order_id) != order_id:
            raise IdsCollide
        self._remember(number, np.array([b""], f"S{ORDER_ID_BYTES}"))
        return number

    def _numbers(self, ids: Records) -> Records:
        """A hash of each id's bytes: the finalizer of splitmix64 (https://prng.di.unimi.it/splitmix64.c) a word."""
        padded = ids.astype(f"S{-(-ORDER_ID_BYTES // 8) * 8}")
        words = padded.view("<u8").reshape(len(ids), -(-ORDER_ID_BYTES // 8))
        number = np.full(len(ids), self._salt)
        for word in range(words.shape[1]):
            number = (number ^ words[:, word]) + np.uint64(0x9E3779B97F4A7C15)
            number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            number ^= number >> np.uint64(31)
        return np.maximum(number >> self._shift, np.uint64(1))  # 0 is none

    def _remember(self, numbers: Records, ids: Records) -> None:
        rows = np.empty(len(ids), _USED)
        rows["number"], rows["id"] = numbers, ids
        self._used.write(rows.tobytes())
        self._count += len(rows)

    def write(self, store: Store, name: str) -> str:
        """The map beside the file that uses it: number,order_id lines, sorted.

        Raises:
            IdsCollide: two ids have the same number.
        """
        output = store.begin(name)
        try:
            output.file.write(b"number,order_id\n")
            for rows in self._sorted():
                output.file.write(csv_lines([rows["number"], self._texts(rows)]))
            output.publish()
        except BaseException:
            output.abandon()
            raise
        finally:
            self.close()
        return name

    def _sorted(self) -> Iterator[Records]:
        """What was numbered, each once, in some ranges of numbers: memory is bounded however many there are."""
        ranges = max(1, -(-self._count // self._range_rows))
        width = np.uint64(((1 << (64 - int(self._shift))) - 1) // ranges)  # the last range is one number longer
        for place in range(ranges):
            parts = [rows[np.minimum(rows["number"] // width, ranges - 1) == place] for rows in self._read()]
            rows = np.concatenate([np.zeros(0, _USED), *parts])
            rows = rows[np.argsort(rows["number"], kind="stable")]
            again = np.append(False, rows["number"][1:] == rows["number"][:-1])[: len(rows)]
            if (rows["id"][1:] != rows["id"][:-1])[again[1:]].any():
                raise IdsCollide
            yield rows[~again]

    def _read(self) -> Iterator[Records]:
        self._used.seek(0)
        while data := self._used.read(_READ_ROWS * _USED.itemsize):
            yield np.frombuffer(data, _USED)

    def _texts(self, rows: Records) -> pa.Array:
        if not self._long:
            texts = pa.array(rows["id"], pa.binary())
            return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts  # of many, several chunks
        return pa.array([text or self._long[number] for number, text in rows.tolist()], pa.binary())

    def close(self) -> None:
        """Forget all of it."""
        self._used.close()
