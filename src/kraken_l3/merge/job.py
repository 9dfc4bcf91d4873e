"""Merges archives of the same stream into one: reads each once, aligns symbol by symbol, writes in the sources' order.

The source whose Kraken time is least far is read next, so that little waits in memory. A line is written from the
first source that has it, in that source's order; where others have lines between, the one with the earlier Kraken time
comes first, and a symbol's own order goes before all.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

import msgspec

from kraken_l3.archive.journal import MergedSource, Record
from kraken_l3.archive.layout import Stream
from kraken_l3.errors import UsageError
from kraken_l3.merge.columns import DONE, LED
from kraken_l3.merge.equal import take_equal
from kraken_l3.merge.follower import KeptByFollower
from kraken_l3.merge.others import MergedInstruments, MergedTrades
from kraken_l3.merge.output import MergedArchive
from kraken_l3.merge.proof import Book, Books
from kraken_l3.merge.source import Source, ranked
from kraken_l3.merge.stream import FOREVER_NS, SymbolStream
from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns

__all__ = ["MergeReport", "SourceReport", "merge"]

#: A message that a source has not delivered when it is so far ahead, by Kraken's time, is taken from another one.
SLACK_NS = 60 * 1_000_000_000
#: So much of a source may wait; then nothing is waited for.
WAITING_BYTES = 64 * 1024 * 1024

#: So many more objects than before, and garbage is looked for.
_COLLECTED_AT = 200_000

Progress = Callable[[int], None]


class SourceReport(msgspec.Struct):
    """One source; see `journal.MergedSource`."""

    source: int
    name: str
    read: int
    lines: int
    left_out: int
    clock_ahead_ns: Optional[int]


class MergeReport(msgspec.Struct):
    """What came of a merge.

    Attributes:
        out: the new archive.
        sources: by rank.
        lines: level3 lines written.
        verified, mismatched: messages of them, by their checksums.
        repairs: runs of messages that a source had lost and another one had.
        gaps: that remain.
        conflicts: places at which sources have different content.
        not_spliced: how often a source could not be put beside another.
        trades: trade messages written.
        hidden: damage that hides the rest of a source's file.
    """

    out: str
    sources: list[SourceReport]
    lines: int = 0
    verified: int = 0
    mismatched: int = 0
    repairs: int = 0
    gaps: int = 0
    conflicts: int = 0
    not_spliced: int = 0
    trades: int = 0
    hidden: list[str] = []

    def exit_code(self) -> int:
        """2: sources contradict one another; 3: gaps remain, or something could not be put in; 0: all is well."""
        if self.conflicts:
            return 2
        return 3 if self.gaps or self.not_spliced or self.hidden else 0


def merge(
    paths: Sequence[Path],
    out: Path,
    *,
    engine_name: str = "auto",
    progress: Optional[Progress] = None,
    slack_ns: int = SLACK_NS,
    waiting_bytes: int = WAITING_BYTES,
) -> MergeReport:
    """Merge archives into a new one.

    Args:
        paths: directories of archives, or single files of level3 messages.
        out: the directory of the new one. An unfinished merge of the same archives is gone on with.
        engine_name: see `engine.choose`.
        progress: called with the bytes read.
        slack_ns, waiting_bytes: bounds on what waits to be aligned.

    Raises:
        UsageError: a source does not exist or has no data, or `out` has something else.
        DiskFull: there is no room; the same call goes on from there.
    """
    if not paths:
        raise UsageError("no archive given")
    for path in paths:
        if out.resolve() == path.resolve() or out.resolve() in path.resolve().parents:
            raise UsageError("the merged archive needs a directory of its own", where=str(out))
    archives = ranked(paths)
    kept = [(owner, KeptByFollower(archive.path)) for owner, (archive, _) in enumerate(archives)]
    kept = [(owner, follower) for owner, follower in kept if follower.files()]
    of = len(archives) + len(kept)
    sources = [Source(rank, of, archive, engine_name) for rank, (archive, _) in enumerate(archives)]
    sources += (Source(len(archives) + n, of, each, engine_name, owner) for n, (owner, each) in enumerate(kept))
    output = MergedArchive(out, [digest for _, digest in archives])
    merging = _Merging(sources, output, engine_name, slack_ns, waiting_bytes)
    is_whole = False
    try:
        with _rare_collections():
            report = merging.run(str(out), progress)
        is_whole = True
    finally:
        merging.close()
        output.close(is_whole=is_whole)
    return report


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Lines wait by the ten thousand, and none is in a cycle: to look for cycles at every 700 objects takes a third of
    the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AT, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Merging:
    def __init__(
        self, sources: list[Source], output: MergedArchive, engine_name: str, slack_ns: int, waiting_bytes: int
    ) -> None:
        self._sources = sources
        self._output = output
        self._slack_ns = slack_ns
        self._waiting_bytes = waiting_bytes
        self._books = Books(engine_name)
        self._streams: dict[str, SymbolStream] = {}
        self._clocks = _Clocks(sources)
        self._records = [_Records(source) for source in sources]
        self._trades = MergedTrades(sources, output)
        self._instruments = MergedInstruments(sources, output)

    def run(self, out: str, progress: Optional[Progress]) -> MergeReport:
        for source in self._sources:
            for told in source.metadata:
                self._books.tell(told)
        touched: dict[str, None] = {}
        reads = 0
        while going_on := [source for source in self._sources if not source.is_over]:
            # one that was not read yet is at 0
            source = min(going_on, key=lambda each: (each.position_ns, each.rank))
            size, symbols = source.read_more()
            if progress is not None and size:
                progress(size)
            touched.update(dict.fromkeys(symbols))
            reads += 1
            if reads < len(going_on):
                continue  # what one has waits for the others
            self._decide(touched)
            touched, reads = {}, 0
            self._write()
            has_all = all(each.read or each.is_over for each in self._sources)
            if has_all and max(each.pending_bytes for each in self._sources) > self._waiting_bytes:
                self._decide_all(forced=True)
                self._write()
        self._decide_all(forced=False)
        self._write()
        return self._finish(out)

    def close(self) -> None:
        """Let go of the sources' files, also of those that were not read to their ends."""
        for source in self._sources:
            source.close()
        self._trades.close()
        self._instruments.close()

    # -- deciding

    def _limits(self) -> list[int]:
        return [FOREVER_NS if source.is_over else source.position_ns - self._slack_ns for source in self._sources]

    def _decide(self, symbols: Iterable[str]) -> None:
        limits = self._limits()
        if take_equal(self._sources, self._streams, self._books, limits):
            return
        for symbol in symbols:
            self._stream(symbol).decide(limits)
        # of the others, what waited for these sources alone to be far enough
        for symbol in sorted(self._waiting().difference(symbols)):
            self._stream(symbol).decide(limits)
        self._decide_damaged(limits, forced=False)

    def _waiting(self) -> set[str]:
        return {symbol for source in self._sources for symbol, lines in source.pending.items() if lines}

    def _decide_all(self, *, forced: bool) -> None:
        limits = self._limits()
        for source in self._sources:
            source.sort_in()
        for symbol in sorted(self._waiting()):
            self._stream(symbol).decide(limits, forced=forced)
        self._decide_damaged(limits, forced=forced)

    def _stream(self, symbol: str) -> SymbolStream:
        stream = self._streams.get(symbol)
        if stream is None:
            book = Book(symbol, self._books)
            stream = self._streams[symbol] = SymbolStream(symbol, self._sources, book, self._output)
        return stream

    def _decide_damaged(self, limits: Sequence[int], *, forced: bool) -> None:
        """Lines without a message are kept where every source that covers the moment has the same."""
        for source in self._sources:
            while source.damaged:
                line = source.damaged[0]
                place = source.ns[line - source.first]
                others = [
                    other
                    for other in self._sources
                    if other is not source
                    and not other.is_follower
                    and (not other.read or other.first_ns <= place)
                    and not (other.is_over and other.last_ns < place)
                ]
                if not forced and any(limits[other.rank] <= place for other in others):
                    break
                same = [self._same_damage(other, source.line(line)) for other in others]
                source.damaged.pop(0)
                if any(each is None for each in same):
                    source.left_out += 1
                    source.state[line - source.first] = DONE
                    continue
                source.state[line - source.first] = LED
                for other, its in zip(others, same):
                    assert its is not None
                    other.damaged.remove(its)
                    other.state[its - other.first] = DONE
                    source.elsewhere[other.rank][line - source.first] = other.recv[its - other.first]

    def _same_damage(self, source: Source, payload: bytes) -> Optional[int]:
        return next((line for line in source.damaged if source.line(line) == payload), None)

    # -- writing

    def _write(self) -> None:
        """Write what is decided, up to the first line of a source that is not."""
        while True:
            heads = []
            for source in self._sources:
                source.skip_done()
                if source.at - source.first < len(source):
                    heads.append((source.ns[source.at - source.first], source.rank))
                elif not source.is_over:
                    heads.append((source.position_ns, source.rank))
            if not heads:
                return
            heads.sort()
            source = self._sources[heads[0][1]]
            if source.at - source.first >= len(source) or source.state[source.at - source.first] != LED:
                return
            bound = heads[1] if len(heads) > 1 else (FOREVER_NS, 0)
            self._write_run(source, bound)

    def _write_run(self, source: Source, bound: tuple[int, int]) -> None:
        begin = source.at - source.first
        rest = source.state[begin:]
        end = begin + len(rest) - len(rest.lstrip(bytes([LED])))
        switches = sorted(line - source.first for line in source.before if begin <= line - source.first < end)
        is_switch = switches[:1] == [begin]
        end = min([end, *switches[is_switch:]])
        # of two lines of one moment, that of the smaller rank comes first
        end = max(begin + 1, _first_above(source.ns, begin, end, bound[0] - (source.rank > bound[1])))
        end = self._before_midnight(source, begin, end)
        if is_switch:
            self._write_before(source, begin + source.first)
        self._write_lines(source, begin + source.first, end + source.first)

    def _before_midnight(self, source: Source, begin: int, end: int) -> int:
        """A new day begins with a run of its own: what other streams have of the old one is written before."""
        midnight_ns = day_start_ns(day_of(source.recv[begin])) + NS_PER_DAY
        if max(source.recv[begin:end]) < midnight_ns:
            return end
        return next(at for at in range(begin, end) if source.recv[at] >= midnight_ns)

    def _write_before(self, source: Source, line: int) -> None:
        """A symbol's own order goes before all: what comes before a line in its stream is written now."""
        chain = [(source, line)]
        while chain:
            source, line = chain[-1]
            before = source.before.get(line)
            if before is None or before[0].is_done(before[1]):
                source.before.pop(line, None)
                chain.pop()
                if chain:  # not the line that was asked for, which its run writes
                    self._write_lines(source, line, line + 1)
                continue
            other, last = before
            symbol = other.symbol[last - other.first]
            open_lines = [
                each
                for each in range(max(other.at, other.first), last + 1)
                if other.state[each - other.first] == LED and other.symbol[each - other.first] == symbol
            ]
            chain += [(other, each) for each in reversed(open_lines)]

    def _write_lines(self, source: Source, begin: int, end: int) -> None:
        at = begin - source.first
        recv_ns = source.recv[at]
        self._write_records(source, recv_ns)
        self._instruments.write_until(source, recv_ns)
        self._trades.write_until(source, recv_ns, source.ns[at])
        frames = source.frames(begin, end)
        self._output.append(Stream.LEVEL3, frames, source.rows(begin, end))
        source.lines += end - begin
        self._clocks.add(source, begin, end)
        source.state[begin - source.first : end - source.first] = bytes([DONE]) * (end - begin)

    def _write_records(self, source: Source, until_ns: int) -> None:
        for record in self._records[source.rank].until(until_ns):
            self._output.journal(record)

    # -- the end

    def _finish(self, out: str) -> MergeReport:
        for source in self._sources:
            self._write_records(source, FOREVER_NS)
        for _, stream in sorted(self._streams.items()):
            stream.finish()
        self._instruments.finish()
        trades = self._trades
        trades.finish(self._sources[0])
        report = MergeReport(out, [])
        for source in self._sources:
            ahead = self._clocks.ahead_ns(source.rank)
            self._output.journal(
                MergedSource(
                    at_ns=self._output.now_ns,
                    source=source.rank,
                    name=source.name,
                    version=source.version,
                    first_ns=source.first_recv_ns,
                    last_ns=source.last_recv_ns,
                    read=source.read,
                    lines=source.lines,
                    left_out=source.left_out,
                    clock_ahead_ns=ahead,
                )
            )
            report.sources.append(
                SourceReport(source.rank, source.name, source.read, source.lines, source.left_out, ahead)
            )
            report.hidden += (f"{error.where}: {error.what}" for error in source.damage)
        report.lines = sum(source.lines for source in self._sources)
        for tally in self._books.tallies():
            report.verified += tally.ok
            report.mismatched += tally.mismatched
        found = [stream.findings for stream in self._streams.values()]
        report.repairs = sum(each.repairs for each in found)
        report.gaps = sum(each.gaps for each in found) + trades.gaps
        report.conflicts = sum(each.conflicts for each in found) + trades.conflicts
        report.not_spliced = sum(each.unspliced for each in found)
        report.trades = trades.lines
        return report


def _first_above(values: Sequence[int], begin: int, end: int, bound: int) -> int:
    """The first place with a value above a bound; `end` where there is none. The values need not be in order."""
    if max(values[begin:end]) <= bound:
        return end
    while end - begin > 1:
        middle = (begin + end) // 2
        if max(values[begin:middle]) > bound:
            end = middle
        else:
            begin = middle
    return begin


class _Records:
    """The journal of one source, up to where its lines are."""

    def __init__(self, source: Source) -> None:
        self._records = source.records
        self._next: Optional[Record] = next(self._records, None)

    def until(self, recv_ns: int) -> list[Record]:
        found = []
        while self._next is not None and self._next.at_ns <= recv_ns:
            found.append(self._next)
            self._next = next(self._records, None)
        return found


class _Clocks:
    """How far the sources' clocks are apart, by messages that both received: one of each run of lines is looked at."""

    _KEPT = 10_000

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._ahead: dict[int, list[int]] = defaultdict(list)

    def add(self, source: Source, begin: int, end: int) -> None:
        """Lines that were written from a source."""
        at = end - 1 - source.first
        if source.rank:
            return
        for rank, times in enumerate(source.elsewhere):
            kept = self._ahead[rank]
            if times[at] and len(kept) < self._KEPT:
                kept.append(times[at] - source.recv[at])

    def ahead_ns(self, rank: int) -> Optional[int]:
        """The median against source 0; None where they share no message."""
        if rank == 0:
            return 0
        found = sorted(self._ahead[rank])
        return found[len(found) // 2] if found else None
