"""Verifies an archive: every checksum, and whatever cannot be in a book in step, counted for each symbol.

"Verified" means consistent with Kraken's checksum, which covers price, quantity and queue order of the 10 best levels.
Several jobs take a share of the symbols each out of the same files: native engines share one reading of the files among
threads; the Python engine needs processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.datafile import BLOCK_BYTES
from kraken_l3.archive.envelope import count_wrapped
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DamageFound
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in, symbols_in
from kraken_l3.rebuild.parallel import Progress, run_in_processes
from kraken_l3.rebuild.playback import FileEnd, Step, play
from kraken_l3.rebuild.verification import FilePart, HiddenRest, Located, SymbolReport, Verification

__all__ = ["verify", "verify_symbols"]

#: What threads share is larger, since they wait for each other at its end.
SHARED_BLOCK_BYTES = 2 * BLOCK_BYTES
#: Notes kept of one run; tallies count everything.
MAX_NOTES = 1_000


def verify(
    path: Path,
    *,
    instruments: Sequence[Instrument] = (),
    depth: Optional[int] = None,
    engine_name: str = "auto",
    jobs: int = 1,
    progress: Optional[Progress] = None,
) -> Verification:
    """Verify an archive or a file.

    Args:
        path: a directory of ours, or any NDJSON file of level3 messages.
        instruments: precisions that the user knows; they outweigh the journal's.
        depth: the subscribed depth, if the user knows it; it outweighs the journal's.
        engine_name: see `engine.choose`.
        jobs: threads or processes; each handles its share of the symbols.
        progress: called with the bytes done.
    """
    archive = open_archive(path)
    depths = None if depth is None else dict.fromkeys(symbols_in(archive), depth)
    metadata = metadata_in(archive, instruments, depths)
    if jobs <= 1 or make_engine(EngineOptions(), engine_name).name == "native":
        found = verify_symbols(
            path, metadata, EngineOptions(), engine_name=engine_name, threads=jobs, progress=progress
        )
    else:
        shares = [_Share(path, metadata, engine_name, (part, jobs)) for part in range(jobs)]
        found, *others = run_in_processes(_verify_share, shares, jobs, progress, shares=jobs)
        for other in others:
            found.merge(other)
        del found.notes[MAX_NOTES:]
    found.unread_files = unread_files(archive)
    return found


class _Share(NamedTuple):
    path: Path
    metadata: Sequence[SymbolMetadata]
    engine_name: str
    part: tuple[int, int]


def _verify_share(share: _Share, progress: Progress) -> Verification:
    options = EngineOptions(part=share.part)
    return verify_symbols(share.path, share.metadata, options, engine_name=share.engine_name, progress=progress)


def verify_symbols(
    path: Path,
    metadata: Sequence[SymbolMetadata],
    options: EngineOptions,
    *,
    engine_name: str = "auto",
    threads: int = 1,
    progress: Optional[Progress] = None,
) -> Verification:
    """Verify with one engine, or with several in threads, the symbols that `options` name."""
    engine = make_engine(options, engine_name, threads=threads)
    files: list[FilePart] = []
    notes: list[Located] = []
    first_bad_files: dict[str, str] = {}
    left_out: dict[tuple[str, int], int] = {}
    hidden: list[HiddenRest] = []
    not_data = 0
    block_bytes = BLOCK_BYTES if threads <= 1 else SHARED_BLOCK_BYTES

    def on_damage(damage: DamageFound) -> None:
        hidden.append(HiddenRest(damage.where, damage.what, damage.hint))

    for played in play(engine, open_archive(path), metadata, block_bytes=block_bytes, on_damage=on_damage):
        if isinstance(played, FileEnd):
            files.append(FilePart(played.path.name, played.lines, played.bytes))
        if not isinstance(played, Step):
            continue
        name, block = played.path.name, played.block
        # What is no level3 message may hold one, where envelopes begin in the middle of a file.
        before, not_data = not_data, engine.totals().not_data
        count = block.left_out + (count_wrapped(block.data) if not_data > before else 0)
        if count:
            left_out[name, block.offset] = count
        if played.result.notes:
            # One order whatever engines and threads there are: several may have something to say of one line.
            told = sorted(played.result.notes, key=lambda note: (note.line, note.symbol))
            notes += [Located(name, note) for note in told[: MAX_NOTES - len(notes)]]
            # A symbol's first bad message is always noted, so its file is the one in which the tally first has it.
            for tally in engine.tallies():
                if tally.first_bad is not None:
                    first_bad_files.setdefault(tally.symbol, name)
        if progress is not None:
            progress(len(block.data))
    symbols = {t.symbol: SymbolReport(t, first_bad_files.get(t.symbol, "")) for t in engine.tallies() if t.messages}
    return Verification(engine.name, engine.totals(), symbols, files, notes, left_out, hidden=hidden)
