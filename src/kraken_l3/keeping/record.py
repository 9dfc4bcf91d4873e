"""`uploads.ndjson`, beside the days: which files were proved to be in which store, and which days were removed here."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

import msgspec

from kraken_l3.archive.filesystem import is_full, open_regular
from kraken_l3.archive.layout import UPLOADS_NAME
from kraken_l3.errors import DiskFull, LocalFault

__all__ = ["Removed", "UploadRecord", "Uploaded"]


class Uploaded(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="uploaded"):
    """A file was read back from the store, and had this sum."""

    at_ns: int
    url: str
    day: dt.date
    name: str
    bytes: int
    sha256: str


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="removed"):
    """A day is removed here: once before the first file goes, and again, done, when the last one has gone.

    So an interrupted removal is gone on with, and a day that was fetched back later is not taken for one.
    """

    at_ns: int
    url: str
    day: dt.date
    bytes: int
    done: bool = False


_decoder: msgspec.json.Decoder[Union[Uploaded, Removed]] = msgspec.json.Decoder(Union[Uploaded, Removed])


def _decoded(line: bytes) -> Optional[Union[Uploaded, Removed]]:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


class UploadRecord:
    """Reads the file, and adds to it; only one process does at a time (`keep` holds a lock).

    Args:
        directory: the archive.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / UPLOADS_NAME
        self._uploaded: dict[tuple[str, str], Uploaded] = {}
        #: Days whose removal has begun, by day.
        self.removing: dict[dt.date, Removed] = {}
        for each in self._read():
            self._take(each)

    def _read(self) -> Iterator[Union[Uploaded, Removed]]:
        try:
            with open_regular(self._path) as file:
                lines = file.readall().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise LocalFault(f"cannot read: {error.strerror}", where=str(self._path)) from error
        # a line that cannot be read was half written when the power went, or is not ours: that file is uploaded again
        yield from filter(None, map(_decoded, lines))

    def _take(self, each: Union[Uploaded, Removed]) -> None:
        if isinstance(each, Uploaded):
            self._uploaded[each.url, each.name] = each
        elif each.done:
            self.removing.pop(each.day, None)
        else:
            self.removing[each.day] = each

    def of(self, url: str, name: str) -> Optional[Uploaded]:
        """What is known of a file in a store."""
        return self._uploaded.get((url, name))

    def add(self, each: Union[Uploaded, Removed]) -> None:
        """Write a record; it is on the disk when this returns.

        Raises:
            DiskFull: there is no room for it.
            LocalFault: it cannot be written.
        """
        try:
            with open_regular(self._path, "a+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                torn = file.read(1) not in (b"", b"\n")  # the power went while it was written
                file.write(b"\n" * torn + msgspec.json.encode(each) + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            if is_full(error):
                raise DiskFull("the disk is full", where=str(self._path), hint="Free some space") from error
            raise LocalFault(f"cannot write: {error.strerror}", where=str(self._path)) from error
        self._take(each)
