"""After an unclean end every message that is missing lies in a gap, however much newer the journal is than the data."""

import random

import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, abandon, alive, frame, open_writer, payload, start
from disk_fakes import FakeClock, FakeFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.crash_gaps import StreamEnd, crash_records
from kraken_l3.archive.journal import (
    Acknowledged,
    Alive,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    HandedOver,
    JournalState,
    Recovered,
    decode_record,
)
from kraken_l3.archive.receipts import RECEIPT_BYTES
from kraken_l3.archive.recovery import recover
from kraken_l3.model.frames import Frame

DATA, RECEIPTS, JOURNAL = f"l3-{DAY}.ndjson", f"l3-{DAY}.receipts", f"journal-{DAY}.ndjson"
SYMBOLS = ("A/USD", "B/USD")


class Recording:
    """A recorder whose connections come and go, as the capture writes it down."""

    def __init__(self, directory, rng):
        self.directory, self.rng = directory, rng
        self.disk, self.clock = FakeFileSystem(), FakeClock(NOON_NS)
        self.writer = open_writer(directory, self.clock, self.disk)
        self.connection, self.last_ns, self.synced = 0, 0, 0
        self.frames = []
        start(self.writer, self.clock, connection=0, symbols=())
        self.connect()

    def tick(self):
        self.clock.advance(SECOND_NS)
        return self.clock.wall_ns()

    def receive(self, symbol):
        self.last_ns = self.tick()
        number = len(self.frames)
        self.frames.append((symbol, self.last_ns))
        text = payload(number, symbol)
        self.writer.append("level3", [Frame(text, self.last_ns, number, self.connection)])

    def connect(self):
        self.connection += 1
        where = {"at_ns": self.tick(), "connection": self.connection, "channel": "level3"}
        self.last_ns = self.clock.wall_ns()
        self.writer.journal(Connected(**where, url="x", symbols=list(SYMBOLS)))
        for symbol in SYMBOLS:
            self.writer.journal(Acknowledged(**where, symbol=symbol))
            self.receive(symbol)  # its snapshot
            gap = self.writer.state.gaps.get(("level3", symbol))
            if gap is not None:
                edges = {"cause": gap.cause, "left_ns": gap.left_ns, "right_ns": self.last_ns}
                self.writer.journal(GapClosed(**where, symbol=symbol, **edges))

    def reconnect(self):
        where = {"at_ns": self.tick(), "connection": self.connection}
        for symbol in SYMBOLS:
            edges = {"cause": "network", "left_ns": self.last_ns}
            self.writer.journal(GapOpened(**where, channel="level3", symbol=symbol, **edges))
        self.writer.journal(Disconnected(**where, cause="network", last_frame_ns=self.last_ns))
        if self.rng.random() < 0.8:
            self.connect()
        else:
            self.connection += 1

    def heartbeat(self):
        self.last_ns = self.tick()
        alive(self.writer, self.clock, connection=self.connection)

    def sync(self):
        self.writer.sync()
        self.synced = len(self.frames)

    def step(self):
        is_open = self.connection in self.writer.state.connections
        choice = self.rng.random()
        if choice < 0.6 and is_open:
            self.receive(self.rng.choice(SYMBOLS))
        elif choice < 0.7 and is_open:
            self.heartbeat()
        elif choice < 0.8:
            self.reconnect() if is_open else self.connect()
        else:
            self.sync()

    def cut(self, lines):
        """The data as it was on disk; the journal as it was written last."""
        abandon(self.writer)
        disk = self.disk.killed()
        text = bytes(disk.files[self.directory / DATA].data)
        disk.open(self.directory / DATA).truncate(sum(len(line) + 1 for line in text.split(b"\n")[:lines]))
        disk.open(self.directory / RECEIPTS).truncate(lines * RECEIPT_BYTES)
        return disk


def gaps_of(disk, directory):
    """(symbol, left, right) of every gap that the journal tells; right is None while it is open."""
    closed, state = [], JournalState()
    for line in bytes(disk.files[directory / JOURNAL].data).splitlines():
        record = decode_record(line)
        if isinstance(record, GapClosed):
            opened = state.gaps.get((record.channel, record.symbol), record)
            closed.append((record.symbol, opened.left_ns, record.right_ns))
        state.apply(record)
    return closed + [(gap.symbol, gap.left_ns, None) for gap in state.gaps.values()]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_what_is_missing_lies_in_a_gap(tmp_path_factory, seed, steps):
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("cut")
    recording = Recording(directory, rng)
    for _ in range(steps):
        recording.step()
    kept = rng.randint(recording.synced, len(recording.frames))
    disk = recording.cut(kept)
    recover(directory, clock=recording.clock, filesystem=disk)
    gaps = gaps_of(disk, directory)
    for symbol, recv_ns in recording.frames[kept:]:
        assert any(s == symbol and left < recv_ns and (right is None or recv_ns < right) for s, left, right in gaps), (
            symbol,
            (recv_ns - NOON_NS) / 1e9,
            [(s, (a - NOON_NS) / 1e9, b) for s, a, b in gaps],
        )
    assert len([1 for _, _, right in gaps if right is None]) <= len(SYMBOLS)
    after = disk.content()
    assert recover(directory, clock=recording.clock, filesystem=disk).records == []
    assert disk.content() == after


@pytest.mark.parametrize("dies_before_the_gaps", [False, True])
def test_lines_set_aside_in_the_middle_open_a_gap_there(tmp_path, dies_before_the_gaps):
    """A hole of NULs: what follows it was applied to books that lack what was in it."""
    disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
    writer = open_writer(tmp_path, clock, disk)
    start(writer, clock, symbols=SYMBOLS)
    writer.append("level3", [frame(number, NOON_NS + number) for number in range(10)])
    abandon(writer)
    length = len(payload(0)) + 1
    disk.files[tmp_path / DATA].data[4 * length + 5 : 6 * length + 5] = bytes(2 * length)
    if dies_before_the_gaps:

        class Dies(BaseException):
            pass

        real = disk.remove

        def remove(path):
            real(path)
            if path.suffix == ".repair":
                raise Dies

        disk.remove = remove
        with pytest.raises(Dies):
            recover(tmp_path, clock=clock, filesystem=disk)
        del disk.remove
    found = recover(tmp_path, clock=clock, filesystem=disk)
    assert {(g.symbol, g.left_ns) for g in found.state.gaps.values()} == {(s, NOON_NS + 3) for s in SYMBOLS}
    assert any(isinstance(r, Recovered) for r in found.records) != dies_before_the_gaps
    again = recover(tmp_path, clock=clock, filesystem=disk)
    assert again.records == []


def test_a_hole_is_forgotten_once_a_recorder_has_started_again(tmp_path):
    disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
    writer = open_writer(tmp_path, clock, disk)
    start(writer, clock, symbols=SYMBOLS)
    writer.append("level3", [frame(number, NOON_NS + number) for number in range(10)])
    abandon(writer)
    disk.files[tmp_path / DATA].data[300:320] = bytes(20)
    writer = open_writer(tmp_path, clock, disk)
    start(writer, clock, connection=2, symbols=SYMBOLS)
    for symbol in SYMBOLS:
        gap = writer.state.gaps["level3", symbol]
        where = {"at_ns": NOON_NS + 50, "channel": "level3", "symbol": symbol, "cause": gap.cause}
        writer.journal(GapClosed(**where, left_ns=gap.left_ns, right_ns=NOON_NS + 50))
    writer.append("level3", [frame(number, NOON_NS + 50 + number, connection=2) for number in range(10)])
    abandon(writer)
    found = recover(tmp_path, clock=clock, filesystem=disk)
    assert {gap.left_ns for gap in found.state.gaps.values()} == {NOON_NS + 59}


class TestRules:
    """The table at the head of the module."""

    CONNECT = Connected(at_ns=10, connection=1, url="x", channel="level3", symbols=["A/USD"])
    ACK = Acknowledged(at_ns=11, connection=1, channel="level3", symbol="A/USD")

    def left(self, records, sure_records, **end):
        state, sure = JournalState(records), JournalState(records[:sure_records])
        made = crash_records(state, sure, {"level3": StreamEnd(**end)}, at_ns=99, mono_ns=9)
        return [record.left_ns for record in made if isinstance(record, GapOpened)]

    def test_a_sure_connection_is_known_good_up_to_its_last_receipt(self):
        assert self.left([self.CONNECT, self.ACK], 2, last_ns=30, by_connection={1: 20}) == [20]

    def test_or_from_its_opening_on(self):
        assert self.left([self.CONNECT, self.ACK], 2) == [10]

    def test_a_connection_that_is_only_said_to_be_open(self):
        assert self.left([self.CONNECT, self.ACK], 0, last_ns=30, by_connection={1: 20}) == [20]
        assert self.left([self.CONNECT, self.ACK], 0, last_ns=7) == [7]
        assert self.left([self.CONNECT, self.ACK], 0, last_ns=30) == [10]
        assert self.left([self.CONNECT, self.ACK], 0) == [10]

    def test_a_gap_that_is_only_said_to_have_begun(self):
        gap = GapOpened(at_ns=60, channel="level3", symbol="A/USD", cause="network", left_ns=50, connection=1)
        records = [self.CONNECT, self.ACK, gap, Disconnected(at_ns=60, connection=1, cause="network")]
        assert self.left(records, 2, last_ns=20, by_connection={1: 20}) == [20]
        assert self.left(records, 4, last_ns=20, by_connection={1: 20}) == []
        assert self.left(records, 4, last_ns=20, by_connection={1: 20}, hole_ns=15) == [15]
        assert self.left(records, 2, last_ns=55, by_connection={1: 55}) == []

    def test_a_hand_over_that_is_only_said_is_borne_out_by_later_receipts(self):
        follower = Connected(at_ns=12, connection=2, url="x", channel="level3", symbols=["A/USD"])
        over = HandedOver(at_ns=40, channel="level3", symbol="A/USD", connection=2, matched="bytes", previous=1)
        known = Alive(at_ns=35, last_frame_ns={1: 34, 2: 35})
        records = [self.CONNECT, self.ACK, follower, known, over]
        records.append(Disconnected(at_ns=41, connection=1, cause="network"))
        assert self.left(records, 6, last_ns=39, by_connection={1: 33, 2: 39}) == [39]
        assert self.left(records, 4, last_ns=45, by_connection={1: 33, 2: 45}) == [45]
        assert self.left(records, 4, last_ns=39, by_connection={1: 33, 2: 39}) == [34]
        assert self.left(records, 4, last_ns=33, by_connection={1: 33}) == [34]
