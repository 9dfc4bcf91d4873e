"""One writer in a directory: an advisory lock that the operating system frees when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.archive.filesystem import is_at, open_regular
from kraken_l3.archive.layout import LOCK_NAME
from kraken_l3.errors import ArchiveError, ArchiveLocked, MalformedMessage
from kraken_l3.model.json_text import decode_json

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["DirectoryLock", "try_lock"]

#: Windows locks ranges: one far behind the text, so that others can still read who holds it.
_WINDOWS_OFFSET = 1 << 30


class _Signature(msgspec.Struct):
    pid: int
    host: str


_signatures = msgspec.json.Decoder(_Signature)


def try_lock(file: io.FileIO) -> bool:
    """Lock an open file unless another holder has it; closing the file, or the end of the process, frees it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            file.seek(_WINDOWS_OFFSET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


class DirectoryLock:
    """Held from construction until `release`.

    Args:
        directory: what is locked.
        name: of the lock file; another name is another lock.
        holder: who has it when it cannot be had, in words.

    Raises:
        ArchiveLocked: another process (or another writer of this one) holds it; the text names its pid and host.
        ArchiveError: the directory cannot be written to.
    """

    def __init__(self, directory: Path, name: str = LOCK_NAME, *, holder: str = "another recorder writes here") -> None:
        self._path = directory / name
        self._directory: Optional[int] = None
        try:
            self._file = open_regular(self._path, "a+b")
        except OSError as error:
            raise ArchiveError(
                f"cannot open the lock file: {error.strerror}",
                where=str(self._path),
                hint="Check who owns the directory",
            ) from error
        if not try_lock(self._file) or (name == LOCK_NAME and not self._try_lock_directory(directory)):
            pid = self._holder()
            self._file.close()
            hint = "Stop it, or choose another output_dir" if name == LOCK_NAME else "Wait until it is done"
            raise ArchiveLocked(f"{holder} ({pid})", where=str(directory), hint=hint)
        self._sign()

    def _try_lock_directory(self, directory: Path) -> bool:
        """Lock the directory too, so that deleting the lock file does not let a second writer in.

        Windows and NFS have no locks on directories; on Windows a file that is open cannot be deleted anyway.
        """
        if sys.platform == "win32":
            return True
        try:
            descriptor = os.open(directory, os.O_RDONLY)
        except OSError:  # a directory that cannot be read: recovery says so
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            return not isinstance(error, BlockingIOError)
        self._directory = descriptor
        return True

    def _sign(self) -> None:
        # Who holds it is for people only: on a full disk the lock itself still holds.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(msgspec.json.encode(_Signature(os.getpid(), socket.gethostname())))

    def _holder(self) -> str:
        try:
            self._file.seek(0)
            holder = decode_json(_signatures, self._file.read(4096))
        except (OSError, MalformedMessage):
            return "its pid is not known"
        return f"pid {holder.pid} on {holder.host}"

    def is_in_place(self) -> bool:
        """Whether the lock file is still the one that is locked: nobody has deleted or replaced it.

        Raises:
            OSError: it cannot be looked at.
        """
        return is_at(self._file, self._path)

    def release(self) -> None:
        """Let another writer in. The file stays: whoever waits with it open would lock a deleted file."""
        self._file.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None
