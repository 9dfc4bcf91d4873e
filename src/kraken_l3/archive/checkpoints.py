"""Checkpoints: verified books as of a line of a day's level3 data, one JSON object a line.

They let a day be rebuilt alone and a book be looked up without reading the day from its start. They are written by the
verifier and hold nothing that could not be made again from the data; a torn or unreadable line is passed over.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import msgspec
from msgspec import Meta

from kraken_l3.archive.filesystem import open_regular
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.scan import segments
from kraken_l3.errors import ArchiveError, MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = ["Checkpoint", "append_checkpoints", "decode_checkpoint", "read_checkpoints"]


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


_decoder = msgspec.json.Decoder(Checkpoint)
_encoder = msgspec.json.Encoder()


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
