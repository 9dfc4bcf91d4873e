"""Zstandard in independent frames with a seek table behind them: `zstd -d` and `zstdcat` read it as any .zst file.

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
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from kraken_l3.errors import DamageFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from kraken_l3.archive.source import ByteSource

__all__ = [
    "FRAME_BYTES",
    "Frame",
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

_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}
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
    decompressor = zstd.ZstdDecompressor()
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


def read_table(source: ByteSource) -> Optional[list[Frame]]:
    """The frames according to the seek table; None when there is none, or one that does not fit the file."""
    size = source.size()
    foot = source.read_at(max(0, size - _FOOT.size), _FOOT.size)
    if len(foot) < _FOOT.size:
        return None
    count, descriptor, magic = _FOOT.unpack(foot)
    entry = _ENTRY_WITH_CHECKSUM if descriptor & _CHECKSUM_FLAG else _ENTRY
    length = count * entry.size + _FOOT.size
    begin = size - length - _HEAD.size
    if magic != TABLE_MAGIC or descriptor & _RESERVED_BITS or begin < 0:
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


def find_frames(source: ByteSource, where: str) -> list[Frame]:
    """The frames of any .zst file, from its seek table where there is one.

    Raises:
        DamageFound: there is none, and the file cannot be unpacked.
    """
    frames = read_table(source)
    return list(scan_frames(source, where)) if frames is None else frames


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
    """
    decompressor, at = zstd.ZstdDecompressor(), offset
    while not decompressor.eof:
        packed = source.read_at(at, _CHUNK_BYTES) if decompressor.needs_input else b""
        if not packed and decompressor.needs_input:
            raise DamageFound("ends in the middle of a zstd frame", where=f"{where}, offset {at}", hint=_SAVE)
        at += len(packed)
        try:
            content = decompressor.decompress(packed, _CHUNK_BYTES)
        except zstd.ZstdError as error:
            raise DamageFound(f"cannot be unpacked ({error})", where=f"{where}, offset {offset}", hint=_SAVE) from None
        yield at - len(decompressor.unused_data), content


_SAVE = "`zstd -dc FILE > PART.ndjson` saves what comes before"
