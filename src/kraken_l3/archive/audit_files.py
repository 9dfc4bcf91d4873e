"""The files beside an archive that audits write: what they found, and the trades that they filled in.

The recorder writes none of them, and an audit none of the recorder's: so both can run, each with a lock of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kraken_l3.archive.filesystem import is_full, open_regular
from kraken_l3.archive.layout import AUDIT_LOCK_NAME
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.errors import ArchiveError, DiskFull

__all__ = ["AuditFiles", "read_lines"]


class AuditFiles:
    """Appends records to the files of a directory; a context manager, which holds the audits' lock.

    Args:
        directory: of the archive.

    Raises:
        ArchiveLocked: another audit writes there.
        ArchiveError: the directory cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = DirectoryLock(directory, AUDIT_LOCK_NAME, holder="another audit writes here")

    def __enter__(self) -> AuditFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def append(self, path: Path, records: Iterable[Any]) -> None:
        """Write records, one JSON object a line; they are on disk when this returns.

        Raises:
            DiskFull: there is no room.
            ArchiveError: the file cannot be written.
        """
        lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        if not lines:
            return
        try:
            with open_regular(path, "a+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                is_torn = size > 0 and file.read(1) != b"\n"  # an audit was killed here; readers pass it over
                try:
                    rest = b"\n" + lines if is_torn else lines
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            if is_full(error):
                raise DiskFull("no room for the audit's records", where=str(path), hint="Free space there") from error
            raise ArchiveError(f"cannot write: {error.strerror}", where=str(path)) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The whole lines of such a file; none where there is no file.

    Raises:
        ArchiveError: it cannot be read.
    """
    if not path.exists():
        return
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise ArchiveError(f"cannot read: {error.strerror}", where=str(path)) from error
    yield from content[: content.rfind(b"\n") + 1].splitlines()
