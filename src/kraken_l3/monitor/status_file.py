"""`recorder.status` in the directory of an archive: what its recorder last said of itself, for `status` and `top`.

It is replaced once a second while the recorder runs, and tells nothing that journal and data do not tell too: an
archive without it lacks nothing. Nobody waits for it to be on disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.filesystem import is_full, open_regular
from kraken_l3.archive.layout import STATUS_NAME
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.status import RecorderStatus, decode_status

__all__ = ["FRESH_S", "is_fresh", "read_status", "write_status"]

#: The recorder writes once a second; a busy machine may keep it from that for a while.
FRESH_S = 5.0
#: 10,000 symbols take a tenth of it.
_LARGEST_BYTES = 64 * 1024 * 1024


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _replace(path: Path, text: bytes) -> None:
    with open_regular(_aside(path), "wb") as file:
        file.write(text)
    os.replace(_aside(path), path)  # noqa: PTH105 - as everywhere here: the name says that it replaces


def write_status(directory: Path, line: bytes, *, replace: Callable[[Path, bytes], None] = _replace) -> None:
    """Replace the file; a reader sees the old one or the new one.

    On a full disk, which is when people look, there is no room for a new one: it is written over the old one, and a
    reader may see a mixture of both, which it takes for none.

    Args:
        directory: of the archive.
        line: the status, without newline.
        replace: writes a new file in place of the old one.

    Raises:
        OSError: it cannot be written.
    """
    path = directory / STATUS_NAME
    try:
        replace(path, line + b"\n")
    except OSError as error:
        with suppress(OSError):
            _aside(path).unlink()
        if not is_full(error):
            raise
        _write_over(path, line + b"\n", error)


def _write_over(path: Path, text: bytes, full: OSError) -> None:
    with open_regular(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if len(text) > size:
            raise full
        file.write(text.ljust(size))  # blanks behind JSON mean nothing


def read_status(directory: Path) -> Optional[RecorderStatus]:
    """What the last recorder said last; None where none has said anything, or another version did."""
    try:
        with open_regular(directory / STATUS_NAME) as file:
            return decode_status(file.read(_LARGEST_BYTES))
    except (OSError, MalformedMessage):
        return None


def is_fresh(status: RecorderStatus, now_ns: int) -> bool:
    """Whether the recorder is at work, as far as its last status tells."""
    return not status.stopped and abs(now_ns - status.now_ns) <= FRESH_S * NS_PER_S
