"""gzip (RFC 1952), as other recorders pack their files: one member after the other, read on and on.

Nothing in a gzip says how much is in it, so its size is found by unpacking it once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Callable, Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.running import RunningContent
from kraken_l3.errors import DamageFound

__all__ = ["GZIP_MAGIC", "GunzippedFile", "unpack"]

GZIP_MAGIC = b"\x1f\x8b\x08"
_CHUNK_BYTES = 256 * 1024
_PART_BYTES = 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def unpack(packed: ByteSource, where: str) -> Iterator[bytes]:
    """The content in parts. Zeros behind a member, as tapes leave them, are passed over.

    Raises:
        DamageFound: it is no gzip, or damaged, or ends too early.
    """
    at, data, member, is_within = 0, b"", zlib.decompressobj(_GZIP), False
    while True:
        if not data:
            data = packed.read_at(at, _CHUNK_BYTES)
            at += len(data)
            if not data and not is_within:
                return
        if not is_within:
            data = data.lstrip(b"\0")
            is_within = bool(data)
            continue
        begin = at - len(data)
        try:
            part = member.decompress(data, _PART_BYTES)
        except zlib.error as error:
            raise DamageFound(f"cannot be unpacked ({error})", where=f"{where}, offset {begin}", hint=_SAVE) from None
        if not part and not data and not member.eof:
            raise DamageFound("ends in the middle of its gzip data", where=f"{where}, offset {at}", hint=_SAVE)
        if part:
            yield part
        data = member.unconsumed_tail
        if member.eof:
            data, member, is_within = member.unused_data, zlib.decompressobj(_GZIP), False


_SAVE = "`zcat FILE > PART.ndjson` saves what comes before"


class GunzippedFile:
    """The content of a gzip by offset (`ByteSource`); going back means unpacking again from the beginning.

    Args:
        packed: the file as it stands.
        where: its name, for errors.
        size: finds how much is in it, if somebody knows how to do that once for several readers.
    """

    def __init__(self, packed: ByteSource, where: str, size: Optional[Callable[[], int]] = None) -> None:
        self._packed = packed
        self._where = where
        self._find_size = size or (lambda: sum(map(len, unpack(packed, where))))
        self._size: Optional[int] = None
        self._content = RunningContent(lambda _: (0, unpack(packed, where)))
        self.read_at = self._content.read_at

    def size(self) -> int:
        """See `ByteSource.size`.

        Raises:
            DamageFound: it cannot be unpacked.
        """
        if self._size is None:
            self._size = self._find_size()
        return self._size

    def close(self) -> None:
        """See `ByteSource.close`."""
        self._packed.close()
