"""What is received while another recorder still writes the archive: frames and journal records, bounded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

import msgspec

from kraken_l3.archive.journal import (
    Acknowledged,
    Alive,
    Control,
    Difference,
    GapClosed,
    GapOpened,
    HandedOver,
    OutOfStep,
    Record,
    Unrecognised,
)
from kraken_l3.archive.last_messages import symbol_of
from kraken_l3.model.frames import Frame

__all__ = ["SNAPSHOT", "HeldFrames", "Key"]

FRAME_OVERHEAD_BYTES = 400
SNAPSHOT = b'"snapshot"'
#: Stream and symbol.
Key = tuple[str, str]


class HeldFrames:
    """Frames and records in the order in which they came, bounded.

    Attributes:
        records: without those that tell nothing later.
        gaps: those that are open.
        acknowledged: the latest acknowledgement of each symbol's trades.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.gaps: dict[Key, GapOpened] = {}
        self.acknowledged: dict[str, Acknowledged] = {}
        self._books: dict[str, Acknowledged] = {}
        self._frames: deque[tuple[int, Key, Frame]] = deque()
        self._count = 0
        self._bytes = 0
        self._begun: dict[Key, int] = {}  # where a symbol's line began, with its last snapshot
        self._newest: dict[Key, int] = {}
        self._oldest: dict[Key, tuple[int, Key, Frame]] = {}  # went from `_frames`, and was its symbol's newest

    def put(self, stream: str, frame: Frame) -> None:
        """One more frame."""
        key = (stream, symbol_of(frame.payload) if stream != "instrument" else "")
        if stream == "level3" and SNAPSHOT in frame.payload:
            self._begun[key] = self._count
            self.gaps.pop(key, None)
        self._newest[key] = self._count
        self._frames.append((self._count, key, frame))
        self._count += 1
        self._bytes += _size(frame)

    def note(self, record: Record) -> None:
        """One more record."""
        if isinstance(record, GapOpened):
            self.gaps[record.channel, record.symbol] = record
        elif isinstance(record, GapClosed):
            self.gaps.pop((record.channel, record.symbol), None)
        elif isinstance(record, HandedOver):
            self._note_hand_over(record)
        elif not isinstance(record, (Alive, Control, Unrecognised, Difference, OutOfStep)):
            self.records.append(record)
            if isinstance(record, Acknowledged):
                (self.acknowledged if record.channel == "trade" else self._books)[record.symbol] = record

    def _note_hand_over(self, record: HandedOver) -> None:
        """From one connection to the other: the record would take back the gap that the other recorder left. But the
        symbol's subscription is that of the new leader, and must not go with the old one's connection."""
        ack = self._books.get(record.symbol)
        if ack is not None:
            self.note(
                msgspec.structs.replace(ack, at_ns=record.at_ns, mono_ns=record.mono_ns, connection=record.connection)
            )

    def trim(self, limit_bytes: int) -> None:
        """Let the oldest frames go, but for each symbol's newest, by which its place may be found."""
        while self._bytes > limit_bytes and self._frames:
            number, key, frame = self._frames.popleft()
            older = self._oldest.pop(key, None)
            if older is not None:
                self._bytes -= _size(older[2])
            if number == self._newest[key]:
                self._oldest[key] = (number, key, frame)
            else:
                self._bytes -= _size(frame)

    def _lasting(self) -> Iterable[tuple[int, Key, Frame]]:
        for each in [*sorted(self._oldest.values(), key=lambda each: each[0]), *self._frames]:
            if each[0] >= self._begun.get(each[1], 0):
                yield each

    def by_key(self) -> dict[Key, list[Frame]]:
        """The frames of each stream and symbol since its last snapshot."""
        found: dict[Key, list[Frame]] = {}
        for _, key, frame in self._lasting():
            found.setdefault(key, []).append(frame)
        return found

    def runs(self, skipped: Mapping[Key, int]) -> Iterable[tuple[str, list[Frame]]]:
        """All frames in order but for the first ones of some symbols, in runs of one stream."""
        seen: Counter[Key] = Counter()
        run: list[Frame] = []
        stream = ""
        for _, key, frame in self._lasting():
            seen[key] += 1
            if seen[key] <= skipped.get(key, 0):
                continue
            if key[0] != stream and run:
                yield stream, run
                run = []
            stream = key[0]
            run.append(frame)
        if run:
            yield stream, run


def _size(frame: Frame) -> int:
    return len(frame.payload) + FRAME_OVERHEAD_BYTES
