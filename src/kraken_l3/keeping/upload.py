"""Copies files to a store that fsspec knows, and reads each back: an upload counts when its SHA-256 comes out there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Callable

from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.remote import filesystem_of, store_errors
from kraken_l3.errors import DamageFound, KrakenL3Error, UsageError

__all__ = ["Store"]

_AT_ONCE = 4 * 1024 * 1024
Progress = Callable[[int], Any]


class Store:
    """A directory on another disk, or a prefix in an object store.

    Args:
        url: such as s3://bucket/prefix, or a path.

    Raises:
        UsageError: it cannot be opened: there is no such protocol, or its package is not installed. Or it is the memory
            of this process, where nothing is kept.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if any(part.startswith("memory:") for part in url.split("::")):
            hint = "Name a directory on another disk, or an object store"
            raise UsageError("what is there is gone when this program ends", where=self.url, hint=hint)
        self._filesystem, self._root = filesystem_of(self.url)

    def is_at(self, directory: Path) -> bool:
        """Whether it is a directory of this machine, and this one."""
        from fsspec.implementations.local import LocalFileSystem

        root = Path(self._root)
        is_local = isinstance(self._filesystem, LocalFileSystem)
        return is_local and root.exists() and directory.exists() and root.samefile(directory)

    def size(self, name: str) -> int:
        """Of a file there, in bytes; -1 if there is none.

        Raises:
            UsageError: there is no access.
            ArchiveError: the store does not answer.
        """
        self._filesystem.invalidate_cache()
        try:
            with store_errors(f"{self.url}/{name}"):
                return int(self._filesystem.info(f"{self._root}/{name}")["size"])
        except FileNotFoundError:
            return -1

    def read(self, name: str) -> bytes:
        """All of a small file there; empty if there is none.

        Raises:
            UsageError: there is no access.
            ArchiveError: the store does not answer.
        """
        self._filesystem.invalidate_cache()
        try:
            with store_errors(f"{self.url}/{name}"), self._filesystem.open(f"{self._root}/{name}", "rb") as file:
                return bytes(file.read())
        except (FileNotFoundError, NotADirectoryError):
            return b""

    def put(self, path: Path, name: str, progress: Progress) -> tuple[int, str]:
        """Copy a file there and read it back; gives its size and SHA-256.

        Args:
            path: the file.
            name: what it is called there; one of that name is replaced.
            progress: called with bytes, each counted twice: sent and read back.

        Raises:
            DamageFound: other bytes came back than were sent.
            UsageError: there is no access.
            ArchiveError: the store does not answer, or the file cannot be read.
        """
        where = f"{self.url}/{name}"
        target = f"{self._root}/{name}"
        sent, size = hashlib.sha256(), 0
        source = PlainFile(path)
        try:
            with store_errors(where, "write"):
                self._filesystem.makedirs(self._root, exist_ok=True)
                with self._filesystem.open(target, "wb") as file:
                    while data := source.read_at(size, _AT_ONCE):
                        file.write(data)
                        sent.update(data)
                        size += len(data)
                        progress(len(data))
        finally:
            source.close()
        came_back = hashlib.sha256()
        with store_errors(where), self._filesystem.open(target, "rb") as file:
            while data := file.read(_AT_ONCE):
                came_back.update(data)
                progress(len(data))
        if came_back.digest() != sent.digest():
            hint = "Run it again. If it happens again, the store or the way to it is broken"
            raise DamageFound("what came back from the store is not what was sent", where=where, hint=hint)
        return size, sent.hexdigest()

    def try_out(self) -> str:
        """Write a small file there, read it back and remove it; gives its name if it cannot be removed, else "".

        Raises:
            DamageFound: other bytes came back.
            UsageError: there is no access.
            ArchiveError: the store does not answer.
        """
        name, sent = ".kraken-l3-doctor", os.urandom(64)
        where, target = f"{self.url}/{name}", f"{self._root}/{name}"
        with store_errors(where, "write"):
            self._filesystem.makedirs(self._root, exist_ok=True)
            self._filesystem.pipe_file(target, sent)
        self._filesystem.invalidate_cache()
        with store_errors(where):
            came_back = self._filesystem.cat_file(target)
        if came_back != sent:
            raise DamageFound("what came back from the store is not what was sent", where=where)
        try:
            with store_errors(where, "remove"):
                self._filesystem.rm_file(target)
        except KrakenL3Error:  # keys that may write and not remove are good ones for a copy
            return name
        return ""
