"""One symbol's stream, put together from the runs that the sources have of it. See docs/gapless.md for the rules.

A run begins with a snapshot, which belongs to the connection and not to the stream. Its place is before the update
behind it. Updates stand in the order of Kraken's timestamps, those of one timestamp as the sources have them. Updates
that all sources have are taken in one step, which is nearly all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from typing import Optional

from kraken_l3.merge.columns import DONE, LED
from kraken_l3.merge.findings import Findings, Output
from kraken_l3.merge.gap_edges import GapEdges
from kraken_l3.merge.overlap import Overlap
from kraken_l3.merge.places import Places
from kraken_l3.merge.proof import Book, Proof
from kraken_l3.merge.run import Run, equal_first, untimed
from kraken_l3.merge.source import Source
from kraken_l3.merge.tied import merge_tied
from kraken_l3.protocol.alignment import Identity, identity_of, time_of

__all__ = ["FOREVER_NS", "SymbolStream"]

FOREVER_NS = 1 << 63
#: Updates in another form than the other source's that are compared at a time.
_FORMS_AT_ONCE = 64
#: Updates that a source had not delivered in time, remembered so that they are not taken twice when it does.
_LATE_AT_MOST = 100_000
#: Causes of gaps that a loss of the leader has: the follower noticed it first, or the verifier.
_LOSSES = frozenset({"lost", "mismatch"})


class SymbolStream:
    """See the module.

    Args:
        symbol: whose stream.
        sources: by rank.
        book: of the merged stream.
        output: is told of gaps, repairs and conflicts.

    Attributes:
        findings: what was told.
        book: see above.
        is_untimed: a source has timestamps of its own.
    """

    def __init__(self, symbol: str, sources: Sequence[Source], book: Book, output: Output) -> None:
        self._symbol = symbol
        self._sources = sources
        self.book = book
        self.findings = Findings(symbol, output)
        self._runs = [Run() for _ in sources]
        self._gaps = GapEdges(symbol, sources, self._runs, self.findings)
        self._overlap = Overlap(symbol, sources, self._runs, self._key, self._align_by_content)
        self._places = Places(symbol, sources, self._runs, self._key)
        self._holders: tuple[int, ...] = ()
        self._last: Optional[tuple[Source, int]] = None
        self._last_recv_ns = 0
        self._passed_ns = 0
        self.is_untimed = self._retries = False

    def decide(self, limits: Sequence[int], *, forced: bool = False) -> None:
        """Take what is certain.

        Args:
            limits: for each source the time before which it has delivered everything.
            forced: too much waits: nothing more is waited for.
        """
        goes_on = True
        while goes_on:
            if self.is_untimed:
                self._places.place(self._passed_ns)
            goes_on = self._retries = False
            while self._decide_next(limits, forced):
                goes_on = True
            goes_on = goes_on or self._retries

    # -- sources with other timestamps

    def _key(self, line: bytes) -> Hashable:
        """The identity of a line, without its timestamp where a source has timestamps of its own."""
        identity = identity_of(line)
        return identity.untimed() if self.is_untimed and isinstance(identity, Identity) else identity

    # -- where the sources stand

    def _decide_next(self, limits: Sequence[int], forced: bool) -> bool:
        heads: dict[int, int] = {}
        bound = FOREVER_NS
        for source, run, limit in zip(self._sources, self._runs, limits):
            lines = source.pending.get(self._symbol)
            if lines and (run.is_muted or run.late):
                self._drop_known(source, run, lines)
            if lines:
                heads[source.rank] = self._place(source, lines)
            elif run.held and not forced:
                return False  # its next update may belong before all others
            elif not forced:
                bound = min(bound, limit)
        if not heads:
            return False
        place = min(heads.values())
        if bound <= place:
            return False
        if place < self._passed_ns and self._drop_passed(heads):
            return True
        group = [rank for rank, at in heads.items() if at == place]
        bound = min([bound, *(at for at in heads.values() if at > place)])
        if any(map(self._is_at_snapshot, group)):
            return self._take_snapshots(group, heads, limits, forced)
        if len(group) == 1:
            self._take({group[0]: self._before(group[0], bound)}, limits)
            return True
        return self._take_common(group, place, bound, limits, forced)

    def _lines(self, rank: int) -> list[int]:
        return self._sources[rank].pending[self._symbol]

    def _is_at_snapshot(self, rank: int) -> bool:
        return self._lines(rank)[0] in self._sources[rank].snapshots

    def _place(self, source: Source, lines: Sequence[int]) -> int:
        """Of the first line that waits; a snapshot's is that of the update behind it."""
        if source.snapshots:
            for line in lines:
                if line not in source.snapshots:
                    return source.ns[line - source.first]
        return source.ns[lines[0] - source.first]

    def _before(self, rank: int, bound: int) -> list[int]:
        """The updates that wait, up to a snapshot or a place; at least one."""
        source, lines = self._sources[rank], self._lines(rank)
        end = len(lines)
        if source.snapshots:
            end = next((at for at, line in enumerate(lines) if line in source.snapshots), end)
        first = source.first
        if bound < FOREVER_NS and source.ns[lines[end - 1] - first] >= bound:
            end = max(1, bisect_left([source.ns[line - first] for line in lines[:end]], bound))
        return lines[:end]

    def _drop_known(self, source: Source, run: Run, lines: list[int]) -> None:
        """Leave out what a muted source has, and what was taken before without waiting for it."""
        count = 0
        for line in lines:
            if line in source.snapshots:
                run.late.clear()
                break
            if not run.is_muted:
                key = self._key(source.line(line))
                if key not in run.late:
                    break
                del run.late[key]
            source.state[line - source.first] = DONE
            count += 1
        del lines[:count]

    def _drop_passed(self, heads: Mapping[int, int]) -> bool:
        """Leave out what belongs before lines that were not to wait for it. A source's own order may step back."""
        passed = [rank for rank, at in heads.items() if at < self._passed_ns and rank not in self._holders]
        for rank in passed:
            source = self._sources[rank]
            if self._is_at_snapshot(rank):
                self._drop_snapshot(rank)
                self._runs[rank].is_alive = False
                continue
            line = self._lines(rank).pop(0)
            source.state[line - source.first] = DONE
            source.bad.discard(line)
            source.left_out += 1
        return bool(passed)

    # -- updates

    def _take_common(self, group: Sequence[int], place: int, bound: int, limits: Sequence[int], forced: bool) -> bool:
        lines = {rank: self._before(rank, bound) for rank in group}
        most = min(map(len, lines.values()))
        texts = [self._sources[rank].lines_of(each[:most]) for rank, each in lines.items()]
        shared = min(equal_first(texts[0], text) for text in texts[1:])
        if not shared:
            some = [[self._key(line) for line in text[:_FORMS_AT_ONCE]] for text in texts]
            shared = min(equal_first(some[0], each) for each in some[1:])
        if shared:
            self._take({rank: each[:shared] for rank, each in lines.items()}, limits, texts[0][:shared])
            return True
        return self._take_tied(lines, place, limits, forced)

    def _take_tied(self, lines: Mapping[int, Sequence[int]], place: int, limits: Sequence[int], forced: bool) -> bool:
        """Updates of one timestamp that not all sources have, or that differ."""
        tied: dict[int, Sequence[int]] = {}
        for rank, each in lines.items():
            source = self._sources[rank]
            end = next((at for at, line in enumerate(each) if source.ns[line - source.first] != place), len(each))
            if end == len(each) == len(self._lines(rank)) and limits[rank] <= place and not forced:
                return False  # more of them may come
            tied[rank] = each[:end]
        leader = min(tied, key=lambda rank: (not self._sources[rank].bad.isdisjoint(tied[rank]), rank))
        keyed = {
            rank: list(zip(map(self._key, self._sources[rank].lines_of(each)), each)) for rank, each in tied.items()
        }
        merged, conflicts = merge_tied(keyed, leader)
        for rank, line in conflicts:
            source = self._sources[rank]
            self.findings.conflict(source.line(line), source=leader, other=rank, msg_ns=place)
            source.state[line - source.first] = DONE
            self._lines(rank).remove(line)
        for holders in merged:
            self._take({rank: [line] for rank, line in holders.items()}, limits)
        return True

    def _take(self, held: Mapping[int, Sequence[int]], limits: Sequence[int], texts: Sequence[bytes] = ()) -> None:
        """The next updates of the stream: for each source that has them, its lines; those of the first as text."""
        leader = self._sources[min(held)]
        lines = held[leader.rank]
        texts = texts or leader.lines_of(lines)
        if len(held) < len(self._sources):
            self._note_missing(held, leader, texts, limits)
        for rank in held:
            if self._runs[rank].missed:
                self._repaired_within(rank, held[rank][0])
        leader.mark(lines, LED)
        for rank, each in held.items():
            source = self._sources[rank]
            if rank != leader.rank:
                self._follow(leader, lines, source, each)
            if source.bad:
                source.bad.difference_update(each)
            del source.pending[self._symbol][: len(each)]
        self.book.feed(texts)
        self.go_on(lines[0], {rank: each[-1] for rank, each in held.items()})

    def go_on(self, first: int, held: Mapping[int, int]) -> None:
        """Note that updates are taken.

        Args:
            first: the first of them, in the first source that has them.
            held: for each source that has them, the last.
        """
        leader = self._sources[min(held)]
        self._lead(leader, first, held[leader.rank])
        for rank, line in held.items():
            source, run = self._sources[rank], self._runs[rank]
            run.has_begun = True
            run.left_ns = source.recv[line - source.first]
        self._holders = tuple(held)
        self._passed_ns = leader.ns[held[leader.rank] - leader.first]

    def is_ready(self) -> bool:
        """Whether what all sources have next can be taken without another look."""
        are_whole = not any(run.is_muted or run.missed or run.late for run in self._runs)
        return are_whole and len(self._holders) == len(self._sources)

    def leaves_out(self) -> bool:
        """Whether lines of a source may be left out, whatever the others have."""
        return any(run.is_muted or run.late for run in self._runs)

    def _lead(self, leader: Source, first: int, last: int) -> None:
        if self._last is not None and self._last[0] is not leader:
            leader.before[first] = self._last
        self._last = (leader, last)
        self._last_recv_ns = leader.recv[last - leader.first]

    def _follow(self, leader: Source, lines: Sequence[int], source: Source, same: Sequence[int]) -> None:
        source.mark(same, DONE)
        leader.note_elsewhere(lines, source, same)

    # -- what some have lost

    def _note_missing(
        self, held: Mapping[int, Sequence[int]], leader: Source, texts: Sequence[bytes], limits: Sequence[int]
    ) -> None:
        for source, run in zip(self._sources, self._runs):
            if source.rank in held or not run.has_begun or source.is_follower:
                continue
            run.missed += len(texts)
            run.taken_from = leader.rank
            waited_for = not source.pending.get(self._symbol) and not source.is_over
            if waited_for and not run.is_muted:
                for text in texts[-_LATE_AT_MOST:]:
                    run.late[self._key(text)] = None
                for key in list(run.late)[:-_LATE_AT_MOST]:
                    del run.late[key]

    def _repaired_within(self, rank: int, line: int) -> None:
        """A source goes on behind updates that it had lost without knowing."""
        source, run = self._sources[rank], self._runs[rank]
        if run.is_alive:
            proof = "unseen"
            if line in source.bad:
                proof = "checksums" if self.book.is_in_step() else "none"
            self._repaired(rank, "lost", run.left_ns, source.recv[line - source.first], proof)
            if self._sources[run.taken_from].is_follower:
                run.mended_ns = source.recv[line - source.first]
        run.missed = 0

    def _repaired(self, rank: int, cause: str, left_ns: int, right_ns: int, proof: str) -> None:
        run = self._runs[rank]
        taken = {"source": rank, "taken_from": run.taken_from, "lines": run.missed}
        self.findings.repaired(cause, left_ns, right_ns, proof=proof, **taken)
        run.missed = 0

    # -- snapshots

    def _take_snapshots(
        self, group: Sequence[int], heads: Mapping[int, int], limits: Sequence[int], forced: bool
    ) -> bool:
        """The runs that begin here: each goes on from the stream, or the stream from one of them."""
        new = [rank for rank in group if self._is_at_snapshot(rank)]
        for rank in new:
            if not forced and not self._sources[rank].is_over and self._is_without_update(rank):
                return False  # its place is not known yet
        carriers = [
            rank
            for rank in heads
            if rank not in new
            and self._runs[rank].is_alive
            and self._lines(rank)[0] not in self._sources[rank].snapshots
        ]
        leader = new[0]
        beside = carriers or new[:1]
        for rank in new:
            if rank not in beside:
                shared = self._overlap.shared(rank, beside, limits, forced)
                if shared is None:
                    return False
                if not shared:
                    self._part(rank, beside)
                    return True
        if carriers:
            for rank in new:
                if self._goes_on(rank, carriers):
                    self._leave_out_snapshot(rank)
                else:
                    self._begin_from(rank, [], "mismatch")
                    break
        elif len(new) == 1 and self._is_mended(leader):
            self._go_on(leader)
        else:
            self._begin_from(leader, new[1:])
        return True

    def _is_without_update(self, rank: int) -> bool:
        source = self._sources[rank]
        return all(line in source.snapshots for line in self._lines(rank))

    def _align_by_content(self, rank: int, beside: int, compared: int) -> None:
        """A run has another's messages with timestamps of its own."""
        run = self._runs[rank]
        run.is_untimed = self.is_untimed = self._retries = True
        run.untimed_from = run.placed_until = self._lines(rank)[0]
        self._drop_taken(rank, compared)
        self.findings.aligned_by_content(source=rank, beside=beside)

    def _drop_taken(self, rank: int, count: int) -> None:
        """Leave out the first updates of a run that were taken from others before its timestamps were understood."""
        source, lines = self._sources[rank], self._lines(rank)
        taken = set(map(untimed, self.book.recent))
        while count and len(lines) > 1 and untimed(source.line(lines[1])) in taken:
            source.state[lines[1] - source.first] = DONE
            source.bad.discard(lines[1])
            del lines[1]
            count -= 1

    def _part(self, rank: int, beside: Sequence[int]) -> None:
        """Two runs cannot be put together: the source that has more of the symbol goes on, the other waits."""
        source = self._sources[rank]
        same_depth = all(
            self._sources[other].depth_of(self._symbol) == source.depth_of(self._symbol) for other in beside
        )
        reason = "no message in common" if same_depth else "another depth"
        covered = source.covered_ns(self._symbol)
        is_better = all(self._sources[other].covered_ns(self._symbol) < covered for other in beside)
        losers = [other for other in beside if self._runs[other].is_alive] if is_better else [rank]
        if is_better and any(not self._runs[other].is_alive for other in beside):
            losers = list(beside)
        for loser in losers:
            self._mute(loser, beside[0] if loser == rank else rank, reason)
        if is_better and all(self._runs[other].is_muted for other in beside):
            self._begin_from(rank, [], "not_spliced" if self._last is not None else "")

    def _mute(self, rank: int, beside: int, reason: str) -> None:
        source, run = self._sources[rank], self._runs[rank]
        run.is_muted, run.is_alive, run.missed = True, False, 0
        lines = self._lines(rank)
        if lines and lines[0] in source.snapshots:
            self._drop_snapshot(rank)
        self.findings.not_spliced(source=rank, beside=beside, reason=reason)

    def _goes_on(self, rank: int, carriers: Sequence[int]) -> bool:
        """Whether the stream before a snapshot leads to it, order by order."""
        source = self._sources[rank]
        line = self._lines(rank)[0]
        proof = self.book.compare(source.line(line))
        if proof is Proof.DIFFERENT or (proof is Proof.UNTOLD and not set(carriers) & set(self._holders)):
            return False
        run = self._runs[rank]
        if run.has_begun and not run.is_muted:
            recv_ns = source.recv[line - source.first]
            gap = source.gap_before(self._symbol, recv_ns)
            cause, left_ns = (gap.cause, gap.left_ns) if gap is not None else ("unknown", run.left_ns)
            self._repaired(rank, cause, left_ns, recv_ns, "book" if proof is Proof.SAME else "none")
        return True

    def _leave_out_snapshot(self, rank: int) -> None:
        self._drop_snapshot(rank)
        self._runs[rank].is_alive, self._runs[rank].is_muted = True, False

    def _drop_snapshot(self, rank: int) -> None:
        source = self._sources[rank]
        line = self._lines(rank).pop(0)
        source.state[line - source.first] = DONE
        source.snapshots.discard(line)
        source.bad.discard(line)

    def _begin_from(self, leader: int, others: Sequence[int], cause: str = "") -> None:
        """The stream goes on from a snapshot that is written; others at the same place are the same, or a conflict."""
        source = self._sources[leader]
        line = self._lines(leader)[0]
        recv_ns = source.recv[line - source.first]
        self._gaps.before(source, recv_ns, cause, self._holders, self._last_recv_ns if self._last is not None else None)
        self.book.begin(source.line(line))
        source.mark([line], LED)
        self._lead(source, line, line)
        held = [leader]
        for rank in others:
            other, its = self._sources[rank], self._lines(rank)[0]
            text = other.line(its)
            if text == source.line(line) or self.book.compare(text) is Proof.SAME:
                self._follow(source, [line], other, [its])
                held.append(rank)
            else:
                self.findings.conflict(text, source=leader, other=rank, msg_ns=other.ns[its - other.first])
            self._drop_snapshot(rank)
        self._lines(leader).pop(0)
        source.snapshots.discard(line)
        source.bad.discard(line)
        for rank in [leader, *others]:
            run, each = self._runs[rank], self._sources[rank]
            run.is_alive, run.is_muted, run.has_begun, run.missed = True, False, True, 0
            run.left_ns = recv_ns if rank == leader else max(run.left_ns, each.first_recv_ns)
        self._holders = tuple(held)

    # -- gaps

    def _is_mended(self, rank: int) -> bool:
        """Whether a follower kept what the leader had lost, and the stream with it leads to the snapshot after it."""
        source, snapshot = self._sources[rank], self._lines(rank)[0]
        recv_ns, mended_ns = source.recv[snapshot - source.first], self._runs[rank].mended_ns
        gaps = [gap for gap in source.gaps[self._symbol] if gap.right_ns == recv_ns and gap.left_ns <= mended_ns]
        if not any(gap.cause in _LOSSES for gap in gaps):
            return False
        return self.book.compare(source.line(snapshot)) is Proof.SAME

    def _go_on(self, rank: int) -> None:
        """Leave out the snapshot of a mended run, and the updates behind it that were there before it: the follower,
        which leads now, may have been behind the leader.
        """
        source, snapshot = self._sources[rank], self._lines(rank)[0]
        at_ns = time_of(source.line(snapshot))
        self._leave_out_snapshot(rank)
        later = [line for line in self.book.recent if time_of(line) > at_ns]
        self._runs[rank].late = dict.fromkeys(map(self._key, later))

    def finish(self) -> None:
        """All sources are at their ends: what is open then is open in the merged archive too."""
        self._gaps.open_at_end(self._holders)
