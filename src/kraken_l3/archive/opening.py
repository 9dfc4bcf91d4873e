"""Opens a file of an archive as a `ByteSource`: plain, sealed (.zst), or packed by others (.gz)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.filesystem import PositionalReader, open_regular
from kraken_l3.archive.gzipped import GZIP_MAGIC, GunzippedFile, unpack
from kraken_l3.archive.layout import GZIP_SUFFIX, SEALED_SUFFIX
from kraken_l3.archive.remote import RemoteFile, RemotePath
from kraken_l3.errors import ArchiveError, DataMissing

if TYPE_CHECKING:
    from kraken_l3.archive.zstd import Frame

__all__ = ["PlainFile", "content_size", "existing", "open_source"]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: How files begin that are packed in a way that is not read, and what unpacks them.
_OTHER_PACKERS = {
    b"BZh": "bzip2 -d",
    b"\xfd7zXZ\0": "xz -d",
    b"\x04\x22\x4d\x18": "lz4 -d",
    b"PK\x03\x04": "unzip",
    b"7z\xbc\xaf\x27\x1c": "7z x",
}


class PlainFile:
    """A file as it stands (`ByteSource`), on this machine or in an object store."""

    size: Callable[[], int]
    read_at: Callable[[int, int], bytes]
    close: Callable[[], None]

    def __init__(self, path: Path) -> None:
        if isinstance(path, RemotePath):
            remote = RemoteFile(path)
            self.size, self.read_at, self.close = remote.size, remote.read_at, remote.close
            return
        try:
            raw = open_regular(path)
        except OSError as error:
            raise ArchiveError(f"cannot read: {error.strerror}", where=str(path)) from error
        reader = PositionalReader(raw)
        self.size, self.read_at, self.close = reader.size, reader.read_at, raw.close


def open_source(path: Path) -> ByteSource:
    """The source for a path. Packed files are unpacked as they are read, and stand in for a plain file that is missing.

    The first bytes of a file tell how it is packed, whatever its name.

    Raises:
        ArchiveError: there is no such file, or it cannot be read.
        DataMissing: it is packed in a way that is not read.
    """
    path = existing(path) or path
    file = PlainFile(path)
    head = file.read_at(0, 8)
    if path.suffix == SEALED_SUFFIX or head.startswith(_ZSTD_MAGIC):
        from kraken_l3.archive.zstd import UnpackedFile  # only here: plain files are read without its libraries

        return UnpackedFile(file, str(path), lambda: _frames(path))
    if head.startswith(GZIP_MAGIC):
        return GunzippedFile(file, str(path), lambda: _gunzipped_size(path))
    for magic, unpacker in _OTHER_PACKERS.items():
        if head.startswith(magic):
            file.close()
            raise DataMissing("packed in a way that is not read", where=str(path), hint=f"Use `{unpacker}` first")
    return file


def _gunzipped_size(path: Path) -> int:
    stat = path.stat()
    return _gunzipped_size_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _gunzipped_size_of(path: Path, size: int, mtime_ns: int) -> int:
    """Remembered as long as the file is the same, since it takes unpacking all of it."""
    packed = PlainFile(path)
    try:
        return sum(map(len, unpack(packed, str(path))))
    finally:
        packed.close()


def _frames(path: Path) -> tuple[Frame, ...]:
    stat = path.stat()
    return _frames_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _frames_of(path: Path, size: int, mtime_ns: int) -> tuple[Frame, ...]:
    """Remembered as long as the file is the same, since finding the frames may take unpacking all of it."""
    from kraken_l3.archive.zstd import find_frames

    packed = PlainFile(path)
    try:
        return tuple(find_frames(packed, str(path)))
    finally:
        packed.close()


def existing(path: Path) -> Optional[Path]:
    """A file or what it was packed as, whichever is there; None when neither is."""
    ways = (path, *(path.with_name(path.name + suffix) for suffix in (SEALED_SUFFIX, GZIP_SUFFIX)))
    return next((each for each in ways if each.exists()), None)


def content_size(path: Path) -> int:
    """Bytes of a file's content, unpacked.

    Raises:
        ArchiveError: there is no such file, or it cannot be read.
    """
    source = open_source(path)
    try:
        return source.size()
    finally:
        source.close()
