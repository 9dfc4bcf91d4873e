"""Sealed and other .zst files as a `ByteSource`: the content by offset, with no more unpacked than is asked for.

A file with a seek table, or whose frames are small, is read frame by frame; while it is read in order, the next frames
are unpacked in a thread. A file in one large frame (as `zstd` itself writes it) can only be read on: going
back means unpacking again from the frame's beginning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Callable, Optional

from kraken_l3.archive.seekable import Frame, decompress, find_frames, unpack
from kraken_l3.errors import DamageFound

if TYPE_CHECKING:
    from kraken_l3.archive.source import ByteSource

__all__ = ["FramedFile", "UnpackedFile"]

#: Frames that are kept unpacked, and how many of them are unpacked ahead of a reader.
KEPT_FRAMES = 6
AHEAD_FRAMES = 3
#: A larger frame is not kept whole.
LARGEST_FRAME_BYTES = 64 * 1024 * 1024


class UnpackedFile:
    """The content of any .zst file; what it is made of is looked at when it is first asked for.

    Args:
        packed: the file as it stands.
        where: its name, for errors.
        frames: finds the frames, if somebody knows how to do it once for several readers.
    """

    def __init__(self, packed: ByteSource, where: str, frames: Optional[Callable[[], list[Frame]]] = None) -> None:
        self._packed = packed
        self._where = where
        self._find = frames or (lambda: find_frames(packed, where))
        self._source: Optional[ByteSource] = None

    def _opened(self) -> ByteSource:
        if self._source is None:
            frames = self._find()
            is_fine = max((frame.size for frame in frames), default=0) <= LARGEST_FRAME_BYTES
            self._source = (FramedFile if is_fine else _RunningFile)(self._packed, frames, self._where)
        return self._source

    def size(self) -> int:
        """See `ByteSource.size`."""
        return self._opened().size()

    def read_at(self, offset: int, count: int) -> bytes:
        """See `ByteSource.read_at`.

        Raises:
            DamageFound: a frame cannot be unpacked.
        """
        return self._opened().read_at(offset, count)

    def close(self) -> None:
        """See `ByteSource.close`."""
        if self._source is not None:
            self._source.close()
        self._packed.close()


class FramedFile:
    """Random access by frames. All reading of the file happens in one thread."""

    def __init__(self, packed: ByteSource, frames: list[Frame], where: str) -> None:
        self._packed = packed
        self._frames = frames
        self._where = where
        self._starts = [frame.start for frame in frames]
        self._kept: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._last = -1
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1)

    def size(self) -> int:
        """See `ByteSource.size`."""
        return self._frames[-1].start + self._frames[-1].size if self._frames else 0

    def read_at(self, offset: int, count: int) -> bytes:
        """See `ByteSource.read_at`.

        Raises:
            DamageFound: a frame cannot be unpacked.
        """
        parts = []
        index = bisect_right(self._starts, offset) - 1
        while count > 0 and 0 <= index < len(self._frames):
            begin = offset - self._starts[index]
            content = self._content(index)
            part = content if begin == 0 and len(content) <= count else content[begin : begin + count]
            parts.append(part)
            offset, count, index = offset + len(part), count - len(part), index + 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _content(self, index: int) -> bytes:
        with self._lock:
            goes_on = index in (self._last, self._last + 1)
            self._last = index
            wanted = self._begin(index)
            for ahead in range(index + 1, min(index + 1 + AHEAD_FRAMES, len(self._frames))) if goes_on else ():
                self._begin(ahead)
            while len(self._kept) > KEPT_FRAMES:
                self._kept.popitem(last=False)[1].cancel()
        return wanted.result()

    def _begin(self, index: int) -> Future[bytes]:
        if index not in self._kept:
            self._kept[index] = self._thread.submit(self._unpack, index)
        self._kept.move_to_end(index)
        return self._kept[index]

    def _unpack(self, index: int) -> bytes:
        frame = self._frames[index]
        try:
            return decompress(self._packed.read_at(frame.offset, frame.length), frame.size)
        except ValueError as error:
            raise DamageFound(
                f"frame {index} is damaged ({error})",
                where=f"{self._where}, bytes {frame.start} to {frame.start + frame.size} of its content",
                hint="`kraken-l3 check` says which lines these are; a copy may still be whole",
            ) from None

    def close(self) -> None:
        """See `ByteSource.close`; the file itself belongs to the caller."""
        self._thread.shutdown(wait=True, cancel_futures=True)


class _RunningFile:
    """Unpacks on and on; only what lies behind the last offset asked for is still there."""

    def __init__(self, packed: ByteSource, frames: list[Frame], where: str) -> None:
        self._packed = packed
        self._frames = frames
        self._where = where
        self._restart(0)

    def _restart(self, index: int) -> None:
        self._at = self._frames[index].start
        self._behind = bytearray()
        self._parts = self._contents(index)

    def _contents(self, index: int) -> Iterator[bytes]:
        for frame in self._frames[index:]:
            for _, content in unpack(self._packed, frame.offset, self._where):
                yield content

    def size(self) -> int:
        """See `ByteSource.size`."""
        return self._frames[-1].start + self._frames[-1].size

    def read_at(self, offset: int, count: int) -> bytes:
        """See `ByteSource.read_at`."""
        if offset < self._at:
            self._restart(bisect_right([frame.start for frame in self._frames], offset) - 1)
        while len(self._behind) < offset + count - self._at:
            part = next(self._parts, None)
            if part is None:
                break
            self._behind += part
            self._drop_before(offset)
        self._drop_before(offset)
        return bytes(self._behind[:count]) if offset >= self._at else b""

    def _drop_before(self, offset: int) -> None:
        passed = min(max(offset - self._at, 0), len(self._behind))
        del self._behind[:passed]
        self._at += passed

    def close(self) -> None:
        """See `ByteSource.close`; the file itself belongs to the caller."""
