"""Where a connection stands in an archive that another recorder wrote, found by content alone.

    archive    ... a b c d e f
    held             S d e f g h        the connection's snapshot and what came behind it: g and h are to be archived
    lags             S d e              f is still to come from it, and is archived already

`alignment` says when two messages are the same one. A symbol that was silent all the while has no message that both
have: then the last message in the archive and the connection's snapshot must have the same checksum, so that the books
are the same, and what the connection delivered behind it is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Callable, Optional

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.messages import Level3Message
from kraken_l3.protocol.alignment import Identity, anchors, identity_of, time_of
from kraken_l3.protocol.decoding import decode_level3

__all__ = ["Splice"]

_Key = Callable[[bytes], Hashable]


def _itself(payload: bytes) -> Hashable:
    return payload


def _untimed(payload: bytes) -> Hashable:
    identity = identity_of(payload)
    return identity.untimed() if isinstance(identity, Identity) else identity


_FORMS: dict[str, _Key] = {"bytes": _itself, "content": identity_of, "untimed": _untimed}


class Splice:
    """One symbol of `level3`.

    Args:
        archived: its last messages in the archive, oldest first: the last one at least, if it has any.
        held: what the connection has delivered, from its snapshot on.

    Attributes:
        matched: how its place was found, as the journal says it ("": it was not).
        ahead: how many of its newest messages are to be archived.
        reason: why its place was not found.
        may_come: whether it may be found yet: the connection lags.
    """

    def __init__(self, archived: Sequence[bytes], held: Sequence[bytes]) -> None:
        self.matched = ""
        self.ahead = 0
        self.reason = ""
        self.may_come = False
        self._key: _Key = _itself
        self._owed: deque[Hashable] = deque()
        if not archived:
            self.reason = "the archive has no message of the symbol that could be looked at"
            return
        since = 1 + max((at for at, each in enumerate(archived) if _snapshot(each) is not None), default=-1)
        updates = archived[since:]
        for form, key in _FORMS.items():
            if not self.matched and updates:
                self._match(form, key, updates, held)
        if not self.matched and not self.reason:
            self._match_snapshot(archived[-1], held)

    def _match(self, form: str, key: _Key, archived: Sequence[bytes], held: Sequence[bytes]) -> None:
        keys = [key(each) for each in archived]
        pairs = anchors([key(each) for each in held], keys)
        if not pairs:
            return
        last, place = pairs[-1]
        owed, ahead = keys[place + 1 :], held[last + 1 :]
        if owed and ahead and time_of(ahead[0]) <= time_of(archived[-1]):
            self.reason = "both have messages at the end of the archive that the other one does not have"
            return
        self.matched, self.ahead, self._key = form, len(ahead), key
        if not ahead:
            self._owed.extend(owed)

    def _match_snapshot(self, last: bytes, held: Sequence[bytes]) -> None:
        first = _snapshot(held[0]) if held else None
        if first is not None and _checksum(last) == first:
            self.matched, self.ahead = "snapshot", len(held)
            return
        self.reason = "no message of the connection was found at the end of the archive"
        self.may_come = bool(held) and time_of(held[-1]) <= time_of(last)

    @property
    def behind(self) -> int:
        """How many messages that are archived the connection has still to deliver."""
        return len(self._owed)

    def is_new(self, payload: bytes) -> bool:
        """Whether the next message of the connection is to be archived: it is not one that it owed."""
        key = self._key(payload)
        if key not in self._owed:  # it has lost those that it owed
            self._owed.clear()
            return True
        while self._owed.popleft() != key:
            pass
        return False


def _level3(payload: bytes) -> Optional[Level3Message]:
    try:
        return decode_level3(payload)
    except MalformedMessage:
        return None


def _snapshot(payload: bytes) -> Optional[bytes]:
    """The checksum of a snapshot's one symbol; None for every other message."""
    if b'"snapshot"' not in payload:
        return None
    message = _level3(payload)
    if message is None or message.type != "snapshot" or len(message.data) != 1:
        return None
    return bytes(message.data[0].checksum)


def _checksum(payload: bytes) -> Optional[bytes]:
    message = _level3(payload)
    return bytes(message.data[0].checksum) if message is not None and len(message.data) == 1 else None
