"""Several connections deliver the same symbol: which frames are archived, so that none is lost and none is there twice.

    archive      ... a b c d e f                one line; what the leader delivers goes to its end
    follower     ......... c                    lags: its place is behind c, and d e f are still to come from it
    follower     ............... f [g h]        is ahead: it holds g and h, which the leader has not delivered yet

Every connection delivers a run of one server-side stream, so a connection has a place in the archive's line, which is
found by content alone (`protocol.alignment`); clocks play no part. Exchanges that number their messages arbitrate such
A and B lines by the numbers; Kraken's level3 has none (https://docs.kraken.com/api/docs/websocket-v2/level3).

What only one of two connections has, between two messages that both have, tells what was lost:

    only the archive has it                     the follower lost it
    only the follower, seen before the leader   the leader lost it: archived in its place, nothing is missing ("filled")
    only the follower, seen too late for that   the leader lost it, and its place is taken ("lost")
    both have something there                   they differ: nothing of the follower's is taken ("conflict")

A snapshot belongs to its connection: the connection has no place before the first message behind it that both have.
A message that was archived within the last `Limits.lag_ns` is taken for the one that it equals.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.positions import Position, Ring, Tail
from kraken_l3.protocol.written_forms import BYTES, Trial, key_of

__all__ = ["Difference", "HandOver", "Limits", "Line", "OutOfStep", "Ring"]

#: A message that seems lost may come late: the leader has so long to deliver it.
REORDER_NS = NS_PER_S
#: So many differences without `CALM_MATCHES` in between: the follower has other content, and is not listened to.
DIFFERENCES_MAX = 8
CALM_MATCHES = 100
#: A new leader that delivers so many messages (or for `REORDER_NS`) without one of those that it owes has lost them.
UNDECIDED_MAX = 16
#: A connection that has more in front of it than it can have lost, and delivers so many messages of which none is
#: archived, has other content.
LOST_MAX = 8
STRANGE_MAX = 64
MISFIT = "its messages are not those that are archived"
#: Of a difference so many frames are kept.
KEPT_FRAMES = 1_000
FINDINGS_MAX = 1_000
#: After so many frames without a match their content is compared; where that finds nothing, again after the pause.
TRIAL_AFTER = 4
TRIAL_PAUSE_NS = 60 * NS_PER_S

SILENCE = "silence"


class Limits(NamedTuple):
    """Bounds of what is remembered of a symbol.

    Attributes:
        lag_ns: how far connections may be apart, in either direction.
        stall_ns: a leader stalls when a follower has held a frame for so long.
        messages: how many archived messages are remembered at most.
    """

    lag_ns: int = 10 * NS_PER_S
    stall_ns: int = 3 * NS_PER_S
    messages: int = 100_000


class HandOver(NamedTuple):
    """A follower leads now, or why it cannot.

    Attributes:
        frames: to be archived now: the follower is ahead by these.
        matched: how its place was found: by "bytes", "content", "untimed" content, or "silence" of both.
        behind: messages that it has still to deliver and that are archived already.
        reason: why nothing can be spliced ("": it can).
    """

    frames: Sequence[Frame]
    matched: str
    behind: int
    reason: str = ""


class Difference(NamedTuple):
    """A follower delivered messages that the leader did not.

    Attributes:
        outcome: "filled", "lost" or "conflict"; see the module.
        leader, follower: numbers of the connections.
        leader_only: how many messages only the leader delivered at that place.
        frames: what only the follower delivered, at most `KEPT_FRAMES`.
        messages: how many those were.
        since_ns: when a message that is archived in front of them was received, but not one far in front.
        before: the follower's last frame before them that is archived (None: it is not known any more).
        after: the first behind them that is archived.
    """

    outcome: str
    leader: int
    follower: int
    leader_only: int
    frames: Sequence[Frame]
    messages: int
    since_ns: int
    before: Optional[Frame]
    after: Frame


class OutOfStep(NamedTuple):
    """A follower has lost its place until a message of its is found again."""

    follower: int
    reason: str


class Line:
    """One symbol's line; see the module. Frames go in, frames for the archive come out.

    Args:
        limits: see `Limits`.
        ring: shared by all symbols.

    Attributes:
        leader: the connection whose frames are archived (None: there is none).
        findings: what was found out, for the caller to take.
        follower_lost: messages that followers did not deliver.
    """

    def __init__(self, limits: Limits = Limits(), ring: Optional[Ring] = None) -> None:  # noqa: B008 - immutable
        self._limits = limits
        self._ring = ring if ring is not None else Ring()
        self.leader: Optional[int] = None
        self.findings: deque[Union[Difference, OutOfStep]] = deque(maxlen=FINDINGS_MAX)
        self.follower_lost = 0
        self._form = BYTES
        self._positions: dict[int, Position] = {}
        self._followers: list[Position] = []
        self._tail = Tail(limits.messages)
        self._places = self._tail.places
        self._last_ns = 0
        self._filled: dict[int, int] = {}  # what a follower delivered in the leader's place
        self._suspects: deque[tuple[int, Difference, list[int]]] = deque(maxlen=FINDINGS_MAX)

    # -- frames --------------------------------------------------------------------------------------------------------

    def put(self, frame: Frame) -> Sequence[Frame]:
        """A connection delivered an update. Returns what is to be archived now, in this order."""
        payload, _, mono_ns, connection, _ = frame
        position = self._positions.get(connection) or self._join(connection)
        key = hash(payload) if self._form is BYTES else key_of(payload, self._form)
        # The usual way comes first, and is written out: this runs twice for every message.
        if connection == self.leader:
            if position.owed or self._filled or self._suspects:
                return self._lead(position, frame, key)
            for follower in self._followers:
                if follower.ahead or follower.trial is not None:
                    return self._lead(position, frame, key)
            self._tail.append(key)
            self._last_ns = mono_ns
            position.place = self._tail.end
            return (frame,)
        place = self._places.get(key)
        if place is not None and place == position.place and not position.ahead:
            position.place = place + 1
            position.calm += 1
            position.last = frame
        elif not position.is_muted:
            self._follow(position, frame, key)
        return ()

    def snapshot(self, connection: int, mono_ns: int) -> bool:
        """A connection delivered a snapshot. Whether it is to be archived: the connection leads, from now on if none
        did, and the line begins anew."""
        position = self._positions.get(connection) or self._join(connection)
        position.restart(mono_ns)
        is_free = not self.is_behind and all(other.place is None for other in self._followers)
        if self._form is not BYTES and is_free:
            self._change_form(BYTES)
        if self.leader is not None and self.leader != connection and not position.is_expected:
            return False
        self._lead_with(position)
        self._last_ns = mono_ns
        self._tail.clear(mono_ns)
        self._filled.clear()
        for follower in self._followers:  # they have to find their places again
            follower.place = None
        position.place = self._tail.end
        return True

    def remove(self, connection: int) -> None:
        """The connection has ended."""
        position = self._positions.pop(connection, None)
        if position is not None:
            position.drop()
        if self.leader == connection:
            self.leader = None
        self._sort()

    def expect(self, connection: int) -> None:
        """The connection is being resubscribed: with its next snapshot it leads."""
        (self._positions.get(connection) or self._join(connection)).is_expected = True

    def tick(self, now_ns: int, alive_ns: int = 0) -> Sequence[Frame]:
        """Let time pass; call it about once a second. Returns what is to be archived now.

        Args:
            now_ns: monotonic.
            alive_ns: when the leader's connection delivered its last frame of any kind.
        """
        self._forget_old(now_ns)
        for follower in self._followers:
            self._settle(follower, alive_ns)
            if follower.place is not None and follower.place < self._tail.first:
                self._lose(follower, f"it lags by more than {self._limits.lag_ns / NS_PER_S:g} s")
            while follower.ahead and now_ns - follower.ahead[0][1].mono_ns > self._limits.lag_ns:
                if follower.place is not None:
                    seconds = self._limits.lag_ns / NS_PER_S
                    self._lose(follower, f"the leader has not delivered its messages for {seconds:g} s")
                    break
                follower.pop()
            trial = follower.trial
            if trial is not None and trial.left <= 0:
                follower.trial, follower.trial_at_ns = None, now_ns + TRIAL_PAUSE_NS
        while self._suspects and now_ns - self._suspects[0][0] >= REORDER_NS:
            self.findings.append(self._suspects.popleft()[1])
        leads = self._positions.get(self.leader) if self.leader is not None else None
        is_decided = leads is not None and leads.ahead and now_ns - leads.ahead[0][1].mono_ns >= REORDER_NS
        return self._decide(leads) if leads is not None and is_decided else ()

    def undecided(self) -> Sequence[Frame]:
        """What the leader has delivered and is not archived yet, to be archived now: nobody else will deliver it."""
        return self._take_ahead(self._positions[self.leader]) if self.leader is not None else ()

    @property
    def is_behind(self) -> bool:
        """Whether the leader has still to deliver what is archived."""
        leads = self._positions.get(self.leader) if self.leader is not None else None
        return leads is not None and leads.place is not None and leads.place < leads.owed

    # -- who leads -----------------------------------------------------------------------------------------------------

    def successor(self) -> Optional[int]:
        """The follower that has delivered most among those that are in step."""
        places = [(each.place + len(each.ahead), each.number) for each in self._followers if each.place is not None]
        return max(places)[1] if places else None

    def stalled(self, now_ns: int) -> bool:
        """Whether the leader has not delivered what a follower in step has held for `Limits.stall_ns`."""
        return self.leader is not None and any(
            each.place == self._tail.end and each.ahead and now_ns - each.ahead[0][1].mono_ns > self._limits.stall_ns
            for each in self._followers
        )

    def hand_over(self, to: int, alive_ns: int = 0) -> HandOver:
        """Let a follower lead, if it can go on where the archive ends.

        Args:
            to: the follower.
            alive_ns: when the leader's connection delivered its last frame of any kind.
        """
        position = self._positions.get(to) or self._join(to)
        self._settle(position, alive_ns)
        if position.place is None:
            return HandOver((), "", 0, position.reason)
        behind = self._tail.end - position.place
        if behind > LOST_MAX and len(position.ahead) > LOST_MAX:
            return HandOver((), "", 0, MISFIT)
        self._lead_with(position)
        position.owed = self._tail.end
        # Otherwise it is not known yet on which side of those it belongs: the next frames tell.
        frames: list[Frame] = [] if behind else self._take_ahead(position)
        return HandOver(frames, self._form if position.calm else position.matched, behind)

    def vacate(self) -> None:
        """Nobody leads: the next snapshot of any connection begins the line anew."""
        self.leader = None
        self._sort()

    # -- the leader ----------------------------------------------------------------------------------------------------

    def _lead(self, position: Position, frame: Frame, key: int) -> Sequence[Frame]:
        if position.owed:
            assert position.place is not None
            place = self._places.get(key, self._tail.end)
            if place < position.owed:
                if place >= position.place:
                    self._match(position, place, frame)
                return ()
            if position.place < position.owed:
                position.hold(key, frame)
                return self._decide(position) if len(position.ahead) > UNDECIDED_MAX else ()
        if self._filled and self._filled.pop(key, None) is not None:
            return ()
        archived = self._archive(frame, key)
        position.place = self._tail.end
        return archived

    def _archive(self, frame: Frame, key: int) -> Sequence[Frame]:
        """Put a frame at the end of the line, behind what followers have in front of it and the leader lost."""
        filled: Optional[list[Frame]] = None
        met: list[Position] = []
        for follower in self._followers:
            if follower.ahead and key in follower.keys:
                filled = [*(filled or ()), *self._meet(follower, key)]
                met.append(follower)
            elif follower.trial is not None and self._try(follower, 0, frame.payload):
                return self._archive(frame, key_of(frame.payload, self._form))
        if self._suspects:
            self._acquit(key)
        self._tail.append(key)
        self._last_ns = frame.mono_ns
        if filled is None:
            return (frame,)
        for follower in met:
            follower.place = self._tail.end
        return [*filled, frame]

    def _meet(self, follower: Position, key: int) -> list[Frame]:
        """The leader delivers what a follower has held: what the follower has in front of it was lost, or differs."""
        alone: list[tuple[int, Frame]] = []
        while (held := follower.pop())[0] != key:
            alone.append(held)
        before, follower.last = follower.last, held[1]
        if follower.place is None:
            self._in_step(follower)
            return []
        missed = self._tail.end - follower.place
        follower.calm, follower.strange = follower.calm + 1, 0
        self.follower_lost += missed
        if not alone:
            return []
        if missed:
            self._suspect(follower, missed, alone, before, held[1])
            return []
        follower.place = self._tail.end
        archived: list[Frame] = []
        for other_key, other in alone:
            archived += self._archive(other, other_key)
            self._filled[other_key] = self._tail.end
        self.findings.append(self._difference("filled", follower, 0, alone, before, held[1]))
        return archived

    def _decide(self, position: Position) -> Sequence[Frame]:
        """A new leader does not deliver what it owes: it has lost that, or it never was in step."""
        assert position.place is not None
        if position.owed - position.place <= LOST_MAX:
            return self._take_ahead(position)
        self.vacate()
        self._lose(position, MISFIT)
        return ()

    def _take_ahead(self, position: Position) -> list[Frame]:
        """All that a connection is ahead by, to be archived."""
        archived: list[Frame] = []
        while position.ahead:
            key, frame = position.pop()
            archived += self._archive(frame, key)
        position.place = self._tail.end
        return archived

    def _lead_with(self, position: Position) -> None:
        for each in self._positions.values():
            each.is_expected = False
        self.leader = position.number
        position.trial = None
        self._sort()

    # -- followers -----------------------------------------------------------------------------------------------------

    def _follow(self, position: Position, frame: Frame, key: int) -> None:
        place = self._places.get(key)
        if place is not None:
            if position.place is None:
                position.drop()
                self._in_step(position)
                position.place, position.last = place + 1, frame
            elif place >= position.place:
                self._match(position, place, frame)
            return  # else it comes late, and the follower has been taken to have lost it
        if key in position.keys:  # it is held already, and the connection repeats it
            return
        position.hold(key, frame)
        if position.place is not None and position.place < self._tail.end:
            position.strange += 1
        if self._ring.used_bytes > self._ring.limit_bytes:
            position.drop()
            self._lose(position, f"more than {self._ring.limit_bytes >> 20} MiB of all connections wait")
        elif position.strange > STRANGE_MAX:
            self._lose(position, MISFIT)
        elif position.place is None and len(position.ahead) > TRIAL_AFTER:
            self._look_at_content(position, frame)

    def _match(self, position: Position, place: int, frame: Frame) -> None:
        """A connection delivers what is archived: what it has in front of it came too late."""
        assert position.place is not None
        missed = place - position.place
        alone = [position.pop() for _ in range(len(position.ahead))]
        before, position.last = position.last, frame
        position.calm, position.strange = position.calm + 1, 0
        self.follower_lost += missed
        if alone:
            self._suspect(position, missed, alone, before, frame)
        if not position.is_muted:
            position.place = place + 1

    def _in_step(self, position: Position) -> None:
        position.matched, position.reason = self._form, ""
        position.trial = None

    def _settle(self, position: Position, alive_ns: int) -> None:
        """Where both were silent for long enough, the place is the end: both have all that there is."""
        silent_ns = alive_ns - position.snapshot_ns
        if (
            position.place is None
            and not position.ahead
            and not position.is_muted
            and 0 < self._last_ns < position.snapshot_ns
            and silent_ns >= self._limits.lag_ns
        ):
            self._in_step(position)
            position.place, position.matched = self._tail.end, SILENCE

    def _lose(self, position: Position, reason: str) -> None:
        if position.place is not None:
            self.findings.append(OutOfStep(position.number, reason))
        position.place, position.reason, position.strange = None, reason, 0

    # -- what was lost -------------------------------------------------------------------------------------------------

    def _suspect(
        self,
        follower: Position,
        missed: int,
        alone: Sequence[tuple[int, Frame]],
        before: Optional[Frame],
        after: Frame,
    ) -> None:
        """The leader seems to have lost messages; it has `REORDER_NS` to deliver them after all."""
        found = self._difference("conflict" if missed else "lost", follower, missed, alone, before, after)
        self._suspects.append((after.mono_ns, found, [key for key, _ in alone]))
        follower.differences = follower.differences + 1 if follower.calm <= CALM_MATCHES else 1
        follower.calm = 0
        if follower.differences >= DIFFERENCES_MAX and follower.number != self.leader:
            follower.drop()
            self._lose(follower, "its messages keep differing from the leader's")
            follower.is_muted = True

    def _acquit(self, key: int) -> None:
        """A message is archived after all: it only came in another order."""
        for at, (since_ns, found, keys) in enumerate(self._suspects):
            if key in keys:
                where = keys.index(key)
                del keys[where]
                frames = [*found.frames[:where], *found.frames[where + 1 :]]
                self._suspects[at] = (since_ns, found._replace(frames=frames, messages=found.messages - 1), keys)
                if not keys:
                    del self._suspects[at]
                return

    def _difference(
        self,
        outcome: str,
        follower: Position,
        missed: int,
        alone: Sequence[tuple[int, Frame]],
        before: Optional[Frame],
        after: Frame,
    ) -> Difference:
        kept = [frame for _, frame in alone[:KEPT_FRAMES]]
        since_ns = self._tail.before((follower.place or 0) - 1)
        return Difference(outcome, self.leader or 0, follower.number, missed, kept, len(alone), since_ns, before, after)

    # -- content -------------------------------------------------------------------------------------------------------

    def _look_at_content(self, position: Position, frame: Frame) -> None:
        if self.is_behind:  # another form forgets what the leader owes, which would be archived again
            return
        if position.trial is None and frame.mono_ns >= position.trial_at_ns:
            position.trial = Trial()
        if position.trial is not None:
            self._try(position, 1, frame.payload)

    def _try(self, position: Position, side: int, payload: bytes) -> bool:
        """Whether the symbol's messages are compared in another form from now on."""
        assert position.trial is not None
        form = position.trial.find(side, payload)
        if form is None:
            return False
        self._change_form(form)
        return True

    def _change_form(self, form: str) -> None:
        self._form = form
        self._tail.clear(self._last_ns)
        self._filled.clear()
        for position in self._positions.values():
            position.trial = None
            if position.number == self.leader:
                position.place, position.owed = self._tail.end, 0
            else:
                position.place = None
            position.ahead = deque((key_of(frame.payload, self._form), frame) for _, frame in position.ahead)
            position.keys = Counter(key for key, _ in position.ahead)

    # -- what is remembered --------------------------------------------------------------------------------------------

    def _join(self, connection: int) -> Position:
        position = self._positions[connection] = Position(connection, self._ring)
        self._sort()
        return position

    def _sort(self) -> None:
        self._followers = [each for each in self._positions.values() if each.number != self.leader]

    def _forget_old(self, now_ns: int) -> None:
        leads = self._positions.get(self.leader) if self.leader is not None else None
        # what the leader has still to deliver must be recognised
        kept = leads.place if leads is not None and leads.place is not None else self._tail.end
        self._tail.forget_before(now_ns - self._limits.lag_ns, kept)
        self._tail.mark(now_ns, self._last_ns)
        if leads is not None and leads.owed <= self._tail.first:
            leads.owed = 0
        for key in [key for key, place in self._filled.items() if place <= self._tail.first]:
            del self._filled[key]
