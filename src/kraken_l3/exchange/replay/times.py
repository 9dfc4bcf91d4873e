"""When the lines of a recording are due: their receive times, or Kraken's own where there are none, never falling."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Optional

from kraken_l3.archive.datafile import Block, DataFile
from kraken_l3.archive.receipts import end_offsets, receive_times
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions

__all__ = ["LineTimes", "ReplayClock"]


class LineTimes:
    """Of the lines of one block (`playback.LineTimes`)."""

    def __init__(self, times: list[int]) -> None:
        self.times = times

    def packed(self) -> Optional[bytes]:
        """See `playback.LineTimes.packed`."""
        return array("q", self.times).tobytes()


class ReplayClock:
    """Reads the times for a playback (`playback.LineClock`).

    Args:
        engine_name: which engine reads the messages' own times, where there are no receipts.
    """

    def __init__(self, engine_name: str) -> None:
        self.now_ns = 0
        self._reader = make_engine(EngineOptions(messages=True), engine_name)

    def look(self, block: Block) -> None:
        """See `playback.LineClock.look`: a replay has time enough when it asks."""

    def times(self, file: DataFile, block: Block) -> LineTimes:
        """See `playback.LineClock.times`."""
        count = block.data.count(b"\n") + (block.data[-1:] != b"\n")
        raw = self._received(file, block, count) if file.receipts is not None else self._told(block, count)
        # what comes before the first known time counts as of then
        known = self.now_ns or next((time_ns for time_ns in raw if time_ns), 0)
        times = list(accumulate(raw, max, initial=known))[1:]
        self.now_ns = times[-1] if times else known
        return LineTimes(times)

    def _received(self, file: DataFile, block: Block, count: int) -> list[int]:
        end = block.offset + len(block.data)
        receipts = file.receipt_bytes(block.first_line, count)
        ends = end_offsets(receipts)
        times = receive_times(receipts).tolist()
        if ends and max(ends) > end:
            times = [time_ns for time_ns, end_offset in zip(times, ends) if end_offset <= end]
        return times + [0] * (count - len(times))  # damaged receipts may tell of fewer lines

    def _told(self, block: Block, count: int) -> list[int]:
        messages = self._reader.feed(block.data, block.first_line, block.offset).messages
        times = [0] * count
        for line, msg_ns in zip(memoryview(messages["line"]).cast("q"), memoryview(messages["msg_ns"]).cast("q")):
            times[line - block.first_line] = max(times[line - block.first_line], msg_ns)
        return times
