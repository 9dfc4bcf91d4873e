"""Opens a file of an archive as a `ByteSource`, whether it lies there plain or sealed (.zst)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.filesystem import PositionalReader, open_regular
from kraken_l3.archive.zstd import Frame, UnpackedFile, find_frames
from kraken_l3.errors import ArchiveError

__all__ = ["SEALED_SUFFIX", "PlainFile", "content_size", "existing", "open_source"]

SEALED_SUFFIX = ".zst"


class PlainFile:
    """A file as it stands (`ByteSource`)."""

    def __init__(self, path: Path) -> None:
        try:
            self._raw = open_regular(path)
        except OSError as error:
            raise ArchiveError(f"cannot read: {error.strerror}", where=str(path)) from error
        reader = PositionalReader(self._raw)
        self.size, self.read_at = reader.size, reader.read_at

    def close(self) -> None:
        """See `ByteSource.close`."""
        self._raw.close()


def open_source(path: Path) -> ByteSource:
    """The source for a path: .zst files are unpacked as they are read, and stand in for a plain file that was sealed.

    Raises:
        ArchiveError: there is no such file, or it cannot be read.
    """
    sealed = path if path.suffix == SEALED_SUFFIX else path.with_name(path.name + SEALED_SUFFIX)
    if path == sealed or (not path.exists() and sealed.exists()):
        return UnpackedFile(PlainFile(sealed), str(sealed), lambda: _frames(sealed))
    return PlainFile(path)


def _frames(path: Path) -> tuple[Frame, ...]:
    stat = path.stat()
    return _frames_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _frames_of(path: Path, size: int, mtime_ns: int) -> tuple[Frame, ...]:
    """Remembered as long as the file is the same, since finding the frames may take unpacking all of it."""
    packed = PlainFile(path)
    try:
        return tuple(find_frames(packed, str(path)))
    finally:
        packed.close()


def existing(path: Path) -> Optional[Path]:
    """A file or what it was sealed as, whichever is there; None when neither is."""
    return next((each for each in (path, path.with_name(path.name + SEALED_SUFFIX)) if each.exists()), None)


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
