"""The manifest of a sealed day: what its files are, byte for byte, and what is in them.

`l3-D.manifest.json` is JSON for people and programs. Its last field is the SHA-256 of the manifest itself, taken while
that field held 64 zeros, so that a changed byte of the manifest shows too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
from msgspec import Meta

from kraken_l3.archive.gaps import Gap
from kraken_l3.archive.opening import PlainFile
from kraken_l3.errors import DamageFound, MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = [
    "MANIFEST_SUFFIX",
    "Content",
    "Description",
    "Manifest",
    "SealedFile",
    "StreamSummary",
    "decode_manifest",
    "encode_manifest",
    "read_manifest",
]

MANIFEST_SUFFIX = "manifest.json"
_NO_SUM = "0" * 64
#: Verdicts and gaps of a thousand symbols come to a tenth of it.
_LARGEST_BYTES = 64 * 1024 * 1024


_Size = Annotated[int, Meta(ge=0, le=2**62)]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a .zst file unpacks to. A last line without newline counts as a line."""

    bytes: _Size
    sha256: str
    lines: _Size


class SealedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file as it lies in the directory; `content` for those that were sealed."""

    name: str
    bytes: _Size
    sha256: str
    content: Optional[Content] = None


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one data file holds; receive times are None where nothing tells them."""

    name: str
    stream: str
    lines: int
    first_received_ns: Optional[int]
    last_received_ns: Optional[int]
    symbols: list[str]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a day, as far as its reader can tell.

    Attributes:
        streams: one for each data file.
        depths: the subscribed depth of each symbol of the level3 data.
        verdicts: verification of the level3 data: verdict, engine, total, symbols; None when there is none.
        gaps: of all channels, from the day's journal.
        missing: in words, what could not be told.
    """

    streams: list[StreamSummary] = []
    depths: dict[str, int] = {}
    verdicts: Optional[dict[str, Any]] = None
    gaps: list[Gap] = []
    missing: list[str] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """See the module; times are nanoseconds since 1970 UTC. `program` is the version that sealed."""

    format: str = "kraken-l3 manifest"
    version: int = 1
    day: Optional[str]
    sealed_ns: int
    program: str
    files: list[SealedFile]
    contains: Description
    manifest_sha256: str = _NO_SUM

    def file(self, name: str) -> Optional[SealedFile]:
        """The entry of a file, if it has one."""
        return next((file for file in self.files if file.name == name), None)


_decoder = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's text, with its own sum."""
    unsigned = msgspec.structs.replace(manifest, manifest_sha256=_NO_SUM)
    text = msgspec.json.format(msgspec.json.encode(unsigned), indent=1) + b"\n"
    head, _, tail = text.rpartition(_NO_SUM.encode())
    return head + hashlib.sha256(text).hexdigest().encode() + tail


def read_manifest(path: Path) -> Manifest:
    """The manifest that lies there.

    Raises:
        DamageFound: it is no manifest, or not as it was written.
        ArchiveError: it cannot be read.
    """
    source = PlainFile(path)
    try:
        text = source.read_at(0, _LARGEST_BYTES + 1)
    finally:
        source.close()
    if len(text) > _LARGEST_BYTES:
        raise DamageFound(f"is not a manifest (larger than {_LARGEST_BYTES:,} bytes)", where=str(path), hint=_REMEDY)
    return decode_manifest(text, path)


def decode_manifest(text: bytes, path: Path) -> Manifest:
    """The inverse.

    Raises:
        DamageFound: it is no manifest, or not as it was written.
    """
    try:
        manifest = decode_json(_decoder, text)
    except MalformedMessage as error:
        raise DamageFound(f"is not a manifest ({error.what})", where=str(path), hint=_REMEDY) from None
    head, _, tail = text.rpartition(manifest.manifest_sha256.encode())
    if hashlib.sha256(head + _NO_SUM.encode() + tail).hexdigest() != manifest.manifest_sha256:
        raise DamageFound("the manifest is not as it was written", where=str(path), hint=_REMEDY)
    return manifest


_REMEDY = "Take it from a copy; or, if you trust the files as they are, remove it and run `kraken-l3 seal` again"
