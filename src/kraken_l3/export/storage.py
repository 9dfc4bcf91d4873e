"""Where tables go: a directory here, or an object store by its URL. A file appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Optional, Protocol

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.remote import filesystem_of, store_errors
from kraken_l3.errors import LocalFault

__all__ = ["LocalStore", "Output", "RemoteStore", "Store", "open_store", "write_file"]


class Output(Protocol):
    """A file in the making."""

    file: BinaryIO

    def publish(self, name: Optional[str] = None) -> int:
        """Make it appear under its name (or another in the same directory), synced; gives its size."""

    def abandon(self) -> None:
        """Remove what was written."""


class Store(Protocol):
    """A directory or a bucket; names are relative and have "/" in them."""

    def begin(self, name: str) -> Output:
        """Begin a file."""

    def read(self, name: str) -> Optional[bytes]:
        """A small file's content, or None."""

    def size(self, name: str) -> Optional[int]:
        """Bytes of a published file, or None."""

    def where(self, name: str) -> str:
        """The full path or URL of a name, to show."""

    @property
    def scratch(self) -> Optional[Path]:
        """A directory for temporary files, or None for the system's."""


class _LocalOutput:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = [parent for parent in path.parents if not parent.exists()]
        self._temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file: BinaryIO = self._temporary.open("wb")
        except OSError as error:
            raise _cannot_write(path, error) from error

    def publish(self, name: Optional[str] = None) -> int:
        if name is not None:
            self._path = self._path.with_name(name.rsplit("/", 1)[-1])
        try:
            self.file.flush()
            size = self.file.tell()
            os.fsync(self.file.fileno())
            self.file.close()
            self._temporary.replace(self._path)
            for directory in {self._path.parent, *(parent.parent for parent in self._made)}:
                OsFileSystem().sync_directory(directory)
        except OSError as error:
            self.abandon()
            raise _cannot_write(self._path, error) from error
        return size

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk closing fails too, since it writes what is left
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> LocalFault:
    return LocalFault(f"cannot write: {error.strerror}", where=str(path), hint="Use another --out directory")


class LocalStore:
    """A directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, name: str) -> Output:
        """See `Store.begin`."""
        return _LocalOutput(self._directory / name)

    def read(self, name: str) -> Optional[bytes]:
        """See `Store.read`."""
        path = self._directory / name
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise LocalFault(f"cannot read: {error.strerror}", where=str(path)) from error

    def size(self, name: str) -> Optional[int]:
        """See `Store.size`."""
        path = self._directory / name
        return path.stat().st_size if path.exists() else None

    def where(self, name: str) -> str:
        """See `Store.where`."""
        return str(self._directory / name)

    @property
    def scratch(self) -> Optional[Path]:
        """See `Store.scratch`."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(self._directory, error) from error
        return self._directory


class _RemoteOutput:
    """Written to a temporary file here, then uploaded: an object appears when all of it has arrived."""

    def __init__(self, filesystem: Any, path: str, where: str) -> None:
        self._filesystem, self._path, self._where = filesystem, path, where
        descriptor, self._local = tempfile.mkstemp(prefix="kraken-l3-")
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def publish(self, name: Optional[str] = None) -> int:
        if name is not None:
            self._path = f"{self._path.rsplit('/', 1)[0]}/{name.rsplit('/', 1)[-1]}"
        self.file.flush()
        size = self.file.tell()
        self.file.close()
        with store_errors(self._where, "write"):
            self._filesystem.put_file(self._local, self._path)
        Path(self._local).unlink()
        return size

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        Path(self._local).unlink(missing_ok=True)


class RemoteStore:
    """A place that fsspec knows (s3://bucket/path, gs://...)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._filesystem, self._root = filesystem_of(self._url)

    def begin(self, name: str) -> Output:
        """See `Store.begin`."""
        return _RemoteOutput(self._filesystem, f"{self._root}/{name}", self.where(name))

    def read(self, name: str) -> Optional[bytes]:
        """See `Store.read`."""
        try:
            with store_errors(self.where(name)):
                content: bytes = self._filesystem.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def size(self, name: str) -> Optional[int]:
        """See `Store.size`."""
        try:
            with store_errors(self.where(name)):
                return int(self._filesystem.info(f"{self._root}/{name}")["size"])
        except FileNotFoundError:
            return None

    def where(self, name: str) -> str:
        """See `Store.where`."""
        return f"{self._url}/{name}"

    @property
    def scratch(self) -> Optional[Path]:
        """See `Store.scratch`."""
        return None


def open_store(place: str) -> Store:
    """The store at a path or URL."""
    return RemoteStore(place) if "://" in place else LocalStore(Path(place))


def write_file(store: Store, name: str, content: bytes) -> str:
    """Publish a whole file; gives its name."""
    output = store.begin(name)
    try:
        output.file.write(content)
        output.publish()
    except BaseException:
        output.abandon()
        raise
    return name
