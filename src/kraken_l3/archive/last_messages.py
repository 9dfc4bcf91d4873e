"""The end of an archive: each symbol's last message, and all messages of the last seconds.

Read backwards from the newest file, so that it takes as long as what is looked for lies back, however long the day is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.layout import SEALED_SUFFIX
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import RECEIVE_TIME_UNKNOWN, Receipt
from kraken_l3.model.frames import Frame

__all__ = ["LastMessages", "read_last_messages", "symbol_of"]

BLOCK_BYTES = 4 * 1024 * 1024
_SYMBOL = re.compile(rb'"symbol":\s*"([^"\\]+)"')
_UNKNOWN = Receipt(0, 0, 0, 0, RECEIVE_TIME_UNKNOWN)


def symbol_of(payload: bytes) -> str:
    """The first symbol that a message of `level3` or `trade` names ("": none)."""
    found = _SYMBOL.search(payload)
    return found[1].decode(errors="replace") if found is not None else ""


class LastMessages(NamedTuple):
    """How a stream ends.

    Attributes:
        last: each symbol's last message, of the symbols that were looked for and found.
        recent: all messages of the last seconds, in the order of the file.
    """

    last: dict[str, Frame]
    recent: list[Frame]


def read_last_messages(
    directory: Path,
    stream: str,
    symbols: Iterable[str],
    *,
    recent_ns: int,
    limit_bytes: int,
    block_bytes: int = BLOCK_BYTES,
) -> LastMessages:
    """Read the end of a stream.

    Args:
        directory: the archive; a recorder may be writing to it.
        stream: its name.
        symbols: whose last messages are looked for.
        recent_ns: how much before the last message `recent` begins.
        limit_bytes: about so much is read at most. A sealed day is not gone into.
        block_bytes: so much at a time.

    Raises:
        ArchiveError: it cannot be read.
    """
    missing = set(symbols)
    last: dict[str, Frame] = {}
    recent: list[list[Frame]] = []
    newest_ns = 0
    for block in _blocks_backwards(directory, stream, limit_bytes, block_bytes):
        newest_ns = newest_ns or block.last_ns
        is_recent = bool(newest_ns) and block.last_ns >= newest_ns - recent_ns
        if not missing and not is_recent:
            break
        if is_recent:
            recent.append(block.frames())
        for symbol, at in (
            {found[1]: found.start() for found in _SYMBOL.finditer(block.data)}.items() if missing else ()
        ):
            name = symbol.decode(errors="replace")
            if name in missing:
                missing.discard(name)
                last[name] = block.frame_at(at)
    return LastMessages(last, [frame for frames in reversed(recent) for frame in frames])


class _Block:
    """Whole lines of a file, read while it is open."""

    def __init__(self, file: DataFile, data: bytes, offset: int) -> None:
        self.data = data
        self._receipts = file.receipts
        self._first = file.receipts.line_at_offset(offset) if file.receipts is not None else 0

    @property
    def last_ns(self) -> int:
        """When its last line was received (0: not known)."""
        if self._receipts is None:
            return 0
        return self._receipts[self._first + self.data.count(b"\n") - 1].recv_ns

    def frames(self) -> list[Frame]:
        """All of its lines."""
        lines = self.data.split(b"\n")[:-1]
        receipts = self._receipts.read(self._first, len(lines)) if self._receipts is not None else ()
        return [_frame(line, receipt) for line, receipt in zip(lines, receipts)]

    def frame_at(self, at: int) -> Frame:
        """The line that holds this byte."""
        begin, end = self.data.rfind(b"\n", 0, at) + 1, self.data.index(b"\n", at)
        number = self._first + self.data.count(b"\n", 0, begin)
        return _frame(self.data[begin:end], self._receipts[number] if self._receipts is not None else _UNKNOWN)


def _frame(line: bytes, receipt: Receipt) -> Frame:
    return Frame(line, receipt.recv_ns, receipt.mono_ns, receipt.connection, receipt.flags)


def _blocks_backwards(directory: Path, stream: str, limit_bytes: int, block_bytes: int) -> Iterator[_Block]:
    """Whole lines, from the end of the newest file on."""
    left = limit_bytes
    for path in reversed(open_archive(directory).files(stream, parts=False)):
        if path.name.endswith(SEALED_SUFFIX):
            return
        with DataFile(path) as file:
            end = file.end(growing=True)
            size = block_bytes
            while end > 0 and left > 0:
                begin = max(0, end - size)
                data = file.source.read_at(begin, end - begin)
                cut = data.find(b"\n") + 1 if begin else 0
                if begin and not 0 < cut < len(data):  # not one whole line
                    size *= 2
                    continue
                begin, size = begin + cut, block_bytes
                data = data[cut : data.rfind(b"\n") + 1]  # what is torn is no line yet
                if data:
                    yield _Block(file, data, begin)
                left -= len(data)
                end = begin
