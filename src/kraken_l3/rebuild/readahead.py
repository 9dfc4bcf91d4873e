"""Reads a file's blocks in a thread of its own, ahead of the engine: reading and, where asked for, hashing together
take half as long as the engine, which gives up the interpreter lock while it works. What else can be known of a block
without the books is found out there too.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional, Union

from kraken_l3.archive.datafile import Block, DataFile, Position

__all__ = ["ReadAhead"]

#: The reader waits when so many blocks wait for the engine: what is in memory stays bounded.
BLOCKS_AHEAD = 3


class ReadAhead:
    """The blocks of one file, lines not counted; a context manager that ends the thread.

    Args:
        path: the file.
        start: where to begin.
        block_bytes: about how much to read at a time.
        hashed: compute the SHA-256 of what is read.
        until: the offset at which to end (see `DataFile.blocks`).
        look: called in the thread with each block, before it is yielded.
    """

    def __init__(
        self,
        path: Path,
        start: Position,
        block_bytes: int,
        *,
        hashed: bool = False,
        until: Optional[int] = None,
        look: Optional[Callable[[Block], None]] = None,
    ) -> None:
        self._look = look
        self._sha256 = hashlib.sha256() if hashed else None
        self._file = DataFile(path)  # a handle of its own: the caller looks into the same file's receipts meanwhile
        self._blocks = self._file.blocks(start, size=block_bytes, numbered=False, digest=self._sha256, until=until)
        self._read: queue.Queue[Union[Block, BaseException, None]] = queue.Queue(BLOCKS_AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    @property
    def sha256(self) -> str:
        """Of all that was read, in hexadecimal digits; "" when it was not asked for."""
        return self._sha256.hexdigest() if self._sha256 is not None else ""

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        while self._thread.is_alive():  # it may be waiting for room in the queue
            with contextlib.suppress(queue.Empty):
                self._read.get(timeout=0.01)
        self._file.close()

    def __iter__(self) -> Iterator[Block]:
        while True:
            read = self._read.get()
            if read is None:
                return
            if isinstance(read, BaseException):
                raise read
            yield read

    def _run(self) -> None:
        try:
            for block in self._blocks:
                if self._look is not None:
                    self._look(block)
                self._read.put(block)
                if self._is_over.is_set():
                    return
            self._read.put(None)
        except Exception as error:  # noqa: BLE001 - raised where the blocks are wanted
            self._read.put(error)
