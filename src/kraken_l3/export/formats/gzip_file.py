"""A gzip file in the making, packed in a thread beside the caller."""

from __future__ import annotations

import contextlib
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from kraken_l3.export.storage import Output, Store

__all__ = ["GzipFile"]

#: Level 6 packs snapshots a third or more, increments a sixth smaller, and takes four times as long.
_LEVEL = 3
_PIECE_BYTES = 1 << 20
_AHEAD = 4
#: RFC 1952: deflate, no name, no time, no flags, made on Unix. The same text gives the same bytes.
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
_LAST_BLOCK = b"\x03\x00"


class GzipFile:
    """One member, as readers exist that stop behind the first; its pieces are deflated one by one, as pigz does.

    Args:
        store: where the file appears when it is published.
        name: the file's.
        head: what it begins with.
    """

    def __init__(self, store: Store, name: str, head: bytes) -> None:
        self.name = name
        self._output: Output = store.begin(name)
        self._output.file.write(_HEAD)
        self._text = bytearray(head)
        self._crc, self._size = 0, 0
        self._thread = ThreadPoolExecutor(1)
        self._packing: deque[Future[None]] = deque()

    def write(self, text: bytes) -> None:
        """Add to the file."""
        self._text += text
        if len(self._text) >= _PIECE_BYTES:
            whole = len(self._text) - len(self._text) % _PIECE_BYTES
            with memoryview(self._text) as view:
                pieces = [bytes(view[start : start + _PIECE_BYTES]) for start in range(0, whole, _PIECE_BYTES)]
            del self._text[:whole]
            for piece in pieces:
                self._pack(piece)

    def _pack(self, piece: bytes) -> None:
        while len(self._packing) >= _AHEAD:  # each holds its piece until it is written
            self._packing.popleft().result()
        self._packing.append(self._thread.submit(self._deflate, piece))

    def _deflate(self, piece: bytes) -> None:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._output.file.write(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH))
        self._crc, self._size = zlib.crc32(piece, self._crc), self._size + len(piece)

    def publish(self) -> str:
        """Make it appear; gives its name."""
        self._pack(bytes(self._text))
        while self._packing:
            self._packing.popleft().result()
        self._thread.shutdown()
        tail = self._crc.to_bytes(4, "little") + (self._size % (1 << 32)).to_bytes(4, "little")
        self._output.file.write(_LAST_BLOCK + tail)
        self._output.publish()
        return self.name

    def abandon(self) -> None:
        """Remove what is half written."""
        self._thread.shutdown(wait=True)
        with contextlib.suppress(OSError):
            self._output.abandon()
