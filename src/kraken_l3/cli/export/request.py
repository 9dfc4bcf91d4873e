"""What every `kraken-l3 export` command is asked for, and what all of them do before, during and after the work."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from kraken_l3.api import Archive
from kraken_l3.api.arguments import symbol_among, windows
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.cli.console import print_error, progress, stoppable
from kraken_l3.cli.options import warn_of_engine, warn_of_unread
from kraken_l3.errors import DataMissing, LocalFault, UsageError
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.window import Window
from kraken_l3.rebuild.metadata import read_instruments
from kraken_l3.rebuild.parallel import default_jobs
from kraken_l3.rebuild.playback import chains_in
from kraken_l3.rebuild.window import files_in

if TYPE_CHECKING:
    from kraken_l3.export.result import ExportResult

__all__ = ["ExportRequest", "counts_text", "export_command", "hidden_texts"]

#: A process that can export takes half a second to start.
_LEAST_BYTES_A_JOB = 64 * 1024 * 1024


@dataclass(frozen=True)
class ExportRequest:
    """The options that all exports share (`cli.commands` declares them).

    Attributes:
        source: path or URL of an archive directory or an NDJSON file.
        out: path or URL of the directory to write to.
        symbols: the symbols wanted; None for all.
        instruments: precisions that the user knows.
        engine: see `engine.choose`.
        as_json: print one JSON object.
        windows: what is wanted of the time.
        jobs: processes on this machine; None for as many as the data is worth.
        cluster: address of a Dask scheduler.
    """

    source: str
    out: str
    symbols: Optional[frozenset[str]]
    instruments: list[Instrument]
    engine: str
    as_json: bool
    windows: list[Window]
    jobs: Optional[int]
    cluster: Optional[str] = None

    def begin(self) -> bool:
        """Check what can be checked before the work; gives whether there is data that is not looked at."""
        source = path_of(self.source)
        unread = warn_of_unread(source)
        if not open_archive(source).files():
            raise UsageError("no level3 data here", where=self.source, hint="Its files are named l3-YYYY-MM-DD.ndjson")
        self._check_symbols()
        if "://" not in self.out:
            try:
                Path(self.out).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                hint = "Use another --out"
                raise UsageError(f"cannot write there: {error.strerror}", where=self.out, hint=hint) from None
        return unread

    def _check_symbols(self) -> None:
        """A mistyped symbol is an error that lists those there are, and not an empty table."""
        if self.symbols is None:
            return
        known = Archive(path_of(self.source), engine=self.engine).symbols
        try:
            for symbol in sorted(self.symbols):
                symbol_among(symbol, known, "--symbols")
        except DataMissing as error:
            raise UsageError(error.what, where=error.where, hint=error.hint) from None

    def total(self) -> int:
        """Bytes that will be read."""
        archive = open_archive(path_of(self.source))
        chains = chains_in(archive)
        names = {name for chain in chains for window in self.windows for name in files_in(archive, chain, window)}
        return sum(content_size(file) for file in archive.files() if file.name in names)

    def jobs_for(self, total: Optional[int]) -> int:
        """How many processes to use on this machine for so many bytes."""
        if self.jobs is not None:
            return self.jobs
        return 1 if self.cluster is not None else default_jobs(total or 0, least_bytes=_LEAST_BYTES_A_JOB)

    @contextmanager
    def progress(self, total: Optional[int]) -> Iterator[Callable[[int], None]]:
        """A bar; Ctrl+C and SIGTERM stop the export where nothing is half done, and so does a full disk."""
        if self.cluster is not None:  # waited for without steps; nothing is written here: a signal may stop at once
            with progress("exporting", total) as on_bytes:
                yield on_bytes
            return
        try:
            with progress("exporting", total) as on_bytes, stoppable(on_bytes) as step:
                yield step
        except KeyboardInterrupt:
            print_error("kraken-l3: interrupted. The same command goes on from here.")
            raise
        except OSError as error:
            hint = "The same command goes on from here, once there is room"
            raise LocalFault(f"cannot write: {error.strerror or error}", where=self.out, hint=hint) from error


def export_command(work: Callable[..., int]) -> Callable[..., int]:
    """A command that gets all that was typed by name, from one that gets a request and its own options.

    @export_command
    def orders(request: ExportRequest, censored: bool) -> int: ...
    """

    @functools.wraps(work)
    def run(**typed: Any) -> int:
        _need_research()
        common = {name: typed.pop(name) for name in _COMMON if name in typed}
        return work(_request(**common), **typed)

    return run


_COMMON = frozenset({field.name for field in dataclasses.fields(ExportRequest)} | {"start", "end", "day"})


def _request(
    *,
    symbols: Optional[str],
    start: Optional[str],
    end: Optional[str],
    day: Optional[str],
    instruments: Optional[Path],
    engine: str,
    **others: Any,
) -> ExportRequest:
    warn_of_engine(engine)
    pairs = read_instruments(instruments) if instruments is not None else []
    wanted = windows(start, end, day)
    return ExportRequest(symbols=_symbols(symbols), windows=wanted, instruments=pairs, engine=engine, **others)


def _need_research() -> None:
    try:
        import numpy  # noqa: F401 - only whether it is there
        import pyarrow  # noqa: F401
    except ImportError:
        raise UsageError("exporting needs numpy and pyarrow", hint="pip install numpy pyarrow") from None


def _symbols(text: Optional[str]) -> Optional[frozenset[str]]:
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError("no symbol given", where="--symbols", hint="Use BTC/USD,ETH/USD")
    return names


def hidden_texts(result: ExportResult) -> list[str]:
    """What to say of damage that hides the rest of files."""
    return [f"Unreadable from here to the end of the file: {each}" for each in result.hidden]


def counts_text(result: ExportResult) -> str:
    """The closing line: how many messages were verified on the way."""
    return (
        f"{result.messages:,} messages: {result.ok:,} verified, {result.bad:,} bad, {result.unverified:,} unverifiable"
    )
