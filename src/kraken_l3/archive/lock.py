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

__all__ = ["DirectoryLock", "Holder", "holder_of", "try_lock"]

#: Windows locks ranges: one far behind the text, so that others can still read who holds it.
_WINDOWS_OFFSET = 1 << 30


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock, as it wrote itself into the lock file.

    Attributes:
        pid: the process.
        host: the machine it runs on.
    """

    pid: int
    host: str


_signatures = msgspec.json.Decoder(Holder)
#: The locks of this machine, one a line: number, kind, ADVISORY, READ or WRITE, pid, device:inode ... (proc_locks(5)).
_LOCKS = Path("/proc/locks")


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


def holder_of(directory: Path, name: str = LOCK_NAME) -> Optional[Holder]:
    """Who holds the lock of a directory; None: nobody.

    Where the system lists its locks, the process is the one that it lists, not only the one that the file names: a
    signature may be left over, and its pid belong to somebody else by now.

    Raises:
        ArchiveLocked: it is held, and by whom cannot be told.
    """
    path = directory / name
    try:
        file = io.FileIO(path, "r")
    except OSError:
        return None
    with file:
        holder = _read_signature(file)
        pids = _listed_holders(file)
        if pids is None and sys.platform != "win32" and try_lock(file):
            return None
    if pids is not None and not pids:
        return None
    if holder is not None and (pids is None or holder.pid in pids):
        return holder
    raise ArchiveLocked("the lock is held, but not by the process that it names", where=str(path))


def _read_signature(file: io.FileIO) -> Optional[Holder]:
    try:
        file.seek(0)
        return decode_json(_signatures, file.read(4096))
    except (OSError, MalformedMessage):
        return None


def _listed_holders(file: io.FileIO) -> Optional[set[int]]:
    """The processes that lock a file, as the system lists them (None: it has no list).

    The device is not compared: on btrfs and overlay file systems it differs from the one that `stat` gives.
    """
    try:
        listed = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        return None
    inode = str(os.fstat(file.fileno()).st_ino)
    held = [words for words in listed if len(words) >= 6 and words[1] != "->"]  # that is who waits for one
    return {int(words[4]) for words in held if words[5].rpartition(":")[2] == inode}


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
            signed = _read_signature(self._file)
            self._file.close()
            who = f"pid {signed.pid} on {signed.host}" if signed is not None else "its pid is not known"
            hint = "Stop it, or choose another output_dir" if name == LOCK_NAME else "Wait until it is done"
            raise ArchiveLocked(f"{holder} ({who})", where=str(directory), hint=hint)
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
            self._file.write(msgspec.json.encode(Holder(os.getpid(), socket.gethostname())))

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
