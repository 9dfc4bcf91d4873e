"""The checkpoints of an archive that has none, made at once; those of a recording are written beside it (`live`)."""

from __future__ import annotations

from pathlib import Path

from kraken_l3.archive.checkpoints import checkpoints_of
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
            checkpointing.begin_file(checkpoints_of(each.path))
        elif isinstance(each, Step):
            lines, size = each.result.lines, len(each.block.data)
            checkpointing.fed(checkpoints_of(each.path), *each.end, lines=lines, size=size)
        elif isinstance(each, FileEnd):
            last = each
    if last is not None:
        checkpointing.end_file(checkpoints_of(last.path), last.lines, last.bytes)
