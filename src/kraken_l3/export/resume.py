"""Done markers: which pieces of an export are done, so that an interrupted or repeated one goes on.

A marker lies in DIR/_jobs. It counts only while source, companions and options are the same and the files that it
names are there, in their size.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any, Optional

from kraken_l3._version import __version__
from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.layout import SEALED_SUFFIX, DayPaths, Stream, parse_name
from kraken_l3.archive.opening import content_size, existing
from kraken_l3.archive.reader import Archive
from kraken_l3.export.result import ExportedFile, ExportResult
from kraken_l3.export.storage import Store, write_file
from kraken_l3.export.table import Table
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import Chain

__all__ = ["DoneMarker", "depends_on"]


class DoneMarker:
    """The marker of a piece of an export.

    Args:
        store: where the export writes.
        name: tells the piece from the others: table or format, source file, share of the symbols.
        depends_on: what its rows depend on (see the function of that name).

    Attributes:
        result: what was written, or None while the piece is still to do.
    """

    def __init__(self, store: Store, name: str, depends_on: Any) -> None:
        self._name = f"_jobs/{name}.json"
        self._store = store
        self._key = depends_on
        self.result = self._read()

    def _read(self) -> Optional[ExportResult]:
        content = self._store.read(self._name)
        if content is None:
            return None
        try:
            marker = json.loads(content)
            files = [ExportedFile(**file) for file in marker["result"]["files"]]
            result = ExportResult(**{**marker["result"], "files": files})
        except (ValueError, KeyError, TypeError):  # by another version, or damaged: the file is done again
            return None
        same = marker["key"] == self._key and all(self._store.size(f.name) == f.bytes for f in result.files)
        result.already_there = len(result.files)
        return result if same else None

    def write(self, result: ExportResult) -> None:
        """The piece is done, and its files are published."""
        write_file(self._store, self._name, json.dumps({"key": self._key, "result": asdict(result)}, indent=1).encode())


def depends_on(
    archive: Archive,
    path: Path,
    chain: Chain,
    table: Table,
    part: tuple[int, int],
    metadata: Sequence[SymbolMetadata],
    window: Window = EVERYTHING,
) -> Any:
    """What a source file's rows depend on, and nothing else; as JSON gives it back.

    The journal counts by what it says of gaps, precisions and depths: it gains records that change no row, at sealing
    for one.
    """
    position = chain.files.index(path.name)
    files = chain.files[: position + 1]  # books go on from the files before
    sources = [[name.removesuffix(SEALED_SUFFIX), content_size(archive.directory / name)] for name in files]
    goes_on = position + 1 < len(chain.files) or chain.goes_on
    name = parse_name(path.name)
    companions = _companions(archive, path, name.day, table, goes_on=goes_on) if name is not None else []
    told = [list(each) for each in metadata]
    # a window that holds all of the day leaves out none of its rows
    has_times = name is not None and existing(DayPaths(archive.directory, name.day).receipts(Stream.LEVEL3)) is not None
    edges = window.within(name.day) if name is not None and has_times else window
    return json.loads(json.dumps([__version__, table.options(), part, sources, goes_on, told, companions, edges]))


def _companions(archive: Archive, path: Path, day: dt.date, table: Table, *, goes_on: bool) -> list[Any]:
    """What the files beside the data add to a day's rows."""
    paths = DayPaths(archive.directory, day)
    receipts = existing(paths.receipts(Stream.LEVEL3))
    books = [
        [checkpoint.symbol, zlib.crc32(checkpoint.snapshot or b"")]
        for checkpoint in takewhile(lambda each: each.line == 0, read_checkpoints(paths.checkpoints))
        if table.symbols is None or checkpoint.symbol in table.symbols
    ]
    others = table.depends_on(archive, day, _end_of_rows_ns(path, day, goes_on=goes_on))
    return [content_size(receipts) if receipts is not None else None, others, books]


def _end_of_rows_ns(path: Path, day: dt.date, *, goes_on: bool) -> int:
    """No row of the file is later: the gap that a stop opens behind its last line touches none."""
    end_of_day_ns = day_start_ns(day) + NS_PER_DAY
    if goes_on:
        return end_of_day_ns
    with DataFile(path) as file:
        newest = file.receipts.last() if file.receipts is not None else None
    return newest.recv_ns if newest is not None else end_of_day_ns
