"""What one source does for a symbol's stream at the moment, and lines compared and marked many at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from kraken_l3.protocol.alignment import Identity, identity_of

__all__ = ["Run", "equal_first", "untimed"]


class Run:
    """What one source does for the stream now.

    Attributes:
        is_alive: its run goes on since its last snapshot.
        is_muted: nothing of it is taken until its next snapshot.
        has_begun: anything of it was taken.
        missed: updates that were taken from others since its last one.
        left_ns: receive time of its last one.
        mended_ns: receive time of the last one in front of which something was taken that a follower had kept.
        late: updates that were taken without waiting for it any longer.
        is_untimed: its timestamps are its own: other sources tell the places of its updates.
        untimed_from: the snapshot from which on that is so.
        placed_until: the last line whose place is told.
        held: lines whose places are not told yet.
    """

    def __init__(self) -> None:
        self.is_alive = self.is_muted = self.has_begun = False
        self.missed = 0
        self.taken_from = 0
        self.left_ns = self.mended_ns = 0
        self.late: dict[Hashable, None] = {}
        self.is_untimed = False
        self.untimed_from = self.placed_until = -1
        self.held: list[int] = []


def untimed(line: bytes) -> Hashable:
    """The identity of a line without its timestamp."""
    identity = identity_of(line)
    return identity.untimed() if isinstance(identity, Identity) else identity


def equal_first(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many of their first items are equal."""
    if one == other:
        return len(one)
    return next((at for at, (mine, its) in enumerate(zip(one, other)) if mine != its), min(len(one), len(other)))
