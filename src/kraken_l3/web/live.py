"""Follows a growing archive for the page, in a thread: the table of symbols, and the books that somebody watches.

What it makes is made once, however many watch: a table of what changed each second, and a book at most four times a
second, where it changed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from kraken_l3.archive.gaps import fold_gaps, gaps_within
from kraken_l3.archive.journal import GapClosed, GapOpened, HandedOver
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import SymbolTally
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.following import Follower, Lines
from kraken_l3.redaction import SECRETS
from kraken_l3.telemetry import get_logger
from kraken_l3.web.views import MOST_EVENTS, TapeEvent, book_view, newest_events

__all__ = ["MOST_WATCHED", "Live"]

log = get_logger("kraken_l3.web")

#: Different symbols that are watched at a time.
MOST_WATCHED = 64
_LOOK_S = 0.1
_BOOK_S = 0.25
_TABLE_S = 1.0
#: Rates are those of the last so many whole seconds of the wall clock.
_RATE_S = 10
_NS_PER_MS = 1_000_000

Publish = Callable[[str, str, bytes], None]


class _Symbol:
    """What the table tells of one symbol."""

    def __init__(self) -> None:
        self.seconds: deque[tuple[int, int]] = deque(maxlen=_RATE_S + 2)
        self.recv_ns = 0
        self.lag_ms: Optional[int] = None

    def add(self, second: int, messages: int) -> None:
        if self.seconds and self.seconds[-1][0] == second:
            messages += self.seconds.pop()[1]
        self.seconds.append((second, messages))

    def rate(self, now_s: int) -> float:
        return sum(messages for second, messages in self.seconds if now_s - _RATE_S <= second < now_s) / _RATE_S


class Live:
    """One archive directory, followed in a thread of its own between `start` and `stop`.

    Args:
        directory: the archive.
        publish: called from the thread with a topic, the name of an event, and its data (JSON). Topics are "table" and
            "book SYMBOL".
        engine_name: see `engine.choose`.

    Attributes:
        table: the whole table as JSON, as of what was published last.
        has_ended: it has stopped by itself: the archive could not be followed any more.
    """

    def __init__(self, directory: Path, publish: Publish, *, engine_name: str = "auto") -> None:
        self._directory = directory
        self._publish = publish
        self._engine_name = engine_name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._symbols: dict[str, _Symbol] = {}
        self._counts: Counter[str] = Counter()
        #: Replaced as a whole, since the thread reads it.
        self._watched: frozenset[str] = frozenset()
        self._new: deque[str] = deque()
        self._events: dict[str, list[TapeEvent]] = {}
        self._changed: set[str] = set()
        self._rows: dict[str, list[Any]] = {}
        self._gap_counts: Counter[str] = Counter()
        self._is_gap_news = True
        self._next_book = self._next_table = 0.0
        self.table = b'{"now":0,"rows":[]}'
        self.has_ended = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until it has."""
        self._stop.set()
        self._thread.join()

    def watch(self, symbol: str) -> bool:
        """Make books of a symbol too, until `unwatch`; False where too many others are watched."""
        if symbol not in self._watched and len(self._watched) >= MOST_WATCHED:
            return False
        self._counts[symbol] += 1
        self._watched |= {symbol}
        self._new.append(symbol)
        return True

    def unwatch(self, symbol: str) -> None:
        """The inverse of one `watch`."""
        self._counts[symbol] -= 1
        if not self._counts[symbol]:
            del self._counts[symbol]
            self._watched -= {symbol}

    def _run(self) -> None:
        try:
            follower = Follower(self._directory, events=True, engine_name=self._engine_name)
            try:
                self._follow(follower)
            finally:
                follower.close()
        except Exception as error:  # the page says it, and the process goes on to serve the past
            log.exception("following the archive has ended")
            self.has_ended = True
            why = SECRETS.redact(str(error)) or type(error).__name__
            self._publish("table", "ended", msgspec.json.encode({"why": why}))

    def _follow(self, follower: Follower) -> None:
        while not self._stop.wait(_LOOK_S):
            for told in follower.look():
                if isinstance(told, Lines):
                    self._take(told, follower)
                elif isinstance(told, (GapOpened, GapClosed, HandedOver)):
                    self._is_gap_news = True
                    self._changed.add(told.symbol)
                if self._stop.is_set():
                    return
                self._publish_due(follower)  # here too: a look takes as long as there is something new
            self._publish_due(follower)

    def _publish_due(self, follower: Follower) -> None:
        now = time.monotonic()
        if now >= self._next_book:
            self._next_book = now + _BOOK_S
            self._publish_books(follower)
        if now >= self._next_table:
            self._next_table = now + _TABLE_S
            self._publish_table(follower)

    def _take(self, told: Lines, follower: Follower) -> None:
        columns = told.result.messages
        indices, sent = memoryview(columns["symbol"]).cast("i"), memoryview(columns["msg_ns"]).cast("q")
        lines = memoryview(columns["line"]).cast("q")
        second = told.times[-1] // NS_PER_S if told.times else 0
        for index, messages in Counter(indices).items():
            if index >= 0:
                self._symbols.setdefault(told.symbols[index], _Symbol()).add(second, messages)
        for index, place in dict(zip(indices, range(len(indices)))).items():  # the last message of each
            if index >= 0:
                symbol = self._symbols[told.symbols[index]]
                symbol.recv_ns = told.times[lines[place] - told.begin.line]
                symbol.lag_ms = (symbol.recv_ns - sent[place]) // _NS_PER_MS if sent[place] else None
        present = {told.symbols[index] for index in set(indices) if index >= 0}
        for name in present & self._watched:
            self._changed.add(name)
            events = self._events.setdefault(name, [])
            tally, index = follower.tallies()[name], told.symbols.index(name)
            events += newest_events(told.result, told.times, told.begin.line, tally, index)
            del events[:-MOST_EVENTS]

    def _publish_books(self, follower: Follower) -> None:
        while self._new:
            self._changed.add(self._new.popleft())
        for name in self._changed & self._watched:
            tally, gap = follower.tallies().get(name), follower.state.gaps.get((Stream.LEVEL3.value, name))
            cause = (gap.cause if gap is not None else "closing") if follower.is_missing(name) else ""
            view = book_view(follower.book(name), tally, cause)
            recv_ns = self._symbols[name].recv_ns if name in self._symbols else 0
            data = {"symbol": name, "recv": recv_ns // _NS_PER_MS, **view, "events": self._events.pop(name, [])}
            self._publish(f"book {name}", "book", msgspec.json.encode(data))
        self._changed.clear()

    def _publish_table(self, follower: Follower) -> None:
        """What changed since the last; a row is name, messages a second, lag in ms, state, verified, mismatched, gaps,
        and when its last message was received (ms since 1970).
        """
        if self._is_gap_news:
            self._gap_counts, self._is_gap_news = self._count_gaps(follower.now_ns), False
        now_s = time.time_ns() // NS_PER_S
        changed = []
        for row in self._table(follower, now_s):
            if self._rows.get(row[0]) != row:
                self._rows[row[0]] = row
                changed.append(row)
        now_ms = follower.now_ns // _NS_PER_MS
        self.table = msgspec.json.encode({"now": now_ms, "rows": list(self._rows.values())})
        self._publish("table", "table", msgspec.json.encode({"now": now_ms, "rows": changed}))

    def _table(self, follower: Follower, now_s: int) -> Iterator[list[Any]]:
        subscribed = {symbol for channel, symbol in follower.state.subscriptions if channel == Stream.LEVEL3.value}
        tallies = follower.tallies()
        for name in sorted(subscribed | tallies.keys() | self._symbols.keys()):
            symbol, tally = self._symbols.get(name, _NOTHING), tallies.get(name, _UNSEEN)
            state = "gap" if follower.is_missing(name) else _STATES[tally.state]
            bad = tally.mismatched + tally.malformed
            recv_ms = symbol.recv_ns // _NS_PER_MS
            yield [name, symbol.rate(now_s), symbol.lag_ms, state, tally.ok, bad, self._gap_counts[name], recv_ms]

    def _count_gaps(self, now_ns: int) -> Counter[str]:
        """Of the newest day."""
        archive = Archive(self._directory)
        gaps = gaps_within(fold_gaps(archive.journal(archive.days[-1])), now_ns) if archive.days else []
        return Counter(gap.symbol for gap in gaps if gap.channel == Stream.LEVEL3.value)


_NOTHING = _Symbol()
_UNSEEN = SymbolTally("")
_STATES = {State.SYNCED: "verified", State.DIVERGED: "mismatch", State.AWAITING_SNAPSHOT: "waiting"}
