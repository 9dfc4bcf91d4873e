"""Zstandard in independent frames with a seek table behind them: `zstd -d` and `zstdcat` read it as any .zst file.

`UnpackedFile` is the content by offset (a `ByteSource`), with no more unpacked than is asked for. A file with a seek
table, or whose frames are small, is read frame by frame; while it is read in order, the next frames are unpacked in a
thread. A file in one large frame (as `zstd` itself writes it) can only be read on: going back means unpacking again
from the frame's beginning.

The table is that of the Zstandard Seekable Format 0.1.0 (facebook/zstd, contrib/seekable_format). It stands in a last,
skippable frame, which a decoder passes over. All numbers are little-endian:

    0x184D2A5E  u32    magic number of a skippable frame, the one that the format reserves for the table
    length      u32    of all that follows
    entries            one a frame: compressed size u32, decompressed size u32, and, when bit 7 of the descriptor is
                       set, the low 32 bits of the content's XXH64
    frames      u32    number of entries
    descriptor  u8     bit 7: entries have checksums; bits 2 to 6: reserved, must be 0
    0x8F92EAB1  u32    magic number of the table

We write entries without checksums: every frame has the same sum at its own end, where any decoder checks it.
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import Callable, NamedTuple, Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.running import RunningContent
from kraken_l3.errors import DamageFound, DataMissing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "FRAME_BYTES",
    "Frame",
    "FramedFile",
    "UnpackedFile",
    "compress",
    "decompress",
    "encode_table",
    "find_frames",
    "pieces",
    "read_table",
    "scan_frames",
    "unpack",
]

#: NDJSON in a frame: large enough for zstd's full ratio, small enough to unpack for a single line in a millisecond.
FRAME_BYTES = 2 * 1024 * 1024
#: Ratio 7.4 at 670 MB/s on generated order flow, a core; 6 gives 7.6 at a third of the speed, 9 gives 7.8 at a fifth.
LEVEL = 3

SKIPPABLE_MAGIC = 0x184D2A5E
TABLE_MAGIC = 0x8F92EAB1
_CHECKSUM_FLAG = 0x80
_RESERVED_BITS = 0x7C
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_ENTRY = struct.Struct("<II")
_ENTRY_WITH_CHECKSUM = struct.Struct("<IIxxxx")

#: A frame may ask for so much memory to unpack it: as much as `zstd -d` allows without `--long`.
WINDOW_LOG = 27
_DECODER_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}
#: Frames that are kept unpacked, and how many of them are unpacked ahead of a reader.
KEPT_FRAMES = 6
AHEAD_FRAMES = 3
#: A larger frame is not kept whole: with `KEPT_FRAMES` and one being unpacked this bounds what a file holds in memory.
LARGEST_FRAME_BYTES = 16 * 1024 * 1024
#: What is known of a frame takes 200 bytes, and an empty one only 9 of the file. Ours have 2 MiB each: 2 TiB in all.
MOST_FRAMES = 1_000_000

_CHUNK_BYTES = 1024 * 1024
#: A frame ends at a line's end if one comes within so many bytes.
_LONGEST_PIECE_BYTES = 64 * 1024 * 1024


class Frame(NamedTuple):
    """Where a frame lies in the file (`offset`, `length`), and its content in the whole content (`start`, `size`)."""

    offset: int
    length: int
    start: int
    size: int


def pieces(source: ByteSource, size: int = FRAME_BYTES) -> Iterator[bytes]:
    """What is in a file, cut at ends of lines into pieces of about `size` bytes, each to become a frame."""
    offset, want = 0, size
    while data := source.read_at(offset, want):
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) == want < _LONGEST_PIECE_BYTES:
            want *= 2
            continue
        piece = data[:cut] if cut and len(data) == want else data
        yield piece
        offset, want = offset + len(piece), size


def compress(piece: bytes) -> bytes:
    """One frame, with its content's size in its head and its checksum at its end."""
    return zstd.compress(piece, options=_OPTIONS)


def decompress(frame: bytes, size: int) -> bytes:
    """The content of one frame.

    Raises:
        ValueError: it is damaged, or its content has not that size.
    """
    decompressor = zstd.ZstdDecompressor(options=_DECODER_OPTIONS)
    try:
        content = decompressor.decompress(frame, size + 1)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"its content is not the {size} bytes that the seek table says")
    return bytes(content)


def encode_table(frames: Sequence[Frame]) -> bytes:
    """The skippable frame with the seek table."""
    entries = b"".join(_ENTRY.pack(frame.length, frame.size) for frame in frames)
    return _HEAD.pack(SKIPPABLE_MAGIC, len(entries) + _FOOT.size) + entries + _FOOT.pack(len(frames), 0, TABLE_MAGIC)


def read_table(source: ByteSource, *, most: int = MOST_FRAMES) -> Optional[list[Frame]]:
    """The frames according to the seek table; None when there is none, one that does not fit the file, or too long."""
    size = source.size()
    foot = source.read_at(max(0, size - _FOOT.size), _FOOT.size)
    if len(foot) < _FOOT.size:
        return None
    count, descriptor, magic = _FOOT.unpack(foot)
    entry = _ENTRY_WITH_CHECKSUM if descriptor & _CHECKSUM_FLAG else _ENTRY
    length = count * entry.size + _FOOT.size
    begin = size - length - _HEAD.size
    if magic != TABLE_MAGIC or count > most or descriptor & _RESERVED_BITS or begin < 0:
        return None
    if source.read_at(begin, _HEAD.size) != _HEAD.pack(SKIPPABLE_MAGIC, length):
        return None
    frames = _placed(entry.iter_unpack(source.read_at(begin + _HEAD.size, count * entry.size)))
    end = frames[-1].offset + frames[-1].length if frames else 0
    return frames if end == begin else None


def _placed(sizes: Iterator[tuple[int, ...]]) -> list[Frame]:
    frames, offset, start = [], 0, 0
    for length, size in sizes:
        frames.append(Frame(offset, length, start, size))
        offset, start = offset + length, start + size
    return frames


def find_frames(source: ByteSource, where: str, *, most: int = MOST_FRAMES) -> list[Frame]:
    """The frames of any .zst file, from its seek table where there is one.

    Raises:
        DamageFound: there is none, and the file cannot be unpacked.
        DataMissing: it has more than `most` frames.
    """
    frames = read_table(source, most=most)
    if frames is None:
        frames = list(islice(scan_frames(source, where), most + 1))
    if len(frames) > most:
        raise DataMissing(f"more than {most:,} zstd frames", where=where, hint=_UNPACK)
    return frames


def scan_frames(source: ByteSource, where: str) -> Iterator[Frame]:
    """The frames of a file without a seek table, found by unpacking all of it once.

    Raises:
        DamageFound: it is not zstd, or damaged, or ends too early.
    """
    offset, start = 0, 0
    while head := source.read_at(offset, _HEAD.size):
        if len(head) == _HEAD.size and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18":  # a skippable frame
            offset += _HEAD.size + _HEAD.unpack(head)[1]
            continue
        length, size = _measure(source, offset, where)
        yield Frame(offset, length, start, size)
        offset, start = offset + length, start + size


def _measure(source: ByteSource, offset: int, where: str) -> tuple[int, int]:
    """Length and content's size of the frame that begins here."""
    end, size = offset, 0
    for read_to, content in unpack(source, offset, where):
        end, size = read_to, size + len(content)
    return end - offset, size


def unpack(source: ByteSource, offset: int, where: str) -> Iterator[tuple[int, bytes]]:
    """The content of the frame that begins at `offset`, in parts; with each, how far the file was read for it.

    Raises:
        DamageFound: it is not zstd, or damaged, or ends too early.
        DataMissing: it takes more memory than `WINDOW_LOG` allows.
    """
    decompressor, at = zstd.ZstdDecompressor(options=_DECODER_OPTIONS), offset
    while not decompressor.eof:
        packed = source.read_at(at, _CHUNK_BYTES) if decompressor.needs_input else b""
        if not packed and decompressor.needs_input:
            raise DamageFound("ends in the middle of a zstd frame", where=f"{where}, offset {at}", hint=_SAVE)
        at += len(packed)
        try:
            content = decompressor.decompress(packed, _CHUNK_BYTES)
        except zstd.ZstdError as error:
            if "too much memory" in str(error):
                what = f"unpacking takes more than {1 << WINDOW_LOG >> 20} MiB of memory"
                raise DataMissing(what, where=f"{where}, offset {offset}", hint=_UNPACK) from None
            raise DamageFound(f"cannot be unpacked ({error})", where=f"{where}, offset {offset}", hint=_SAVE) from None
        yield at - len(decompressor.unused_data), content


_UNPACK = "Unpack it first: `zstd -d --long=31 FILE`"
_SAVE = "`zstd -dc FILE > PART.ndjson` saves what comes before"


# -- the content by offset ---------------------------------------------------------------------------------------------


class UnpackedFile:
    """The content of any .zst file; what it is made of is looked at when it is first asked for.

    Args:
        packed: the file as it stands.
        where: its name, for errors.
        frames: finds the frames, if somebody knows how to do it once for several readers.
        largest_frame_bytes: a file with a larger frame is only read on, for no such frame is kept whole.
    """

    def __init__(
        self,
        packed: ByteSource,
        where: str,
        frames: Optional[Callable[[], Sequence[Frame]]] = None,
        *,
        largest_frame_bytes: int = LARGEST_FRAME_BYTES,
    ) -> None:
        self._packed = packed
        self._where = where
        self._find = frames or (lambda: find_frames(packed, where))
        self._largest_frame_bytes = largest_frame_bytes
        self._source: Optional[ByteSource] = None
        self._opening = Lock()

    def _opened(self) -> ByteSource:
        with self._opening:  # two threads that ask first must not both start an unpacking thread
            if self._source is None:
                frames = self._find()
                is_fine = max((frame.size for frame in frames), default=0) <= self._largest_frame_bytes
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

    def __init__(self, packed: ByteSource, frames: Sequence[Frame], where: str) -> None:
        self._packed = packed
        self._frames = frames
        self._where = where
        self._starts = [frame.start for frame in frames]
        self._kept: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._awaited: list[int] = []
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
            self._awaited.append(index)
            while len(self._kept) > KEPT_FRAMES:
                old, unpacking = self._kept.popitem(last=False)
                if old not in self._awaited:  # cancelling it would fail the thread that waits for it
                    unpacking.cancel()
        try:
            return wanted.result()
        finally:
            with self._lock:
                self._awaited.remove(index)

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
    """A file with a frame that is too large to be kept."""

    def __init__(self, packed: ByteSource, frames: Sequence[Frame], where: str) -> None:
        self._packed = packed
        self._frames = frames
        self._where = where
        self.read_at = RunningContent(self._unpack_from).read_at

    def _unpack_from(self, offset: int) -> tuple[int, Iterator[bytes]]:
        first = bisect_right([frame.start for frame in self._frames], offset) - 1
        contents = (unpack(self._packed, frame.offset, self._where) for frame in self._frames[first:])
        return self._frames[first].start, (content for each in contents for _, content in each)

    def size(self) -> int:
        """See `ByteSource.size`."""
        return self._frames[-1].start + self._frames[-1].size

    def close(self) -> None:
        """See `ByteSource.close`; the file itself belongs to the caller."""
