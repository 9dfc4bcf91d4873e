"""Lines that all sources have, byte for byte and in one order: nearly all there are, taken at once for all symbols.

What is taken here the streams of the symbols would take as well, one after the other: see `SymbolStream.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from kraken_l3.merge.columns import DONE, LED
from kraken_l3.merge.proof import REMEMBERED, Books
from kraken_l3.merge.source import Source
from kraken_l3.merge.stream import SymbolStream

__all__ = ["take_equal"]


class _Stretch(NamedTuple):
    """Lines that all sources have.

    Attributes:
        begins: for each source the first of them.
        lines: how many.
        last: by symbol, which of them is its last one.
    """

    begins: list[int]
    lines: int
    last: dict[int, int]


def take_equal(
    sources: Sequence[Source], streams: Mapping[str, SymbolStream], books: Books, limits: Sequence[int]
) -> bool:
    """Take the lines with which all sources go on, up to the first that needs a look at its symbol's stream.

    Returns:
        Whether that is all that can be decided now. If not, the other lines stand in `Source.pending`.
    """
    stretch = _find(sources, streams)
    if stretch is not None:
        _take(sources, streams, books, stretch)
        if _wait(sources, streams, limits):
            return True
    for source in sources:
        source.sort_in()
    return False


def _find(sources: Sequence[Source], streams: Mapping[str, SymbolStream]) -> Optional[_Stretch]:
    begins = [source.undecided() for source in sources]
    count = min(source.next_odd(begin) - begin for source, begin in zip(sources, begins))
    if count <= 0 or any(stream.is_untimed for stream in streams.values()):
        return None
    leader, begin = sources[0], begins[0]
    for source, its in zip(sources[1:], begins[1:]):
        count = _count_equal(leader, begin, source, its, count)
    numbers = leader.symbol[begin - leader.first : begin - leader.first + count]
    last = dict(zip(numbers, range(count)))
    unready = [number for number in last if not _is_ready(streams.get(leader.names[number]))]
    if unready:
        count = min(map(numbers.index, unready))
        last = dict(zip(numbers[:count], range(count)))
    return _Stretch(begins, count, last) if count else None


def _is_ready(stream: Optional[SymbolStream]) -> bool:
    return stream is not None and stream.is_ready()


def _count_equal(one: Source, begin: int, other: Source, its: int, count: int) -> int:
    """How many of so many lines are equal from the first on."""
    low, high = 0, count
    middle = high  # mostly all of them
    while low < high:
        if one.text(begin + low, begin + middle) == other.text(its + low, its + middle):
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def _take(sources: Sequence[Source], streams: Mapping[str, SymbolStream], books: Books, stretch: _Stretch) -> None:
    begins, count, last = stretch
    leader, begin = sources[0], begins[0]
    lines = range(begin, begin + count)
    numbers = leader.symbol[begin - leader.first : begin - leader.first + count]
    for symbol, at in last.items():
        first = numbers.index(symbol)
        streams[leader.names[symbol]].go_on(begin + first, {rank: each + at for rank, each in enumerate(begins)})
    text = leader.text(begin, begin + count)
    books.feed(text, count)
    if len(last) == 1:
        told = min(count, REMEMBERED)
        streams[leader.names[numbers[0]]].book.remember(leader.text(lines[-told], begin + count), told)
    else:
        own: dict[int, list[bytes]] = {symbol: [] for symbol in last}
        for symbol, line in zip(numbers, text.split(b"\n")):
            own[symbol].append(line)
        for symbol, found in own.items():
            streams[leader.names[symbol]].book.remember(b"\n".join(found) + b"\n", len(found))
    leader.mark(lines, LED)
    for source, its in zip(sources[1:], begins[1:]):
        same = range(its, its + count)
        source.mark(same, DONE)
        leader.note_elsewhere(lines, source, same)
    for source, its in zip(sources, begins):
        source.unsort(its + count)


def _wait(sources: Sequence[Source], streams: Mapping[str, SymbolStream], limits: Sequence[int]) -> bool:
    """Whether all that is left waits for a source that has nothing left."""
    bounds = [limits[source.rank] for source in sources if source.unsorted == source.end]
    if not bounds or any(stream.leaves_out() for stream in streams.values()):
        return False
    bound = min(bounds)
    return all(
        source.next_odd(source.unsorted) == source.end
        and min(source.ns[source.unsorted - source.first :], default=bound) >= bound
        for source in sources
    )
