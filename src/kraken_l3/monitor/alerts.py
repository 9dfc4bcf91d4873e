"""Which events of a recording become alerts, and how many. Rules without I/O; times are passed in.

Events of one kind and cause are one alert: a dropped connection with a thousand symbols is one sentence. The first one
is sent after two seconds, in which the others come; while more of the same come, further alerts follow after pauses of
1, 5, 15 and then 60 minutes, each with what has come meanwhile. After an hour without any it starts over.
"""

from __future__ import annotations

from typing import Optional

import msgspec

from kraken_l3.archive.journal import GapOpened, Record, Resync
from kraken_l3.model.alerts import Alert, AlertKind
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.status import RecorderStatus
from kraken_l3.monitor.units import age, size
from kraken_l3.protocol.resync import QUARANTINE_AFTER

__all__ = ["AlertRules"]

GATHER_NS = 2 * NS_PER_S
PAUSES_NS = tuple(seconds * NS_PER_S for seconds in (60, 300, 900, 3600))
FORGET_NS = 3600 * NS_PER_S
NAMED = 10
#: How much worse each mark of the disk is (`capture.disk_guard`).
_MARKS = {"fine": 0, "low": 1, "scarce": 2}

#: Causes of gaps that have a kind of their own; the orderly stop is told of by itself.
_KINDS: dict[str, Optional[AlertKind]] = {
    "disk": "disk",
    "writer": "disk",
    "silence": "silence",
    "silent_symbol": "silence",
    "rejected": "refusal",
    "stop": None,
}
_WORDS: dict[str, str] = {
    "disk": "the disk is full: recording stops until there is room",
    "writer": "the disk cannot keep up, data is missing",
    "silence": "a connection was silent and is replaced",
    "silent_symbol": "silent for too long, subscribed again",
    "rejected": "Kraken refused the subscription",
}


class _Pending(msgspec.Struct):
    """Events of one kind and cause."""

    text: str = ""
    symbols: dict[str, None] = {}
    events: int = 0
    at_ns: int = 0
    ready_ns: int = 0
    sent: int = 0
    last_ns: int = 0


class AlertRules:
    """See the module. What waits is bounded by kinds, causes and symbols, not by events.

    Args:
        kinds: those that are wanted.
        host: name of the machine.
        directory: of the archive.
    """

    def __init__(self, kinds: list[AlertKind], host: str, directory: str) -> None:
        self._kinds = frozenset(kinds)
        self._host = host
        self._directory = directory
        self._pending: dict[tuple[AlertKind, str], _Pending] = {}
        self._mark = "fine"

    def record(self, record: Record, mono_ns: int) -> None:
        """Something was journalled."""
        if isinstance(record, GapOpened):
            kind = _KINDS.get(record.cause, "gap")
            if kind is not None:
                text = _WORDS.get(record.cause, f"gap ({record.cause})")
                self.add(kind, record.cause, text, record.at_ns, mono_ns, symbol=record.symbol)
        elif isinstance(record, Resync) and record.attempt >= QUARANTINE_AFTER:
            text = f"in quarantine: its book keeps failing ({record.cause}), subscribed again once an hour"
            self.add("quarantine", record.cause, text, record.at_ns, mono_ns, symbol=record.symbol)

    def status(self, status: RecorderStatus, mono_ns: int) -> None:
        """The recorder's state: a disk that fills up is no record yet."""
        disk, before = status.disk, self._mark
        self._mark = disk.mark
        if _MARKS.get(disk.mark, 0) <= _MARKS.get(before, 0):
            return
        text = "the disk is running low" if disk.mark == "low" else "the disk is nearly full, only recording goes on"
        if disk.free_bytes is not None:
            text += f": {size(disk.free_bytes)} free"
        if disk.seconds_to_full is not None:
            text += f", full in {age(disk.seconds_to_full)} at the last hour's rate"
        self.add("disk", disk.mark, text, status.now_ns, mono_ns)

    def add(self, kind: AlertKind, cause: str, text: str, at_ns: int, mono_ns: int, *, symbol: str = "") -> None:
        """An event. The text of the last one of a kind and cause stands for all."""
        if kind not in self._kinds:
            return
        pending = self._pending.setdefault((kind, cause), _Pending())
        if pending.sent and mono_ns - pending.last_ns > FORGET_NS and not pending.events:
            pending.sent = pending.ready_ns = 0
        if not pending.events:
            pending.at_ns = at_ns
            pending.ready_ns = max(pending.ready_ns, mono_ns + GATHER_NS)
        pending.events += 1
        pending.text = text
        pending.last_ns = mono_ns
        if symbol:
            pending.symbols[symbol] = None

    def due(self, mono_ns: int, *, everything: bool = False) -> list[Alert]:
        """What is to be sent now, and is not asked for again.

        Args:
            mono_ns: now, on the monotonic clock.
            everything: do not wait for more events: the recorder ends.
        """
        alerts = []
        for (kind, cause), pending in self._pending.items():
            if pending.events and (everything or pending.ready_ns <= mono_ns):
                alerts.append(self._alert(kind, cause, pending))
                pause_ns = PAUSES_NS[min(pending.sent, len(PAUSES_NS) - 1)]
                pending.sent += 1
                pending.ready_ns = mono_ns + pause_ns
                pending.events = 0
                pending.symbols = {}
        return alerts

    def _alert(self, kind: AlertKind, cause: str, pending: _Pending) -> Alert:
        symbols = list(pending.symbols)[:NAMED]
        more = len(pending.symbols) - len(symbols)
        text = pending.text
        if symbols:
            text += f": {', '.join(symbols)}" + (f" and {more:,} more" if more > 0 else "")
        return Alert(
            kind=kind,
            cause=cause,
            text=f"Kraken L3 recorder on {self._host}: {text}",
            symbols=symbols,
            events=pending.events,
            at_ns=pending.at_ns,
            host=self._host,
            directory=self._directory,
        )
