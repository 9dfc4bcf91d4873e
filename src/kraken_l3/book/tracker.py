"""Whether a symbol's book is in step with Kraken's, as a table.

| state | snapshot | message agrees | message differs | book lost |
| --- | --- | --- | --- | --- |
| AWAITING_SNAPSHOT | SYNCED | - | - | AWAITING_SNAPSHOT |
| SYNCED | SYNCED | SYNCED | DIVERGED, incident opens | AWAITING_SNAPSHOT |
| DIVERGED | SYNCED, incident closes | SYNCED, incident closes | DIVERGED | AWAITING_SNAPSHOT, incident closes |

A snapshot is first taken as the new truth, then compared like any message. A message that agrees ends an incident too:
one flipped checksum is one mismatch. An error that only hid below the tenth level shows as the next incident.
"""

from __future__ import annotations

from kraken_l3.model.events import State

__all__ = ["Tracker"]


class Tracker:
    """State and incidents of one symbol. The methods tell whether an incident was opened or closed."""

    __slots__ = ("incidents", "state")

    def __init__(self) -> None:
        self.state = State.AWAITING_SNAPSHOT
        self.incidents = 0

    def snapshot(self) -> bool:
        """A snapshot came; True when it closed an incident."""
        return self._enter(State.SYNCED)

    def lose(self) -> bool:
        """The book is gone; True when that closed an incident."""
        return self._enter(State.AWAITING_SNAPSHOT)

    def differ(self) -> bool:
        """A checksum differed; True when that opened an incident."""
        if self.state is not State.SYNCED:
            return False
        self.state = State.DIVERGED
        self.incidents += 1
        return True

    def agree(self) -> bool:
        """A checksum agreed; True when that closed an incident."""
        return self.state is State.DIVERGED and self._enter(State.SYNCED)

    def _enter(self, state: State) -> bool:
        closed = self.state is State.DIVERGED
        self.state = state
        return closed
