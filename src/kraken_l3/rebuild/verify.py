"""Verifies an archive: every checksum, and whatever cannot be in a book in step, counted for each symbol.

"Verified" means consistent with Kraken's checksum, which covers price, quantity and queue order of the 10 best levels.
Several jobs, or the workers of a cluster, divide the archive by time where checkpoints allow it (`parts`). Else jobs
take a share of the symbols each out of the same files: native engines share one reading of the files among threads; the
Python engine needs processes. What is found does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.archive.datafile import BLOCK_BYTES
from kraken_l3.archive.envelope import count_wrapped
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.engine.port import Engine, EngineOptions, SymbolTally, Totals
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.division import Part, divide
from kraken_l3.rebuild.metadata import metadata_in, symbols_in
from kraken_l3.rebuild.parallel import Progress, run_in_processes
from kraken_l3.rebuild.parts import Reading, read_in_parts
from kraken_l3.rebuild.playback import FileEnd, Played, Step
from kraken_l3.rebuild.verification import FilePart, HiddenRest, Located, SymbolReport, Verification

__all__ = ["verify"]

#: What a part reads at a time is smaller: it stays in the cache, and its memory is not given back between parts.
PART_BLOCK_BYTES = 256 * 1024
#: Notes kept of one run; tallies count everything.
MAX_NOTES = 1_000


def verify(
    path: Path,
    *,
    instruments: Sequence[Instrument] = (),
    depth: Optional[int] = None,
    engine_name: str = "auto",
    jobs: int = 1,
    cluster: Optional[str] = None,
    progress: Optional[Progress] = None,
    part_bytes: Optional[int] = None,
) -> Verification:
    """Verify an archive or a file.

    Args:
        path: a directory of ours, or any NDJSON file of level3 messages.
        instruments: precisions that the user knows; they outweigh the journal's.
        depth: the subscribed depth, if the user knows it; it outweighs the journal's.
        engine_name: see `engine.choose`.
        jobs: threads or processes.
        cluster: address of a Dask scheduler, whose workers read the parts instead (see `read_in_parts`). What cannot
            be divided is read here.
        progress: called with the bytes done.
        part_bytes: see `divide`.
    """
    if cluster is not None:
        path = path.absolute()
    archive = open_archive(path)
    depths = None if depth is None else dict.fromkeys(symbols_in(archive), depth)
    metadata = metadata_in(archive, instruments, depths)
    parts = divide(archive, metadata, part_bytes=part_bytes)
    reading = Reading(path, metadata, EngineOptions(), engine_name)
    has_one_symbol = len({told.symbol for told in metadata}) == 1
    if cluster is not None and len(parts) > 1:
        found = _verify(reading._replace(block_bytes=PART_BLOCK_BYTES), parts, 1, progress, cluster)
    elif jobs <= 1 or len(parts) >= 2 * jobs or (has_one_symbol and len(parts) > 1):
        block_bytes = PART_BLOCK_BYTES if len(parts) > 1 else BLOCK_BYTES
        found = _verify(reading._replace(block_bytes=block_bytes), parts, jobs, progress)
    elif reading.engine().name == "native":
        reading = reading._replace(threads=jobs, block_bytes=BLOCK_BYTES)
        found = _verify(reading, parts, 1, progress)
    else:
        shares = [_Share(reading._replace(options=EngineOptions(part=(n, jobs))), parts) for n in range(jobs)]
        found, *others = run_in_processes(_verify_share, shares, jobs, progress, shares=jobs)
        for other in others:
            found.merge(other)
        del found.notes[MAX_NOTES:]
    found.unread_files = unread_files(archive)
    return found


class _Share(NamedTuple):
    reading: Reading
    parts: Sequence[Part]


def _verify_share(share: _Share, progress: Progress) -> Verification:
    return _verify(share.reading, share.parts, 1, progress)


def _verify(
    reading: Reading, parts: Sequence[Part], jobs: int, progress: Optional[Progress], cluster: Optional[str] = None
) -> Verification:
    found = Verification(reading.engine().name, Totals(), {}, [])
    files: dict[str, FilePart] = {}
    first_bad_files: dict[str, str] = {}
    counted = _Counts()  # of engines that are done
    current = _Counts()
    for read in read_in_parts(reading, parts, _judge, jobs=jobs, cluster=cluster, progress=progress):
        if not read.went_on:
            counted = counted.then(current)
        current = _Counts(read.totals, {tally.symbol: tally for tally in read.tallies})
        judged = read.output
        files.update((file.file, file) for file in judged.files)
        found.notes += judged.notes[: MAX_NOTES - len(found.notes)]
        first_bad_files = {**judged.first_bad_files, **first_bad_files}
        found.left_out.update(judged.left_out)
        found.hidden += (HiddenRest(damage.where, damage.what, damage.hint) for damage in read.damage)
        found.lies += read.lies
    counted = counted.then(current)
    found.totals, found.files = counted.totals, list(files.values())
    found.symbols = {
        symbol: SymbolReport(tally, first_bad_files.get(symbol, ""))
        for symbol, tally in sorted(counted.tallies.items())
        if tally.messages
    }
    return found


@dataclass
class _Counts:
    totals: Totals = field(default_factory=Totals)
    tallies: dict[str, SymbolTally] = field(default_factory=dict)

    def then(self, later: _Counts) -> _Counts:
        tallies = dict(self.tallies)
        for symbol, tally in later.tallies.items():
            tallies[symbol] = tallies[symbol].then(tally) if symbol in tallies else tally
        return _Counts(self.totals.then(later.totals), tallies)


@dataclass
class _Judged:
    """What is found in one part, beside what its engine counts."""

    files: list[FilePart] = field(default_factory=list)
    notes: list[Located] = field(default_factory=list)
    first_bad_files: dict[str, str] = field(default_factory=dict)
    left_out: dict[tuple[str, int], int] = field(default_factory=dict)


def _judge(engine: Engine, played: Iterator[Played], progress: Progress) -> _Judged:
    found = _Judged()
    elsewhere = engine.totals().level3_elsewhere
    for each in played:
        if isinstance(each, FileEnd):
            found.files.append(FilePart(each.path.name, each.lines, each.bytes))
        if not isinstance(each, Step):
            continue
        name, block = each.path.name, each.block
        # What is no level3 message may hold one, where envelopes begin in the middle of a file.
        before, elsewhere = elsewhere, engine.totals().level3_elsewhere
        count = block.left_out + (count_wrapped(block.data) if elsewhere > before else 0)
        if count:
            found.left_out[name, block.offset] = count
        if each.result.notes:
            # One order whatever engines and threads there are: several may have something to say of one line.
            told = sorted(each.result.notes, key=lambda note: (note.line, note.symbol))
            found.notes += [Located(name, note) for note in told[: MAX_NOTES - len(found.notes)]]
            # A symbol's first bad message is always noted, so its file is the one in which the tally first has it.
            for tally in engine.tallies():
                if tally.first_bad is not None:
                    found.first_bad_files.setdefault(tally.symbol, name)
        progress(len(block.data))
    return found
