"""What is on disk: names and contents, to be compared, and the lines that a reader must find."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path

from kraken_l3.archive.layout import parse_name
from kraken_l3.archive.zstd import zstd

__all__ = ["Tree", "lines_of", "messages_of", "tree", "what_is"]

Tree = dict[str, str]


def tree(directory: Path, *, but: tuple[Path, ...] = ()) -> Tree:
    """Every name below a directory with what it is."""
    found: Tree = {}
    for place, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if Path(place, name) not in but)
        for name in (*names, *directories):
            path = Path(place, name)
            found[os.fsencode(path.relative_to(directory)).decode(errors="backslashreplace")] = what_is(path)
    return found


def what_is(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"mode {path.stat().st_mode:o}"


def lines_of(archive: Path, intact: Counter[bytes], whole: Set[str]) -> Counter[bytes]:
    """The intact lines that a reader must find: in plain files as they are, in packed ones that are `whole`."""
    found: Counter[bytes] = Counter()
    plain = {path.name for path in archive.glob("l3-*.ndjson")}
    for path in archive.glob("l3-*"):
        name = parse_name(path.name)
        if name is None or path.is_symlink() or not path.is_file():
            continue
        if name.suffix == "ndjson":
            found.update(path.read_bytes().split(b"\n")[:-1])  # one without a newline is torn
        elif name.suffix == "ndjson.zst" and path.stem not in plain and what_is(path) in whole:
            found.update(_unpacked(path))
    return found & intact


_SEEK_TABLE = b"\x5e\x2a\x4d\x18"


def _unpacked(path: Path) -> list[bytes]:
    data, content = path.read_bytes(), b""
    with contextlib.suppress(zstd.ZstdError):  # it is no packed file
        while data and not data.startswith(_SEEK_TABLE):
            frame = zstd.ZstdDecompressor()
            content += frame.decompress(data)
            data = frame.unused_data
    return content.split(b"\n")[:-1]


_MESSAGE = re.compile(rb'\{"channel":"level3".*\}\]\}')


def messages_of(archive: Path) -> Counter[bytes]:
    """Its level3 messages that are whole, each as often as it is there."""
    return Counter(line for line in _all_lines(archive) if _MESSAGE.fullmatch(line))


def _all_lines(archive: Path) -> Iterator[bytes]:
    for path in archive.glob("l3-*.ndjson*"):
        yield from path.read_bytes().split(b"\n") if path.suffix == ".ndjson" else _unpacked(path)
