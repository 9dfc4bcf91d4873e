"""One writer in a directory: an advisory lock that the operating system frees when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
from pathlib import Path

from kraken_l3.archive.layout import LOCK_NAME
from kraken_l3.errors import ArchiveError, ArchiveLocked

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["DirectoryLock"]

#: Windows locks ranges: one far behind the text, so that others can still read who holds it.
_WINDOWS_OFFSET = 1 << 30


def _try_lock(file: io.FileIO) -> bool:
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
        path = directory / name
        try:
            self._file = io.FileIO(path, "a+b")
        except OSError as error:
            raise ArchiveError(
                f"cannot make the lock file: {error.strerror}", where=str(path), hint="Check who owns the directory"
            ) from error
        if not _try_lock(self._file):
            pid = self._holder()
            self._file.close()
            hint = (
                "Stop it, or give this one an output_dir of its own" if name == LOCK_NAME else "Wait until it is done"
            )
            raise ArchiveLocked(f"{holder} ({pid})", where=str(directory), hint=hint)
        self._sign()

    def _sign(self) -> None:
        # Who holds it is for people only: on a full disk the lock itself still holds.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def _holder(self) -> str:
        try:
            self._file.seek(0)
            holder = json.loads(self._file.read(4096))
            return f"pid {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "its pid is not known"

    def release(self) -> None:
        """Let another writer in. The file stays, so that nobody can lock a removed one."""
        self._file.close()
