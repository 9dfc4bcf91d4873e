"""Live verification: the offline verifier on an archive that grows (`following`).

It runs in a process of its own, so that nothing the book does can cost the recording a byte. What it has to say are
the messages of `model.live`.

`left_ns` of a resync request is the receive time of the symbol's last verified message, or of the last line before the
silence: what is missing came after it. A resync is asked for once an incident. What was in the files before it began is
read in order to have the books, but not reported again; a book that is still wrong then is.
"""

from __future__ import annotations

import contextlib
import math
import threading
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.checkpoints import checkpoints_of
from kraken_l3.archive.datafile import DataFile, Position
from kraken_l3.archive.layout import Stream, stem
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.engine.port import Note
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.events import State, Verdict
from kraken_l3.model.live import LiveMessage, ResyncRequest, VerifierFinding, VerifierProgress
from kraken_l3.model.messages import Trade
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.decoding import decode_trades
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.following import DayBegins, Follower, Lines, OtherLine
from kraken_l3.rebuild.silence import SilenceWatch

__all__ = ["POLL_S", "LiveVerifier"]

Say = Callable[[LiveMessage], None]

#: Seconds between two looks at the files. A look takes as long as verifying hundreds of messages.
POLL_S = 0.5
#: So long an acknowledgement may take into the journal when its snapshot is in the data.
_ACKNOWLEDGED_S = 0.1
_BLOCK_BYTES = 1024 * 1024
_EVERY_NS = NS_PER_S
#: Notes that cost a symbol its book, or say that it is wrong.
_RESYNC_KINDS = ("incident_opened", "unverifiable", "malformed")


class LiveVerifier:
    """Follows one archive directory.

    Args:
        directory: the archive.
        say: takes what is to be told.
        stop: set it to end; what is in the files is read first, then the checkpoints are written.
        engine_name: see `engine.choose`.
        poll_s: seconds between two looks at the files.
        clock: the machine's, but in tests.
    """

    def __init__(
        self,
        directory: Path,
        say: Say,
        *,
        stop: Optional[threading.Event] = None,
        engine_name: str = "auto",
        poll_s: float = POLL_S,
        clock: Optional[Clock] = None,
    ) -> None:
        self._say = say
        self._stop = stop or threading.Event()
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._follower = Follower(
            directory,
            streams=(Stream.TRADE,),
            engine_name=engine_name,
            block_bytes=_BLOCK_BYTES,
            look_around_s=0.0,
            before_snapshot=lambda: self._stop.wait(min(self._poll_s, _ACKNOWLEDGED_S)),
        )
        self._checkpointing = Checkpointing(self._follower.engine)
        self._silence = SilenceWatch()
        self._messages: dict[str, int] = {}
        #: Where each symbol's last verified message stands.
        self._verified: dict[str, tuple[Path, int]] = {}
        self._reported: set[str] = set()
        self._at: Optional[tuple[Path, Position]] = None
        self._history = _sizes(directory)
        self._told_ns = self._looked_ns = 0
        self._told_at: Optional[tuple[Path, Position]] = None

    def run(self) -> None:
        """Verify until told to stop."""
        with contextlib.closing(self._follower):
            try:
                self._run()
            finally:
                if self._at is not None:
                    path, at = self._at
                    self._checkpointing.end_file(checkpoints_of(path), *at)
                self._tell_progress()

    def _run(self) -> None:
        is_over = False
        while True:
            if self._look():
                continue
            if is_over:
                return
            is_over = self._idle()  # and then one more look: what came before the end is read

    def _look(self) -> bool:
        """Take what is new; whether there was anything, or is in the next day."""
        is_news = False
        for told in self._follower.look():
            if isinstance(told, DayBegins):
                self._checkpointing.begin_file(checkpoints_of(told.path))
            elif isinstance(told, Lines):
                is_news = True
                self._take(told)
                self._periodically()
            elif isinstance(told, OtherLine):
                for trade in _trades_in(told.line.payload):
                    self._silence.trade(trade.symbol, trade.timestamp_ns)
        self._at = self._at or self._follower.at
        return is_news or self._follower.is_day_over

    # What comes

    def _take(self, told: Lines) -> None:
        self._at = told.path, told.end
        for note in told.result.notes:
            if self._is_live(told.path, note.offset + 1):
                self._report(note, told)
        self._look_at_tallies(told, is_live=self._is_live(told.path, told.end.offset))
        size = told.end.offset - told.begin.offset
        self._checkpointing.fed(checkpoints_of(told.path), *told.end, lines=told.result.lines, size=size)

    def _is_live(self, path: Path, end_offset: int) -> bool:
        return end_offset > self._history.get(stem(path), 0)

    def _report(self, note: Note, told: Lines) -> None:
        if note.kind in ("inferred", "incident_closed"):
            return
        what = "mismatch" if note.kind == "incident_opened" else note.kind
        self._say(VerifierFinding(note.symbol, what, note.line, note.offset, note.detail, note.expected, note.computed))
        if note.kind in _RESYNC_KINDS and note.symbol:
            verified = self._last_verified(note.symbol)
            index, columns = told.symbols.index(note.symbol), told.result.messages
            lines, symbols = memoryview(columns["line"]).cast("q"), memoryview(columns["symbol"]).cast("i")
            for line, symbol, verdict in zip(lines, symbols, columns["verdict"]):
                if line >= note.line:
                    break
                if symbol == index and verdict == Verdict.OK:
                    verified = told.path, line
            self._request_resync(note.symbol, verified)

    def _last_verified(self, symbol: str) -> Optional[tuple[Path, int]]:
        return self._verified.get(symbol) or self._follower.loaded.get(symbol)

    def _request_resync(self, symbol: str, verified: Optional[tuple[Path, int]]) -> None:
        """What is missing came after the symbol's last verified message: its receive time is the gap's left edge."""
        left_ns = 0
        if verified is not None:
            path, line = verified
            with DataFile(path) as file:
                if file.receipts is not None and line < len(file.receipts):
                    left_ns = file.receipts[line].recv_ns
        self._reported.add(symbol)
        self._say(ResyncRequest(symbol, "mismatch", left_ns))

    def _look_at_tallies(self, told: Lines, *, is_live: bool) -> None:
        """Who spoke and when, which message was verified last, and whose book is wrong since before this began."""
        for tally in self._follower.tallies().values():
            count = tally.messages - self._messages.get(tally.symbol, 0)
            if not count:
                continue
            self._messages[tally.symbol] = tally.messages
            if tally.last_ok_line >= told.begin.line:
                self._verified[tally.symbol] = told.path, tally.last_ok_line
            if not is_live:
                continue
            if self._follower.now_ns:
                self._silence.messages(tally.symbol, count, self._follower.now_ns)
            if tally.state is not State.DIVERGED:
                self._reported.discard(tally.symbol)
            elif tally.symbol not in self._reported:
                self._request_resync(tally.symbol, self._last_verified(tally.symbol))

    def _idle(self) -> bool:
        """All there is was read; only now does silence mean anything. Whether to stop."""
        self._periodically()
        now_ns = self._clock.mono_ns()
        if now_ns - self._looked_ns >= _EVERY_NS:
            self._looked_ns = now_ns
            self._tell_silent(self._clock.wall_ns())
        return self._stop.wait(self._poll_s)

    def _periodically(self) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns - self._told_ns >= _EVERY_NS:
            self._told_ns = now_ns
            self._tell_progress()

    def _tell_progress(self) -> None:
        if self._at is None or self._at == self._told_at:
            return
        self._told_at = path, at = self._at
        tallies = self._follower.tallies().values()
        self._say(
            VerifierProgress(
                file=path.name,
                line=at.line,
                offset=at.offset,
                messages=sum(tally.messages for tally in tallies),
                ok=sum(tally.ok for tally in tallies),
                mismatched=sum(tally.mismatched for tally in tallies),
                symbols=len(tallies),
                not_synced=[tally.symbol for tally in tallies if tally.state is not State.SYNCED],
                received_ns=self._follower.received_ns,
            )
        )

    def _tell_silent(self, now_ns: int) -> None:
        state, channel = self._follower.state, Stream.LEVEL3.value
        connected = {s for c, s in state.subscriptions if c == channel and (c, s) not in state.gaps}
        for symbol, silence_ns in self._silence.silent(now_ns, connected):
            self._say(ResyncRequest(symbol, "silent_symbol", now_ns - silence_ns))


def _sizes(directory: Path) -> dict[str, float]:
    """How far each file is read without a word: what stands in it already is history."""
    files = open_archive(directory).files(parts=False)
    return {stem(path): math.inf for path in files[:-1]} | {stem(path): content_size(path) for path in files[-1:]}


def _trades_in(line: bytes) -> list[Trade]:
    try:
        return decode_trades(line)
    except MalformedMessage:
        return []
