"""The port through which an archive is written, and its adapter to the operating system.

Small on purpose: a test's fake implements it with a disk that forgets what was not synced, is full, or fails.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

if sys.platform != "win32":
    import fcntl

__all__ = ["File", "FileSystem", "OsFileSystem", "PositionalReader", "is_at", "is_full", "open_regular", "opened"]

#: EFBIG is what a limit on the size of one file says (RLIMIT_FSIZE, FAT).
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def is_full(error: OSError) -> bool:
    """Whether the error says that there is no room, rather than that the disk is broken."""
    return error.errno in _FULL


class File(Protocol):
    """One open file; what is written goes to its end."""

    def size(self) -> int:
        """Its length in bytes."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end of the file."""

    def append(self, data: bytes) -> None:
        """Hand all of `data` to the operating system. After an OSError any part of it may be in: `size` tells."""

    def truncate(self, size: int) -> None:
        """Cut the file to this length."""

    def is_in_place(self) -> bool:
        """Whether the path that it was opened by leads to it still: nobody has deleted, renamed or replaced it."""

    def sync(self) -> None:
        """Return when all of the file is on disk."""

    def close(self) -> None:
        """Let go of the file; does not sync."""


class FileSystem(Protocol):
    """The file operations that the archive needs."""

    def open(self, path: Path) -> File:
        """Open for reading and appending; made when it is missing.

        Raises:
            OSError: it cannot be opened, or is a link, directory, FIFO or device.
        """

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, sorted."""

    def make_directory(self, path: Path) -> None:
        """Make the directory and those above it, where missing."""

    def remove(self, path: Path) -> None:
        """Remove the file, if it is there."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of the file of that name."""

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in the directory are on disk."""

    def free_bytes(self, directory: Path) -> int:
        """Room that is left for us."""


def open_regular(path: Path, mode: str = "rb") -> io.FileIO:
    """Open a regular file, and nothing else: an archive may come from anyone.

    A FIFO would be waited for, a device never ends, and a link at the place of a file that is written would lead the
    writing out of the archive. Reading follows links.

    Args:
        path: the file; with a mode that writes it is made when it is missing.
        mode: as `io.FileIO` takes it.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    look = os.stat if mode == "rb" else os.lstat

    def opener(name: str, flags: int) -> int:
        with contextlib.suppress(FileNotFoundError):
            _require_regular(path, look(name).st_mode)  # before it is opened: some devices act on that alone
        if mode != "rb":
            flags |= getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
        try:
            _require_regular(path, os.fstat(descriptor).st_mode)  # and again: another one may have come in between
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    return io.FileIO(path, mode, opener=opener)


def is_at(file: io.FileIO, path: Path) -> bool:
    """Whether a path leads to this open file, and not to another one or to none.

    Raises:
        OSError: the path cannot be looked at.
    """
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "a symbolic link, which is not followed when writing", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file", str(path))


class PositionalReader:
    """Reads an open file at offsets without a position that calls share, so that threads may use one file."""

    #: A read is asked for in parts of this size at most: what is asked for is allocated, however little there is.
    PART_BYTES = 64 * 1024 * 1024

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._lock = threading.Lock()

    def size(self) -> int:
        """The length of the file in bytes."""
        return os.fstat(self._raw.fileno()).st_size

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end of the file."""
        parts = []
        while count > 0:
            part = self._read(offset, min(count, self.PART_BYTES))
            if not part:
                break
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, offset: int, count: int) -> bytes:
        if sys.platform == "win32":
            with self._lock:  # there is no pread: nobody else may move the position between these two calls
                self._raw.seek(offset)
                return self._raw.read(count)
        else:
            return os.pread(self._raw.fileno(), count, offset)


class _OsFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = open_regular(path, "a+b")
        reader = PositionalReader(self._raw)
        self.size, self.read_at = reader.size, reader.read_at

    def append(self, data: bytes) -> None:
        written = self._raw.write(data)
        if written != len(data):
            view = memoryview(data)
            while written < len(data):
                written += self._raw.write(view[written:])

    def truncate(self, size: int) -> None:
        self._raw.truncate(size)

    def is_in_place(self) -> bool:
        return is_at(self._raw, self._path)

    def sync(self) -> None:
        if sys.platform == "darwin":  # fsync of macOS leaves the bytes in the drive's own cache
            fcntl.fcntl(self._raw.fileno(), fcntl.F_FULLFSYNC)
        else:
            os.fsync(self._raw.fileno())

    def close(self) -> None:
        self._raw.close()


@contextlib.contextmanager
def opened(filesystem: FileSystem, path: Path) -> Iterator[File]:
    """A file of a file system, closed at the end of the block."""
    file = filesystem.open(path)
    try:
        yield file
    finally:
        file.close()


class OsFileSystem:
    """The file system of this machine."""

    def open(self, path: Path) -> File:
        """See `FileSystem.open`."""
        return _OsFile(path)

    def names(self, directory: Path) -> list[str]:
        """See `FileSystem.names`."""
        return sorted(entry.name for entry in directory.iterdir())

    def make_directory(self, path: Path) -> None:
        """See `FileSystem.make_directory`."""
        path.mkdir(parents=True, exist_ok=True)

    def remove(self, path: Path) -> None:
        """See `FileSystem.remove`."""
        path.unlink(missing_ok=True)

    def rename(self, old: Path, new: Path) -> None:
        """See `FileSystem.rename`."""
        old.replace(new)

    def sync_directory(self, directory: Path) -> None:
        """See `FileSystem.sync_directory`. Windows has no such call: NTFS journals its names by itself."""
        if sys.platform == "win32":
            return
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, directory: Path) -> int:
        """See `FileSystem.free_bytes`."""
        import shutil  # only here: it brings every packer that Python has, and readers start without it

        return shutil.disk_usage(directory).free
