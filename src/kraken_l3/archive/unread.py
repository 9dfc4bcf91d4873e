"""What an archive has of level3 data, or may have, that is not looked at: files of other names, lines in unknown forms.

Nothing is called verified over such data, so all commands tell it. A file counts when its first lines have level3
messages, in whatever form, or when they cannot be seen and its name is like that of data. A text about something else
does not count.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.envelope import count_wrapped, holds_level3
from kraken_l3.archive.layout import Stream, is_archive_name, parse_name
from kraken_l3.archive.opening import open_source
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import DamageFound, DataMissing, KrakenL3Error

__all__ = ["Unread", "unread_files", "unread_in", "unread_lines"]

_HEAD_BYTES = 64 * 1024
#: In the names of files that hold messages, however they are packed.
_LIKE_DATA = (".ndjson", ".jsonl")


class Unread(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is not looked at.

    Attributes:
        file: name of the file or directory.
        what: why, and what to do.
        lines: how many of a file that is read otherwise; None when it is all of it.
    """

    file: str
    what: str
    lines: Optional[int] = None

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" if self.lines is None else f"{self.file}: {self.lines:,} {self.what}"


def unread_files(archive: Archive) -> list[Unread]:
    """Files in the directory that have level3 data, or may have, and are not read; none for a single file."""
    if not archive.is_directory:
        return []
    read = {path.name for stream in Stream for path in archive.files(stream)}
    found = []
    for entry in sorted(archive.path.iterdir()):
        what = "" if entry.name in read else _why_not(entry, read)
        if what:
            found.append(Unread(entry.name, what))
    return found


def _why_not(path: Path, read: set[str]) -> str:
    """Why an entry that is not read should be told; "" when it need not be."""
    name = parse_name(path.name)
    if name is not None and name.is_data:
        instead = next((each for each in read if each.split(".")[0] == path.name.split(".")[0]), "")
        return "" if path.name.endswith(".zst") else f"{instead} is read in its place: remove one of them"
    if is_archive_name(path.name):
        return ""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            is_archive = any(_is_like_data(each.name) for each in path.iterdir())
            return "a directory with data: give its name too" if is_archive else ""
        return _why_not_file(path) if stat.S_ISREG(mode) else ""
    except OSError as error:
        return f"cannot be read ({error.strerror})" if _is_like_data(path.name) else ""


def _is_like_data(name: str) -> bool:
    return name.startswith("l3-") or any(each in name.lower() for each in _LIKE_DATA)


def _why_not_file(path: Path) -> str:
    try:
        source = open_source(path)
        try:
            head = source.read_at(0, _HEAD_BYTES)
        finally:
            source.close()
    except (DamageFound, DataMissing) as error:
        return f"{error.what}. {error.hint}" if _is_like_data(path.name) or isinstance(error, DataMissing) else ""
    except KrakenL3Error as error:
        return error.what if _is_like_data(path.name) else ""
    if any(holds_level3(line) for line in head.split(b"\n")):
        return "level3 data under a name that is none of an archive: give it by itself, or name it l3-YYYY-MM-DD.ndjson"
    return ""


def unread_lines(file: str, count: int) -> Unread:
    """Level3 messages in a form that cannot be read, in a file that is read otherwise."""
    what = "lines with level3 messages in a form that is not read" if count != 1 else "line with level3 messages"
    return Unread(file, what if count != 1 else f"{what} in a form that is not read", count)


def unread_in(archive: Archive) -> list[Unread]:
    """Files and lines that are not looked at. Files by other recorders are read through for that."""
    return [*unread_files(archive), *_lines_in(archive)]


def _lines_in(archive: Archive) -> Iterator[Unread]:
    for path in archive.files():
        with DataFile(path) as file:
            if file.receipts is not None:
                continue
            count = sum(block.left_out + count_wrapped(block.data) for block in file.blocks())
        if count:
            yield unread_lines(path.name, count)
