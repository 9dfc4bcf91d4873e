"""What a recorder warns of."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ALERT_KINDS", "Alert", "AlertKind"]

AlertKind = Literal["gap", "quarantine", "disk", "silence", "refusal", "start", "stop"]
ALERT_KINDS: tuple[AlertKind, ...] = ("gap", "quarantine", "disk", "silence", "refusal", "start", "stop")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One warning, about one or many events of a kind.

    Attributes:
        kind: see `ALERT_KINDS`.
        cause: of the gaps, as in the journal; "" where there is none.
        text: a sentence for people.
        symbols: the first ten that it is about.
        events: how many events it stands for.
        at_ns: when the first of them was, ns since 1970.
        host: name of the machine.
        directory: of the archive.
    """

    kind: AlertKind
    cause: str
    text: str
    symbols: list[str]
    events: int
    at_ns: int
    host: str
    directory: str
