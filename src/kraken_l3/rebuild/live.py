"""Live verification: the offline verifier, following an archive while it grows.

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

from kraken_l3.archive.checkpoints import Checkpoint, read_checkpoints
from kraken_l3.archive.datafile import Block, DataFile, Follow, Position
from kraken_l3.archive.journal import JournalState, Record, decode_record
from kraken_l3.archive.layout import DayPaths, Stream, stem
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.tail import Tail
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, Note, Result
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.events import State, Verdict
from kraken_l3.model.live import LiveMessage, ResyncRequest, VerifierFinding, VerifierProgress
from kraken_l3.model.messages import Trade
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.decoding import decode_trades
from kraken_l3.rebuild.checkpointing import Checkpointing, load_checkpoint
from kraken_l3.rebuild.metadata import MetadataReader, MetadataTeller, SymbolMetadata
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
        self._archive = open_archive(directory)
        self._say = say
        self._stop = stop or threading.Event()
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._engine = make_engine(EngineOptions(messages=True), engine_name)
        self._checkpointing = Checkpointing(self._engine)
        self._metadata = MetadataReader()
        self._teller = MetadataTeller(self._engine)
        self._silence = SilenceWatch()
        self._journal = Tail()
        self._trades = Tail()
        self._state = JournalState()
        self._messages: dict[str, int] = {}
        #: Where each symbol's last verified message stands.
        self._verified: dict[str, tuple[Path, int]] = {}
        self._reported: set[str] = set()
        self._file: Optional[Path] = None
        self._at = Position()
        self._history = self._sizes()
        self._said_ns = self._looked_ns = self._received_ns = 0
        self._said_at: Optional[tuple[Optional[Path], int]] = None

    def run(self) -> None:
        """Verify until told to stop."""
        with contextlib.closing(self._journal), contextlib.closing(self._trades):
            self._run()

    def _run(self) -> None:
        begin = self._resume()
        follow = Follow(self._poll_s, wait=self._idle)
        try:
            for block in self._archive.blocks(begin=begin, size=_BLOCK_BYTES, follow=follow):
                self._feed(block)
        finally:
            if self._file is not None:
                self._checkpointing.end_file(self._checkpoint_path(self._file), *self._at)
            self._tell_progress()

    # Where to begin

    def _sizes(self) -> dict[str, float]:
        """How far each file is read without a word: what stands in it already is history."""
        files = self._archive.files(parts=False)
        return {stem(path): math.inf for path in files[:-1]} | {stem(path): content_size(path) for path in files[-1:]}

    def _resume(self) -> Optional[tuple[Path, Position]]:
        """Load each symbol's last checkpoint of the newest day; reading goes on where the oldest of them stands."""
        files = self._archive.files(parts=False)
        if not files:
            return None
        newest = files[-1]
        latest: dict[str, Checkpoint] = {}
        for checkpoint in read_checkpoints(self._checkpoint_path(newest)):
            latest[checkpoint.symbol] = checkpoint
        self._read_journal(newest)
        # Only checkpoints of one line are a beginning for all. From several, symbols would be fed lines that their
        # books have seen already.
        places = {Position(c.line, c.end_offset) for c in latest.values()}
        start = min(places) if len(places) == 1 else Position()
        if start.offset > content_size(newest):  # the file was cut by a recovery since
            start = Position()
        books = read_checkpoints(self._checkpoint_path(newest))
        for checkpoint in latest.values() if start.line else (each for each in books if each.line == 0):
            if load_checkpoint(self._engine, checkpoint) and checkpoint.line:
                self._verified[checkpoint.symbol] = newest, checkpoint.line - 1
        self._file, self._at = newest, start
        return newest, start

    def _checkpoint_path(self, file: Path) -> Path:
        return _day_paths(file).checkpoints

    # What comes

    def _feed(self, block: Block) -> None:
        path = block.file.path
        if path != self._file:
            if self._file is not None:
                self._checkpointing.begin_file(self._checkpoint_path(path))
            self._file = path
        if b'"snapshot"' in block.data:
            self._stop.wait(min(self._poll_s, _ACKNOWLEDGED_S))  # its acknowledgement is on its way into the journal
        self._read_journal(path)
        for piece in self._teller.cut(block.file, block):
            if not isinstance(piece, SymbolMetadata):
                self._feed_piece(path, piece)
        self._periodically()

    def _feed_piece(self, path: Path, block: Block) -> None:
        result = self._engine.feed(block.data, block.first_line, block.offset)
        self._at = Position(block.first_line + result.lines, block.offset + len(block.data))
        for note in result.notes:
            if self._is_live(path, note.offset + 1):
                self._report(block.file, note, result)
        self._look_at_tallies(block, result.lines, is_live=self._is_live(path, self._at.offset))
        self._checkpointing.fed(self._checkpoint_path(path), *self._at, lines=result.lines, size=len(block.data))

    def _is_live(self, path: Path, end_offset: int) -> bool:
        return end_offset > self._history.get(stem(path), 0)

    def _report(self, file: DataFile, note: Note, result: Result) -> None:
        if note.kind in ("inferred", "incident_closed"):
            return
        what = "mismatch" if note.kind == "incident_opened" else note.kind
        self._say(VerifierFinding(note.symbol, what, note.line, note.offset, note.detail, note.expected, note.computed))
        if note.kind in _RESYNC_KINDS and note.symbol:
            verified = self._verified.get(note.symbol)
            index = list(self._engine.symbols()).index(note.symbol)
            lines = memoryview(result.messages["line"]).cast("q")
            symbols = memoryview(result.messages["symbol"]).cast("i")
            for line, symbol, verdict in zip(lines, symbols, result.messages["verdict"]):
                if line >= note.line:
                    break
                if symbol == index and verdict == Verdict.OK:
                    verified = file.path, line
            self._request_resync(note.symbol, verified)

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

    def _look_at_tallies(self, block: Block, lines: int, *, is_live: bool) -> None:
        """Who spoke and when, which message was verified last, and whose book is wrong since before this began."""
        receipts = block.file.receipts
        recv_ns = receipts[block.first_line + lines - 1].recv_ns if receipts is not None else 0
        self._received_ns = recv_ns or self._received_ns
        for tally in self._engine.tallies():
            count = tally.messages - self._messages.get(tally.symbol, 0)
            if not count:
                continue
            self._messages[tally.symbol] = tally.messages
            if tally.last_ok_line >= block.first_line:
                self._verified[tally.symbol] = block.file.path, tally.last_ok_line
            if not is_live:
                continue
            if recv_ns:
                self._silence.messages(tally.symbol, count, recv_ns)
            if tally.state is not State.DIVERGED:
                self._reported.discard(tally.symbol)
            elif tally.symbol not in self._reported:
                self._request_resync(tally.symbol, self._verified.get(tally.symbol))

    def _idle(self, seconds: float) -> bool:
        """All there is was read; only now does silence mean anything."""
        self._periodically()
        now_ns = self._clock.mono_ns()
        if self._file is not None and now_ns - self._looked_ns >= _EVERY_NS:
            self._looked_ns = now_ns
            self._read_journal(self._file)
            self._tell_silent(self._file, self._clock.wall_ns())
        return self._stop.wait(seconds)

    def _periodically(self) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns - self._said_ns >= _EVERY_NS:
            self._said_ns = now_ns
            self._tell_progress()

    def _tell_progress(self) -> None:
        if (self._file, self._at.line) == self._said_at or self._file is None:
            return
        self._said_at = (self._file, self._at.line)
        tallies = self._engine.tallies()
        self._say(
            VerifierProgress(
                file=self._file.name,
                line=self._at.line,
                offset=self._at.offset,
                messages=sum(tally.messages for tally in tallies),
                ok=sum(tally.ok for tally in tallies),
                mismatched=sum(tally.mismatched for tally in tallies),
                symbols=len(tallies),
                not_synced=[tally.symbol for tally in tallies if tally.state is not State.SYNCED],
                received_ns=self._received_ns,
            )
        )

    def _tell_silent(self, file: Path, now_ns: int) -> None:
        for line in self._trades.lines(_day_paths(file).data(Stream.TRADE)):
            for trade in _trades_in(line):
                self._silence.trade(trade.symbol, trade.timestamp_ns)
        channel = Stream.LEVEL3.value
        connected = {s for c, s in self._state.subscriptions if c == channel and (c, s) not in self._state.gaps}
        for symbol, silence_ns in self._silence.silent(now_ns, connected):
            self._say(ResyncRequest(symbol, "silent_symbol", now_ns - silence_ns))

    def _read_journal(self, file: Path) -> None:
        """Fold in what the journal has gained, and tell the engine what it says of symbols."""
        for line in self._journal.lines(_day_paths(file).journal):
            record = _decode_or_none(line)
            if record is not None:
                self._state.apply(record)
                for told in self._metadata.read(record):
                    self._teller.add(told)


def _day_paths(file: Path) -> DayPaths:
    paths = DayPaths.of(file)
    assert paths is not None  # an archive directory has no data files of other names
    return paths


def _trades_in(line: bytes) -> list[Trade]:
    try:
        return decode_trades(line)
    except MalformedMessage:
        return []


def _decode_or_none(line: bytes) -> Optional[Record]:
    try:
        return decode_record(line)
    except MalformedMessage:
        return None
