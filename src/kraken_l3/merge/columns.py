"""The lines of a source that are in memory, in columns, so that much is done with many of them at a time."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

from kraken_l3.archive.receipts import ends_of
from kraken_l3.model.frames import FrameColumns, LinesOfText, moved

__all__ = ["DONE", "LED", "PENDING", "LineColumns"]

#: States of a line: to be aligned; to be written; written, or left out.
PENDING, LED, DONE = range(3)
#: Lines that are done are forgotten so many at a time.
_FORGOTTEN_AT_ONCE = 16_384


class LineColumns:
    """See the module. A line has a number that counts from 0 over the whole archive.

    Args:
        rank: which of the sources it is.
        of: how many there are.

    Attributes:
        first: the number of the first line that is remembered. For each from there on:
        ns, recv, mono, connection, flags, symbol, state: its place in Kraken's time, its receipt, the engine's number
            of its symbol (or NO_MESSAGE), what became of it.
        elsewhere: for each source, when that one received the same message (0: it did not).
        at: the first line that is not done.
    """

    def __init__(self, rank: int, of: int) -> None:
        self.rank = rank
        self._of = of
        self.first = self.at = 0
        self._text = bytearray()  # each line with its newline
        self._edges = array("q", [0])  # where each line begins in all that was read, and where the last one ends
        self.ns = array("q")
        self.recv = array("q")
        self.mono = array("q")
        self.connection = array("q")
        self.flags = array("q")
        self.symbol = array("i")
        self.state = bytearray()
        self.elsewhere = [array("q") for _ in range(of)]

    def __len__(self) -> int:
        return len(self.state)

    @property
    def end(self) -> int:
        """The number of the next line to be read."""
        return self.first + len(self.state)

    @property
    def pending_bytes(self) -> int:
        """What is in memory."""
        return len(self._text)

    def _add_lines(self, text: bytes, count: int, told: array[int], offset: int) -> None:
        """Lines that are to be aligned; their other columns follow.

        Args:
            text: them, each with its newline.
            count: how many they are.
            told: where they end, if their receipts are right, and `offset` is where the text begins.
        """
        last = self._edges[-1]
        if _are_ends(told, count, text, offset):
            self._edges.extend(moved(told, last - offset))
        else:
            self._edges.extend(ends_of(text.split(b"\n")[:-1], last))
        self._text += text
        self.state += bytes(count)
        for times in self.elsewhere:
            times.frombytes(bytes(8 * count))

    def text(self, begin: int, end: int) -> bytes:
        """Lines that follow one another, each with its newline."""
        edges, first = self._edges, self.first
        cut = edges[0]
        return bytes(memoryview(self._text)[edges[begin - first] - cut : edges[end - first] - cut])

    def line(self, number: int) -> bytes:
        """One line."""
        return self.text(number, number + 1)[:-1]

    def lines_of(self, numbers: Sequence[int]) -> list[bytes]:
        """Some of them."""
        if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
            return self.text(numbers[0], numbers[-1] + 1).split(b"\n")[:-1]
        edges, first, text = self._edges, self.first, memoryview(self._text)
        cut = edges[0]
        return [bytes(text[edges[n - first] - cut : edges[n - first + 1] - cut - 1]) for n in numbers]

    def frames(self, begin: int, end: int) -> FrameColumns:
        """Lines with their receipts."""
        cut = slice(begin - self.first, end - self.first)
        edges = self._edges[begin - self.first : end - self.first + 1]
        lines = LinesOfText(self.text(begin, end), edges)
        return FrameColumns(lines, self.recv[cut], self.mono[cut], self.connection[cut], self.flags[cut])

    def rows(self, begin: int, end: int) -> bytes:
        """What `l3-D.sources` has of lines: their source, and when each source received them."""
        cut = slice(begin - self.first, end - self.first)
        width = self._of + 1
        rows = array("q", bytes(8 * width * (end - begin)))
        rows[0::width] = array("q", [self.rank]) * (end - begin)
        for rank, times in enumerate(self.elsewhere):
            rows[rank + 1 :: width] = (self.recv if rank == self.rank else times)[cut]
        if sys.byteorder == "big":
            rows.byteswap()
        return rows.tobytes()

    def mark(self, lines: Sequence[int], state: int) -> None:
        """Set the state of lines."""
        first, states = self.first, self.state
        if lines[-1] - lines[0] == len(lines) - 1:
            states[lines[0] - first : lines[-1] + 1 - first] = bytes([state]) * len(lines)
            return
        for line in lines:
            states[line - first] = state

    def note_elsewhere(self, lines: Sequence[int], other: LineColumns, same: Sequence[int]) -> None:
        """Another source has the same lines."""
        elsewhere, own, its = self.elsewhere[other.rank], self.first, other.first
        if lines[-1] - lines[0] == same[-1] - same[0] == len(lines) - 1:
            elsewhere[lines[0] - own : lines[-1] + 1 - own] = other.recv[same[0] - its : same[-1] + 1 - its]
            return
        recv = other.recv
        for line, there in zip(lines, same):
            elsewhere[line - own] = recv[there - its]

    def is_done(self, line: int) -> bool:
        """Whether a line was written or left out."""
        return line < self.first or self.state[line - self.first] == DONE

    def skip_done(self) -> None:
        """Go on to the first line that is not done, and forget those before it now and then."""
        at = self.at - self.first
        rest = self.state[at:]
        self.at += len(rest) - len(rest.lstrip(b"\2"))
        count = self.at - self.first
        if not count or count < min(_FORGOTTEN_AT_ONCE, len(self)):
            return
        del self._text[: self._edges[count] - self._edges[0]]
        for column in (self._edges, self.ns, self.recv, self.mono, self.connection, self.flags, *self.elsewhere):
            del column[:count]
        del self.symbol[:count]
        del self.state[:count]
        self.first = self.at


def _are_ends(told: array[int], count: int, text: bytes, offset: int) -> bool:
    """Whether a text that has so many newlines has them there."""
    if len(told) != count or told[0] <= offset or told[-1] != offset + len(text):
        return False
    ends = told.tolist()
    if ends != sorted(ends) or len(set(ends)) != count:
        return False
    return bytes([text[newline] for newline in moved(told, -offset - 1)]) == b"\n" * count
