"""In which form the messages of two connections are compared: as bytes, by content, or by content without timestamps.

A key stands for a message in one form. Keys are 64-bit hashes, which take a tenth of a message's memory: that one
of 100,000 remembered keys equals another message's has a chance of 5 in 10^15.
"""

from __future__ import annotations

from typing import Optional

from kraken_l3.protocol.alignment import Identity, identity_of

__all__ = ["BYTES", "CONTENT", "UNTIMED", "Trial", "key_of"]

BYTES, CONTENT, UNTIMED = "bytes", "content", "untimed"

#: Messages of each side that are remembered, and how many are compared with them before it is given up.
SAMPLE = 64
COMPARED = 20_000


def key_of(payload: bytes, form: str) -> int:
    """The key of an update."""
    if form is BYTES:
        return hash(payload)
    identity = identity_of(payload)
    if not isinstance(identity, Identity):
        return hash(identity)
    # by text: Python's hashes of -1 and -2 are the same
    return hash(repr(identity.untimed() if form is UNTIMED else identity))


class Trial:
    """Looks for messages of two connections that are the same but for the way in which they are written.

    Attributes:
        left: how many more messages it looks at.
    """

    def __init__(self) -> None:
        self._seen: tuple[dict[Identity, None], dict[Identity, None]] = ({}, {})
        self.left = COMPARED

    def find(self, side: int, payload: bytes) -> Optional[str]:
        """One more message of a side (0 or 1); in which form it equals one of the other side, if it does."""
        if self.left <= 0:
            return None
        self.left -= 1
        identity = identity_of(payload)
        if not isinstance(identity, Identity):
            return None
        untimed = identity.untimed()
        own, other = self._seen[side], self._seen[1 - side]
        if len(own) < 2 * SAMPLE:
            own[identity] = own[untimed] = None
        return CONTENT if identity in other else UNTIMED if untimed in other else None
