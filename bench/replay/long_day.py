"""A long day made of a short one, again and again: each turn begins with a snapshot, as after a resubscription."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy

from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.reader import open_archive

__all__ = ["make_long_day"]


def make_long_day(short: Path, directory: Path, size_bytes: int) -> Path:
    """An archive of one day with about `size_bytes` of level3 data, receipts and checkpoints."""
    (day,) = open_archive(short).days
    source, target = DayPaths(short, day), DayPaths(directory, day)
    directory.mkdir()
    data = source.data(Stream.LEVEL3).read_bytes()
    receipts = numpy.fromfile(source.receipts(Stream.LEVEL3), "<i8").reshape(-1, 4)
    checkpoints = [json.loads(line) for line in source.checkpoints.read_text().splitlines()]
    span_ns = int(receipts[-1, 0] - receipts[0, 0])
    turns = max(1, size_bytes // len(data))
    shutil.copyfile(source.journal, target.journal)
    with target.data(Stream.LEVEL3).open("wb") as lines:
        for _ in range(turns):
            lines.write(data)
    with target.receipts(Stream.LEVEL3).open("wb") as times:
        for turn in range(turns):
            (receipts + numpy.array([turn * span_ns, turn * span_ns, turn * len(data), 0])).tofile(times)
    with target.checkpoints.open("w") as books:
        for turn in range(turns):
            for book in checkpoints:
                line, end_offset = book["line"] + turn * len(receipts), book["end_offset"] + turn * len(data)
                moved = {**book, "line": line, "end_offset": end_offset}
                books.write(json.dumps(moved, separators=(",", ":")) + "\n")
    return directory
