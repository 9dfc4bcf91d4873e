"""Updates of one timestamp from several sources, put into one order. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from kraken_l3.protocol.alignment import anchors

__all__ = ["merge_tied"]

#: What tells that two lines are the same message, and the line's number.
Keyed = tuple[Hashable, int]


def merge_tied(keyed: Mapping[int, Sequence[Keyed]], leader: int) -> tuple[list[dict[int, int]], list[tuple[int, int]]]:
    """The lines in one order, and those that stand at the place of others.

    What sources share is matched in its order. Between two matches, what only one side has was lost by the other; where
    both have something, that of the leader is kept, and the other one's is a conflict.

    Args:
        keyed: for each source its lines, by rank.
        leader: the source whose lines are kept.

    Returns:
        For each line of the result the sources that have it, with their lines; and the conflicts, as source and line.
    """
    merged = [(key, {leader: line}) for key, line in keyed[leader]]
    conflicts: list[tuple[int, int]] = []
    for rank, lines in keyed.items():
        if rank != leader:
            merged = _merged(merged, rank, lines, conflicts)
    return [holders for _, holders in merged], conflicts


def _merged(
    merged: Sequence[tuple[Hashable, dict[int, int]]],
    rank: int,
    lines: Sequence[Keyed],
    conflicts: list[tuple[int, int]],
) -> list[tuple[Hashable, dict[int, int]]]:
    """What is merged so far, and another source's lines."""
    result: list[tuple[Hashable, dict[int, int]]] = []
    own, other = 0, 0
    matches = anchors([key for key, _ in merged], [key for key, _ in lines])
    for at, beside in [*matches, (len(merged), len(lines))]:
        result += merged[own:at]
        if own < at:
            conflicts += ((rank, line) for _, line in lines[other:beside])
        else:
            result += ((key, {rank: line}) for key, line in lines[other:beside])
        if at < len(merged):
            key, holders = merged[at]
            result.append((key, {**holders, rank: lines[beside][1]}))
        own, other = at + 1, beside + 1
    return result
