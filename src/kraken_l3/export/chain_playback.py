"""A chain of days played for rows: what every export does on the way, whatever it makes of the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable, Optional, Protocol, Union

from kraken_l3.archive.gaps import Gap, gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DamageFound
from kraken_l3.export.clock import ReceiveClock
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.table import Table
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step
from kraken_l3.rebuild.window import play_window

__all__ = ["ChainPlayback"]

_BLOCK_BYTES = 1024 * 1024


class Counts(Protocol):
    """What a playback counts; see `result.EngineCounts`."""

    def leave_out(self, lines: int) -> None:
        """Lines that the engine could not be given."""

    def since_last(self) -> object:
        """Forgets what came before."""


class ChainPlayback:
    """Plays a chain for the rows of a table in a window, once.

    Args:
        archive: holds the chain.
        chain: what to play.
        table: whose rows.
        metadata: see `metadata.metadata_in`.
        window: what of it.
        options: of the engine (default: the table's).
        engine_name: see `engine.choose`.

    Attributes:
        engine: gives the results of steps.
        gaps: those that were reached so far.
        is_begun: whether the window is reached; steps before lead up to it, and hold no row of it.
    """

    def __init__(
        self,
        archive: Archive,
        chain: Chain,
        table: Table,
        metadata: Sequence[SymbolMetadata],
        window: Window = EVERYTHING,
        *,
        options: Optional[EngineOptions] = None,
        engine_name: str = "auto",
    ) -> None:
        self._archive, self._chain, self._table = archive, chain, table
        self._metadata, self._window = metadata, window
        self.engine = make_engine(options or table.engine_options(metadata=metadata), engine_name)
        self._clock = ReceiveClock(self.engine.name, grid_ns=table.grid_ns)
        self.gaps = GapRows()
        self.is_begun = False

    @property
    def now_ns(self) -> int:
        """The latest receive time so far."""
        return self._clock.now_ns

    def play(
        self,
        counts: Counts,
        *,
        hashed: bool = False,
        block_bytes: int = _BLOCK_BYTES,
        progress: Optional[Progress] = None,
        on_damage: Optional[Callable[[DamageFound], None]] = None,
    ) -> Iterator[Union[Gap, FileBegin, Step, FileEnd]]:
        """What happens, as `window.play_window` tells it.

        Args:
            counts: of the window; what leads up to it is forgotten.
            hashed: have `FileEnd` tell the SHA-256 of each file.
            block_bytes: about how much to feed at a time.
            progress: called with the bytes done.
            on_damage: see `playback.play`.
        """
        played = play_window(
            self.engine,
            self._archive,
            self._metadata,
            self._chain,
            self._window,
            gaps=gaps_in(self._archive, channel=Stream.LEVEL3, symbols=self._table.symbols),
            clock=self._clock,
            grid=self._table.grid_ns is not None,
            through_midnight=self._table.has_bars,
            hashed=hashed,
            block_bytes=block_bytes,
            only=self._table.symbols,
            on_damage=on_damage,
        )
        for each in played:
            if isinstance(each, SymbolMetadata):
                continue
            if isinstance(each, Gap):
                self.gaps.add(each)
            elif isinstance(each, FileBegin) and not self.is_begun:
                self.is_begun = True
                counts.since_last()
            elif isinstance(each, Step):
                counts.leave_out(each.block.left_out)
                if progress is not None:
                    progress(len(each.block.data))
            yield each
