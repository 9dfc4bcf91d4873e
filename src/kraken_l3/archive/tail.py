"""The new lines of a file that grows, at each look."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from kraken_l3.archive.opening import PlainFile
from kraken_l3.errors import ArchiveError

__all__ = ["Tail"]


class Tail:
    """Whole lines of one file after the other; a file that is not there yet has none."""

    def __init__(self) -> None:
        self._path: Optional[Path] = None
        self._source: Optional[PlainFile] = None
        self._offset = 0

    def lines(self, path: Path) -> list[bytes]:
        """What a file gained since the last look; another path is read from its beginning."""
        if path != self._path:
            self.close()
            self._path, self._offset = path, 0
        if self._source is None:
            try:
                self._source = PlainFile(path)
            except ArchiveError:  # not there yet, or a link to nothing, a FIFO: no file of ours
                return []
        size = self._source.size()
        if size <= self._offset:
            return []
        data = self._source.read_at(self._offset, size - self._offset)
        end = data.rfind(b"\n") + 1  # the rest is being written: it is whole at the next look
        self._offset += end
        return data[:end].splitlines()

    def close(self) -> None:
        """Let go of the file."""
        if self._source is not None:
            self._source.close()
        self._path = self._source = None
