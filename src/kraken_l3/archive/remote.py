"""Archives in an object store, by their URL (s3://bucket/path): names and bytes, read in ranges as they are needed.

A `RemotePath` stands where a path of this machine does; `opening` reads its file through `RemoteFile`. A directory is
listed once, until its URL is opened anew. fsspec does the talking, and is imported when the first URL is used.
"""

from __future__ import annotations

import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Optional, Union, cast

from kraken_l3.errors import ArchiveError, KrakenL3Error, UsageError

__all__ = ["RemoteFile", "RemotePath", "filesystem_of", "is_url", "path_of", "refuse_secrets", "store_errors"]

#: Small reads (receipts while a line is looked for, heads of checkpoints) are answered from blocks of this size.
BLOCK_BYTES = 16 * 1024
KEPT_BLOCKS = 256
#: More than this is read as it is asked for.
_LARGE_BYTES = 128 * 1024

#: User and password, and the query, which may be a signature.
_SECRETS = re.compile(r"(?<=://)[^/@\s]*:[^/\s]*@|(?<=\S)\?[^\s'\")]*")

_CHECK = "Check that it is there, has room, and that this user may write to it"

_listings: dict[str, dict[str, dict[str, Any]]] = {}
_lock = threading.Lock()


def is_url(text: str) -> bool:
    """Whether a place is named by a URL."""
    return "://" in text


def refuse_secrets(url: str) -> None:
    """A URL stands in messages, records and lists of processes: secrets have no place in it.

    Raises:
        UsageError: it has a password or a query.
    """
    if _SECRETS.search(url):
        hint = "Give credentials by the store's own configuration (for s3: AWS_ACCESS_KEY_ID or ~/.aws)"
        raise UsageError("a URL with a password or a query is not taken", where=_SECRETS.sub("", url), hint=hint)


def filesystem_of(place: str) -> tuple[Any, str]:
    """fsspec's file system of a URL or path, and the place's name in it.

    Raises:
        UsageError: it cannot be opened: the URL has a password or a query, there is no such protocol, or its package is
            not installed.
    """
    refuse_secrets(place)
    try:
        import fsspec
    except ImportError:
        raise UsageError("reading and writing URLs needs fsspec", where=place, hint="pip install fsspec s3fs") from None
    try:
        filesystem, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UsageError(f"cannot open: {error}", where=place) from None
    filesystem.invalidate_cache()
    return filesystem, str(root).rstrip("/")


def path_of(text: Union[str, Path]) -> Path:
    """The path of this machine or of an object store that a text names; what was listed of it is forgotten.

    Raises:
        UsageError: the URL cannot be opened: it has a password or a query, there is no such protocol, or its package
            is not installed.
    """
    if not isinstance(text, str) or not is_url(text):
        return Path(text)
    if text.startswith("file://"):
        return Path(text[len("file://") :])
    refuse_secrets(text)
    path = RemotePath(text.rstrip("/"))
    path._filesystem()
    with _lock:
        for directory in (str(path), str(path.parent)):
            _listings.pop(directory, None)
    return cast(Path, path)


class RemotePath(PurePosixPath):
    """As much of `pathlib.Path` as reading an archive takes."""

    def __str__(self) -> str:
        scheme, *parts = self.parts
        return f"{scheme}//{'/'.join(parts)}"

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.parts == other.parts

    def _filesystem(self) -> Any:
        try:
            import fsspec
        except ImportError:
            raise UsageError("reading URLs needs fsspec", where=str(self), hint="pip install fsspec s3fs") from None
        scheme = self.parts[0].rstrip(":")
        try:
            return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=False)
        except ImportError as error:
            hint = f"pip install {'s3fs' if scheme == 's3' else 'its package'}"
            raise UsageError(f"cannot open: {error}", where=str(self), hint=hint) from None
        except ValueError as error:
            raise UsageError(f"cannot open: {error}", where=str(self)) from None

    def _listed(self) -> dict[str, dict[str, Any]]:
        """What is in a directory, by name; nothing where there is none."""
        text = str(self)
        with _lock:
            if text not in _listings:
                try:
                    with store_errors(text):
                        found = self._filesystem().ls(text, detail=True)
                except (FileNotFoundError, NotADirectoryError):
                    found = []
                entries = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry for entry in found}
                # a store without directories answers with the file itself
                own = entries.get(self.name)
                _listings[text] = {} if own is not None and own["type"] == "file" and len(entries) == 1 else entries
            return _listings[text]

    def _entry(self) -> Optional[dict[str, Any]]:
        parent = RemotePath(*self.parts[:-1])
        if str(parent) in _listings or len(self.parts) > 2:
            return parent._listed().get(self.name)
        return None

    def exists(self) -> bool:
        """Whether there is a file or directory of this name."""
        return self.is_dir() or self._entry() is not None

    def is_dir(self) -> bool:
        """Whether there is something under it."""
        listed = _listings.get(str(RemotePath(*self.parts[:-1])))
        if listed is not None:  # a file, then, or listed as a directory there
            entry = listed.get(self.name)
            return entry is not None and entry["type"] == "directory"
        return bool(self._listed())

    def is_file(self) -> bool:
        """Whether it is a file."""
        entry = self._entry()
        return entry is not None and entry["type"] == "file"

    def is_symlink(self) -> bool:
        """There are none."""
        return False

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in it."""
        return (self / name for name in self._listed())

    def stat(self) -> Any:
        """Size and time of a file, as far as anybody asks for them.

        Raises:
            FileNotFoundError: there is none.
        """
        entry = self._entry()
        if entry is None:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        kind = stat.S_IFDIR if entry["type"] == "directory" else stat.S_IFREG
        changed = entry.get("ETag") or entry.get("LastModified") or entry.get("mtime") or entry.get("created") or 0
        return SimpleNamespace(st_size=int(entry["size"] or 0), st_mtime_ns=hash(str(changed)), st_mode=kind)

    def resolve(self) -> RemotePath:
        """Itself."""
        return self


class RemoteFile:
    """A file in an object store (`ByteSource`): each read is a request for a range, small ones for a block.

    Raises:
        ArchiveError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        entry = path._entry()
        if entry is None or entry["type"] != "file":
            raise ArchiveError("cannot read: No such file", where=str(path))
        self._size = int(entry["size"])
        self._filesystem = path._filesystem()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def size(self) -> int:
        """See `ByteSource.size`."""
        return self._size

    def read_at(self, offset: int, count: int) -> bytes:
        """See `ByteSource.read_at`."""
        end = min(offset + count, self._size)
        if end <= offset:
            return b""
        if end - offset > _LARGE_BYTES:
            return self._range(offset, end)
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[offset - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def _block(self, number: int) -> bytes:
        with self._lock:
            block = self._blocks.get(number)
            if block is None:
                begin = number * BLOCK_BYTES
                block = self._blocks[number] = self._range(begin, min(begin + BLOCK_BYTES, self._size))
                if len(self._blocks) > KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return block

    def _range(self, begin: int, end: int) -> bytes:
        try:
            with store_errors(str(self._path)):
                data: bytes = self._filesystem.cat_file(str(self._path), start=begin, end=end)
        except FileNotFoundError:
            raise ArchiveError("was removed while it was read", where=str(self._path)) from None
        return data

    def close(self) -> None:
        """See `ByteSource.close`."""
        self._blocks.clear()


@contextmanager
def store_errors(where: str, doing: str = "read") -> Iterator[None]:
    """What a store answers about a URL, as errors of ours; that a file to read is missing is told as by the system.

    Raises:
        UsageError: there is no such bucket, or no access to it.
        ArchiveError: anything else.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if "bucket does not exist" not in str(error):  # so say S3 and Google
            if doing == "read":
                raise
            raise ArchiveError(f"cannot {doing}: {error.strerror or error}", where=where, hint=_CHECK) from None
        hint = "Check its name and the endpoint (for s3: AWS_ENDPOINT_URL), or make the bucket first"
        raise UsageError("there is no such bucket", where=where, hint=hint) from None
    except KrakenL3Error:
        raise
    except PermissionError as error:
        hint = (
            "Check the credentials (for s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or ~/.aws), and what they may read"
        )
        raise UsageError(f"access denied: {_SECRETS.sub('', str(error))}", where=where, hint=hint) from None
    except ImportError as error:
        raise UsageError(f"cannot open: {error}", where=where) from None
    except Exception as error:  # noqa: BLE001 - whatever the library of a store raises
        if "Credentials" in type(error).__name__ or "credentials" in str(error).lower():
            hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or fill ~/.aws/credentials"
            raise UsageError("there are no credentials", where=where, hint=hint) from None
        hint = "" if doing == "read" else _CHECK
        raise ArchiveError(f"cannot {doing}: {_SECRETS.sub('', str(error))}", where=where, hint=hint) from None
