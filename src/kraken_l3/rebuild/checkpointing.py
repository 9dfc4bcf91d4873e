"""When checkpoints are due, making them, and going on from one.

One for each symbol at the start of a day's file and at the end of the run, and whenever a symbol's data since the last
is 20 times the checkpoint's size, so that they stay below a twentieth of the data, and at least 1.3 MB. A symbol whose
book is not in step gets a record with the reason instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints
from kraken_l3.engine.port import BookImage, Engine, SymbolTally
from kraken_l3.model.events import State

__all__ = ["Checkpointing", "image_of", "load_checkpoint"]

_FACTOR = 20
#: Stands for the size where there is none yet, and keeps small books from being written at every look.
_LEAST_BYTES = 64 * 1024


class Checkpointing:
    """Writes the checkpoints of one archive while an engine goes through it.

    Args:
        engine: has the books.
        least_bytes: a checkpoint that is smaller counts as so large.
    """

    def __init__(self, engine: Engine, *, least_bytes: int = _LEAST_BYTES) -> None:
        self._engine = engine
        self._least_bytes = least_bytes
        self._messages: dict[str, int] = {}
        self._data_bytes: dict[str, float] = {}
        self._sizes: dict[str, int] = {}

    def begin_file(self, path: Path) -> None:
        """A new day begins with the books as they stand."""
        self._write(path, 0, 0, self._engine.tallies())

    def end_file(self, path: Path, line: int, end_offset: int) -> None:
        """The run ends here: what is newer than the last checkpoint is kept."""
        self._write(path, line, end_offset, [t for t in self._engine.tallies() if self._data_bytes.get(t.symbol)])

    def fed(self, path: Path, line: int, end_offset: int, *, lines: int, size: int) -> None:
        """A block of `lines` lines and `size` bytes was fed; the next line has number `line`."""
        due = []
        for tally in self._engine.tallies():
            symbol = tally.symbol
            messages = tally.messages - self._messages.get(symbol, 0)
            if not messages:
                continue
            self._messages[symbol] = tally.messages
            # a block's bytes are shared out by messages: exact enough for "about 20 times"
            data = self._data_bytes[symbol] = self._data_bytes.get(symbol, 0.0) + size * messages / max(lines, 1)
            if data >= _FACTOR * max(self._sizes.get(symbol, 0), self._least_bytes):
                due.append(tally)
        if due:
            self._write(path, line, end_offset, due)

    def _write(self, path: Path, line: int, end_offset: int, tallies: list[SymbolTally]) -> None:
        made = [self._checkpoint(tally, line, end_offset) for tally in tallies]
        if made:
            append_checkpoints(path, made)
        for checkpoint in made:
            self._data_bytes[checkpoint.symbol] = 0.0
            self._sizes[checkpoint.symbol] = len(checkpoint.snapshot or b"")

    def _checkpoint(self, tally: SymbolTally, line: int, end_offset: int) -> Checkpoint:
        image = self._engine.export_book(tally.symbol) if tally.state is State.SYNCED else None
        reason: Optional[str] = None
        if image is None:
            reason = tally.state.name.lower()
        elif tally.last_ok_line != tally.last_line:
            image, reason = None, "unverified"
        return Checkpoint(
            line=line,
            end_offset=end_offset,
            symbol=tally.symbol,
            depth=tally.depth,
            message=msgspec.Raw(image.message if image is not None else b"null"),
            reason=reason or "",
            newest_ns=image.newest_ns if image is not None else 0,
            amending=list(image.amending) if image is not None else [],
        )


def load_checkpoint(engine: Engine, checkpoint: Checkpoint) -> bool:
    """Give an engine a checkpoint's book; whether there was one and it is whole."""
    image = image_of(checkpoint)
    if image is None:
        return False
    engine.set_symbol(checkpoint.symbol, depth=checkpoint.depth)
    return engine.load_book(image)


def image_of(checkpoint: Checkpoint) -> Optional[BookImage]:
    """The book of a checkpoint, None where it has none."""
    message = checkpoint.snapshot
    if message is None:
        return None
    return BookImage(checkpoint.symbol, message, checkpoint.newest_ns, tuple(checkpoint.amending))
