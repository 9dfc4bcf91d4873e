"""The checkpoints of an archive that has none, made at once; those of a recording are written beside it (`live`)."""

from __future__ import annotations

from pathlib import Path

from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import FileBegin, FileEnd, Step, play

__all__ = ["make_checkpoints"]

#: Checkpoints stand between blocks.
_BLOCK_BYTES = 1024 * 1024


def make_checkpoints(directory: Path, *, engine_name: str = "auto") -> None:
    """Read an archive through, and write checkpoints where the recorder's verifier would have.

    Args:
        directory: an archive without checkpoints; the same data gives the same ones, with either engine.
        engine_name: see `engine.choose`.
    """
    archive = open_archive(directory)
    engine = make_engine(EngineOptions(messages=True), engine_name)
    checkpointing = Checkpointing(engine)
    last = None
    for each in play(engine, archive, metadata_in(archive), block_bytes=_BLOCK_BYTES):
        if isinstance(each, FileBegin) and last is not None:  # the first file begins without books
            checkpointing.begin_file(_path(each.path))
        elif isinstance(each, Step):
            block = each.block
            line, end_offset = block.first_line + each.result.lines, block.offset + len(block.data)
            checkpointing.fed(_path(each.path), line, end_offset, lines=each.result.lines, size=len(block.data))
        elif isinstance(each, FileEnd):
            last = each
    if last is not None:
        checkpointing.end_file(_path(last.path), last.lines, last.bytes)


def _path(file: Path) -> Path:
    paths = DayPaths.of(file)
    assert paths is not None  # an archive directory has no data files of other names
    return paths.checkpoints
