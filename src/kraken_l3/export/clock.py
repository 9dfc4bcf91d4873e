"""The receive times of lines as numpy columns, never falling: the clock of exported rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from kraken_l3.archive.datafile import Block, DataFile
from kraken_l3.archive.receipts import RECEIPT_BYTES, RECEIVE_TIME_UNKNOWN
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import MAX_GRID_STEP, Engine, EngineOptions

__all__ = ["ReceiveClock", "Times"]

#: So many instants of a grid are shown at once; of a night there are 30,000, each with a row for each pair.
_FEW_INSTANTS = 256
_RECEIPT = np.dtype([("recv_ns", "<i8"), ("mono_ns", "<i8"), ("end", "<u8"), ("connection", "<u4"), ("flags", "<u4")])


class Times(NamedTuple):
    """When the lines of a block came (`playback.LineTimes`).

    Attributes:
        first_line: number of the first line.
        clock_ns: what the engine's clock takes for each line: receive times, else the messages' own; None: neither.
        recv_ns: receive time of each line; None without receipts.
        doubtful: lines whose own receipt says something else, or nothing.
    """

    first_line: int
    clock_ns: Optional[Any]
    recv_ns: Optional[Any]
    doubtful: Optional[Any]

    def between(self, first: int, behind: int) -> Times:
        """Of some of the lines, counted from the block's first."""
        columns = (column[first:behind] if column is not None else None for column in self[1:])
        return Times(self.first_line + first, *columns)

    def packed(self) -> Optional[bytes]:
        """See `LineTimes.packed`."""
        packed: Optional[bytes] = self.clock_ns.tobytes() if self.clock_ns is not None else None
        return packed


def _lines_in(block: Block) -> int:
    newlines = np.count_nonzero(np.frombuffer(block.data, np.uint8) == ord("\n"))  # 3 times as fast as bytes.count
    return int(newlines) + (not block.data.endswith(b"\n"))


def _receipts(file: DataFile, first: int, count: int) -> Any:
    data = file.receipt_bytes(first, count)
    return np.frombuffer(data[: len(data) - len(data) % RECEIPT_BYTES], _RECEIPT)


class ReceiveClock:
    """Reads the receive times of lines for a playback (`playback.GridClock`). They never fall.

    Args:
        engine_name: which engine reads the messages' own times, where there are no receipts.
        grid_ns: spacing of the rows that the engine shows on a grid; then lines without receipts need a time too.
    """

    def __init__(self, engine_name: str, *, grid_ns: Optional[int] = None) -> None:
        self.now_ns = 0
        self._engine_name = engine_name
        self._grid_ns = grid_ns
        self._reader: Optional[Engine] = None
        self._own: dict[tuple[DataFile, int], Any] = {}

    def look(self, block: Block) -> None:
        """See `LineClock.look`: reading the messages' own times takes an engine as long as rebuilding their books."""
        if self._grid_ns is not None and block.file.receipts is None:
            self._own[block.file, block.offset] = self._of_messages(block)

    def pieces(self, file: DataFile, block: Block) -> Iterator[tuple[Sequence[int], Block, Times]]:
        """See `GridClock.pieces`."""
        began_ns = self.now_ns
        times = self.times(file, block)
        if self._grid_ns is None or times.recv_ns is None:
            yield (), block, times
            return
        before = np.append(began_ns, times.recv_ns[:-1])
        silences = np.flatnonzero((before > 0) & (times.recv_ns - before > _FEW_INSTANTS * self._grid_ns)).tolist()
        if not silences:
            yield (), block, times
            return
        ends = np.append(np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord("\n")) + 1, len(block.data))
        cuts = sorted({0, *silences, len(before)})
        for line, next_line in zip(cuts, cuts[1:]):
            start, stop = (int(ends[each - 1]) if each else 0 for each in (line, next_line))
            waits = self._waits(int(before[line]), int(times.recv_ns[line])) if line in silences else ()
            part = Block(
                block.data[start:stop],
                block.first_line + line,
                block.offset + start,
                block.file,
                block.left_out if line == 0 else 0,
            )
            yield waits, part, times.between(line, next_line)

    def _waits(self, now_ns: int, until_ns: int) -> Sequence[int]:
        if self._grid_ns is None or not now_ns:
            return ()
        first_ns = -(-now_ns // self._grid_ns) * self._grid_ns
        due = -(-(until_ns - first_ns) // self._grid_ns)
        if due > MAX_GRID_STEP:  # none of them is shown
            return ()
        return [first_ns + step * self._grid_ns for step in range(_FEW_INSTANTS, due, _FEW_INSTANTS)]

    def waits(self, until_ns: int) -> Sequence[int]:
        """See `GridClock.waits`."""
        return self._waits(self.now_ns, until_ns)

    def times(self, file: DataFile, block: Block) -> Times:
        """See `LineClock.times`; without receipts the messages' own times are the clock."""
        if file.receipts is not None:
            return self._of_receipts(file, block)
        if self._grid_ns is None:
            return Times(block.first_line, None, None, None)
        # nothing is told within a block of a file without receipts: it comes in one piece
        return Times(block.first_line, self._rising(self._own.pop((block.file, block.offset))), None, None)

    def _of_receipts(self, file: DataFile, block: Block) -> Times:
        # Damaged receipts may tell of more or fewer lines than there are: the lines themselves are counted.
        count = _lines_in(block)
        receipts = _receipts(file, block.first_line, count)
        receipts = receipts[: int(np.searchsorted(receipts["end"], block.offset + len(block.data), side="right"))]
        raw = np.zeros(count, np.int64)  # lines without a receipt keep 0: their time is that of the line before
        raw[: len(receipts)] = receipts["recv_ns"]
        doubtful = np.ones(count, bool)
        doubtful[: len(receipts)] = receipts["flags"] & RECEIVE_TIME_UNKNOWN != 0
        recv_ns = self._rising(raw)
        return Times(block.first_line, recv_ns, recv_ns, doubtful | (raw < recv_ns))

    def _of_messages(self, block: Block) -> Any:
        if self._reader is None:
            self._reader = make_engine(EngineOptions(messages=True), self._engine_name)
        result = self._reader.feed(block.data, block.first_line, block.offset)
        line, msg_ns = (np.frombuffer(result.messages[name], "<i8") for name in ("line", "msg_ns"))
        times = np.zeros(result.lines, np.int64)
        np.maximum.at(times, line - block.first_line, msg_ns)
        return times

    def _rising(self, raw: Any) -> Any:
        if not self.now_ns:  # what comes before the first known time counts as of then
            self.now_ns = int(raw[np.flatnonzero(raw)[:1]].sum())
        rising = np.maximum(np.maximum.accumulate(raw), self.now_ns)
        self.now_ns = int(rising[-1]) if len(rising) else self.now_ns
        return rising
