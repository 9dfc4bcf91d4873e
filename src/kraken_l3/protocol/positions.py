"""The end of a symbol's line in the archive, and where each connection stands beside it. See `protocol.arbitration`."""

from __future__ import annotations

from collections import Counter, deque
from typing import Optional

from kraken_l3.model.frames import Frame
from kraken_l3.protocol.written_forms import Trial

__all__ = ["Position", "Ring", "Tail"]

#: Memory of a held frame besides its payload.
FRAME_OVERHEAD_BYTES = 400


class Ring:
    """The memory that held frames of all symbols may take together, in bytes."""

    def __init__(self, limit_bytes: int = 64 * 1024 * 1024) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class Tail:
    """The archived messages that are remembered, by their keys. They are numbered on and on.

    Args:
        messages: so many at most.

    Attributes:
        places: the number of each; of several that are the same, the last one's.
        first: the number of the first that is remembered.
        end: the number that the next one gets.
    """

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._keys: deque[int] = deque()
        # (time, the end at that time, when what was the last one then was received)
        self._marks: deque[tuple[int, int, int]] = deque()
        self._before_ns = 0  # the same of the last mark that is forgotten
        self.places: dict[int, int] = {}
        self.first = self.end = 0

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, key: int) -> None:
        """One more is archived."""
        self._keys.append(key)
        self.places[key] = self.end
        self.end += 1
        if len(self._keys) > self._messages:
            self._forget_first()

    def clear(self, last_ns: int) -> None:
        """Forget all of them; the last one, or the snapshot, was received at `last_ns`."""
        self._keys.clear()
        self.places.clear()
        self._marks.clear()
        self._before_ns = last_ns
        self.first = self.end

    def forget_before(self, then_ns: int, place: int) -> None:
        """Forget those that were archived before a time, but none from `place` on."""
        until = self.first
        while self._marks and self._marks[0][0] <= then_ns:
            _, until, self._before_ns = self._marks.popleft()
        while self.first < min(until, place):
            self._forget_first()

    def mark(self, now_ns: int, last_ns: int) -> None:
        """Remember that this end was reached by now; the last message was received at `last_ns`."""
        self._marks.append((now_ns, self.end, last_ns))

    def before(self, place: int) -> int:
        """When a message in front of the one with this number was received, but not one far in front."""
        return next((last_ns for _, end, last_ns in reversed(self._marks) if end <= place), self._before_ns)

    def _forget_first(self) -> None:
        key = self._keys.popleft()
        if self.places.get(key) == self.first:
            del self.places[key]
        self.first += 1


class Position:
    """Where a connection stands.

    Attributes:
        number: of the connection.
        place: the number of the archived message that it delivers next (None: it has no place).
        reason: why it has none.
        matched: how its place was found.
        ahead: what it delivered and is not archived, with its keys.
        keys: how often each of those keys is there.
        owed: up to this place the line was archived from others, while it leads.
        last: its last frame that is archived, by it or another.
        snapshot_ns: when its snapshot came (0: it has not).
        is_expected: its next snapshot leads.
        is_muted: it is not listened to until its next snapshot.
        differences, calm: how often it differed, and for how many messages it has not.
        strange: how many it has delivered since its place is behind the end and nothing of it is archived.
        trial: compares its messages in other forms.
        trial_at_ns: not before then.
    """

    __slots__ = (
        "ahead",
        "calm",
        "differences",
        "is_expected",
        "is_muted",
        "keys",
        "last",
        "matched",
        "number",
        "owed",
        "place",
        "reason",
        "ring",
        "snapshot_ns",
        "strange",
        "trial",
        "trial_at_ns",
    )

    def __init__(self, number: int, ring: Ring) -> None:
        self.number = number
        self.ring = ring
        self.ahead: deque[tuple[int, Frame]] = deque()
        self.keys: Counter[int] = Counter()
        self.is_expected = False
        self.restart(0)

    def restart(self, snapshot_ns: int) -> None:
        """Its run begins anew, with a snapshot."""
        self.drop()
        self.place: Optional[int] = None
        self.reason = "no message of this connection was found among those archived"
        self.matched = ""
        self.owed = 0
        self.last: Optional[Frame] = None
        self.snapshot_ns = snapshot_ns
        self.is_muted = False
        self.differences = self.calm = self.strange = 0
        self.trial: Optional[Trial] = None
        self.trial_at_ns = 0

    def hold(self, key: int, frame: Frame) -> None:
        """It is ahead by one more frame."""
        self.ahead.append((key, frame))
        self.keys[key] += 1
        self.ring.used_bytes += len(frame.payload) + FRAME_OVERHEAD_BYTES

    def pop(self) -> tuple[int, Frame]:
        """Take the first of those that it is ahead by."""
        key, frame = self.ahead.popleft()
        if self.keys[key] == 1:
            del self.keys[key]
        else:
            self.keys[key] -= 1
        self.ring.used_bytes -= len(frame.payload) + FRAME_OVERHEAD_BYTES
        return key, frame

    def drop(self) -> None:
        """Let go of all that it is ahead by."""
        while self.ahead:
            self.pop()
