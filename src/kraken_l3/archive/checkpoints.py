"""Checkpoints: verified books as of a line of a day's level3 data, one JSON object a line.

They let a day be rebuilt alone and a book be looked up without reading the day from its start. They are written by the
verifier and hold nothing that could not be made again from the data; a torn or unreadable line is passed over.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, Optional

import msgspec
from msgspec import Meta

from kraken_l3.archive.filesystem import open_regular
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.scan import CHUNK_BYTES, segments
from kraken_l3.errors import ArchiveError, MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = [
    "Checkpoint",
    "CheckpointHead",
    "append_checkpoints",
    "checkpoints_of",
    "decode_checkpoint",
    "latest_heads",
    "read_checkpoint",
    "read_checkpoints",
    "read_heads",
]


_NULL = msgspec.Raw(b"null")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One symbol's book after the first `line` lines of the file.

    Attributes:
        line: lines applied; the next line has this number.
        end_offset: where the next line begins.
        symbol: whose book.
        depth: price levels a side that are kept.
        message: a level3 snapshot as Kraken would send it, with its checksum; null when the book was not in step.
        reason: why there is no book: "awaiting_snapshot", "diverged" or "unverified".
        newest_ns: latest order time seen; with `amending` it lets later events be classified as without a cut.
        amending: orders deleted to be added again, oldest first.
    """

    line: Annotated[int, Meta(ge=0, le=2**62)]
    end_offset: Annotated[int, Meta(ge=0, le=2**62)]
    symbol: str
    depth: Optional[Annotated[int, Meta(ge=1, le=2**31)]] = None
    message: msgspec.Raw = _NULL
    reason: str = ""
    newest_ns: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0
    amending: list[str] = []

    @property
    def snapshot(self) -> Optional[bytes]:
        """The message's text, or None when there is no book."""
        text = bytes(self.message)
        return text if text != b"null" else None


class CheckpointHead(NamedTuple):
    """What a checkpoint says before its book, and where it stands: enough to choose one.

    Attributes:
        line: see `Checkpoint`, as are the next three.
        end_offset: where the next line begins.
        symbol: whose book.
        reason: why there is no book; "" when there is one.
        number: the checkpoint's own line in its file.
        offset: where that begins, in bytes.
        length: its bytes without the newline.
    """

    line: int
    end_offset: int
    symbol: str
    reason: str
    number: int
    offset: int
    length: int


#: As `append_checkpoints` writes it. What another program wrote in another order is decoded as a whole.
_HEAD = re.compile(
    rb'\{"line":(\d{1,19}),"end_offset":(\d{1,19}),"symbol":("(?:[^"\\]|\\.)*"),(?:"depth":\d+,)?"message":\{'
)
_HEAD_BYTES = 512
#: So much is read at once where the end of a line is looked for.
_STEP_BYTES = 64 * 1024
_decoder = msgspec.json.Decoder(Checkpoint)
_encoder = msgspec.json.Encoder()


def checkpoints_of(data: Path) -> Path:
    """Where the checkpoints of a data file of an archive directory are."""
    paths = DayPaths.of(data)
    assert paths is not None  # its name tells its day
    return paths.checkpoints


def read_checkpoints(path: Path) -> Iterator[Checkpoint]:
    """The checkpoints of a day in the order they were written, as far as they can be read; none when there is no file.

    What is passed over, `companions.companion_damage` tells.
    """
    try:
        source = PlainFile(path)
    except ArchiveError:
        return
    try:
        for segment in segments(source, 0):
            with contextlib.suppress(MalformedMessage):
                yield decode_checkpoint(segment.data)
    finally:
        source.close()


def read_heads(path: Path) -> Iterator[CheckpointHead]:
    """The heads of a day's checkpoints in the order they were written, without decoding the books.

    The books are nearly all of the file. What cannot be read, `read_checkpoint` finds out.
    """
    try:
        source = PlainFile(path)
    except ArchiveError:
        return
    try:
        for number, (offset, length) in enumerate(_lines(source)):
            head = _head_in(source, offset, length)
            if head is not None:
                yield CheckpointHead(*head, number, offset, length)
    finally:
        source.close()


def latest_heads(path: Path, last_line: Optional[int] = None) -> Iterator[CheckpointHead]:
    """The heads of a day's checkpoints, the last one first, from the last at or before a line on.

    They are written in the order of lines, so the place is found by looking at a few of them. `number` is -1.
    """
    try:
        source = PlainFile(path)
    except ArchiveError:
        return
    try:
        begin, end = 0, source.size()
        while last_line is not None and end - begin > _STEP_BYTES:
            middle = (begin + end) // 2
            at, head = _next_line(source, middle, end), None
            while at < end and head is None:  # what cannot be read tells no line
                next_at = _next_line(source, at + 1, end)
                head = _head_in(source, at, next_at - at)
                at = at if head is not None else next_at
            if head is not None and head[0] <= last_line:
                begin = at
            else:
                end = middle
        yield from (
            head
            for head in _backwards(source, _next_line(source, end, source.size()))
            if last_line is None or head.line <= last_line
        )
    finally:
        source.close()


def _next_line(source: PlainFile, at: int, end: int) -> int:
    """Where the first line begins at or behind an offset."""
    if at == 0 or source.read_at(at - 1, 1) == b"\n":
        return at
    while at < end and (part := source.read_at(at, _STEP_BYTES)):
        found = part.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(part)
    return end


def _backwards(source: PlainFile, end: int) -> Iterator[CheckpointHead]:
    """The heads in front of an offset at which a line begins, the last one first."""
    while end > 0:
        length, begin = 0, end - 1
        while begin > 0:
            size = min(_STEP_BYTES, begin)
            found = source.read_at(begin - size, size).rfind(b"\n")
            if found >= 0:
                begin += found + 1 - size
                break
            begin -= size
        length = end - begin - (source.read_at(end - 1, 1) == b"\n")
        head = _head_in(source, begin, length)
        if head is not None:
            yield CheckpointHead(*head, -1, begin, length)
        end = begin


def _lines(source: PlainFile) -> Iterator[tuple[int, int]]:
    """Offset and length of each line."""
    start = at = 0
    while chunk := source.read_at(at, CHUNK_BYTES):
        found = chunk.find(b"\n")
        while found >= 0:
            yield start, at + found - start
            start = at + found + 1
            found = chunk.find(b"\n", found + 1)
        at += len(chunk)
    if at > start:
        yield start, at - start


def _head_in(source: PlainFile, offset: int, length: int) -> Optional[tuple[int, int, str, str]]:
    """The head of the line that begins at an offset; one that is not as we write it is decoded as a whole."""
    head = _head(source.read_at(offset, min(length, _HEAD_BYTES)))
    if head is None:
        with contextlib.suppress(MalformedMessage):
            found = decode_checkpoint(source.read_at(offset, length).rstrip(b"\n"))
            head = found.line, found.end_offset, found.symbol, "" if found.snapshot else found.reason or "null"
    return head


def _head(begin: bytes) -> Optional[tuple[int, int, str, str]]:
    match = _HEAD.match(begin)
    if match is None:
        return None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return int(match[1]), int(match[2]), msgspec.json.decode(match[3], type=str), ""
    return None


def read_checkpoint(path: Path, head: CheckpointHead) -> Optional[Checkpoint]:
    """The checkpoint of a head, or None when it cannot be read."""
    try:
        source = PlainFile(path)
    except ArchiveError:
        return None
    try:
        found = decode_checkpoint(source.read_at(head.offset, head.length))
    except MalformedMessage:
        return None
    finally:
        source.close()
    return found if (found.line, found.end_offset, found.symbol) == head[:3] else None


def decode_checkpoint(line: bytes) -> Checkpoint:
    """One line of the file.

    Raises:
        MalformedMessage: it is no checkpoint.
    """
    return decode_json(_decoder, line)


def append_checkpoints(path: Path, checkpoints: list[Checkpoint]) -> int:
    """Add checkpoints to a day's file; a torn last line is ended first. Gives back the bytes written.

    Raises:
        ArchiveError: the file cannot be written.
    """
    try:
        with open_regular(path, "a+b") as raw, io.BufferedRandom(raw) as file:
            if file.seek(0, 2):
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            return file.write(b"".join(_encoder.encode(checkpoint) + b"\n" for checkpoint in checkpoints))
    except OSError as error:
        raise ArchiveError(f"cannot write: {error.strerror or error}", where=str(path)) from error
