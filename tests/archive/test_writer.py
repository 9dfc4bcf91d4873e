"""The writer: bytes, receipts, days, full disks and failed syncs."""

import datetime as dt

import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, abandon, alive, frame, open_writer, payload, start, stop
from disk_fakes import FakeClock, FakeFileSystem
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.journal import Disk, GapOpened, Instruments, Rotated, SyncPoint, decode_record
from kraken_l3.archive.layout import LOCK_NAME, RESERVE_NAME
from kraken_l3.archive.receipts import MALFORMED, NEWLINE_REPLACED, unpack_receipts
from kraken_l3.archive.writer import RESERVE_BYTES
from kraken_l3.errors import ArchiveError, ArchiveLocked, DiskFull, SyncFailed
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_DAY

MIDNIGHT_NS = NOON_NS + NS_PER_DAY // 2
NEXT_DAY = "2026-11-23"


@pytest.fixture
def clock():
    return FakeClock(NOON_NS)


@pytest.fixture
def disk():
    return FakeFileSystem()


@pytest.fixture
def writer(tmp_path, clock, disk):
    writer = open_writer(tmp_path, clock, disk)
    yield writer
    abandon(writer)


def records(disk, day=DAY):
    return [decode_record(line) for line in disk.content()[f"journal-{day}.ndjson"].splitlines()]


def lines(disk, day=DAY, prefix="l3"):
    return disk.content().get(f"{prefix}-{day}.ndjson", b"").split(b"\n")[:-1]


def receipts(disk, day=DAY, prefix="l3"):
    return list(unpack_receipts(disk.content().get(f"{prefix}-{day}.receipts", b"")))


class TestBytes:
    def test_a_frame_is_a_line_and_a_receipt(self, writer, disk):
        writer.append("level3", [frame(1, NOON_NS), frame(2, NOON_NS + 5, connection=7)])
        assert lines(disk) == [payload(1), payload(2)]
        first, second = receipts(disk)
        end = len(payload(1)) + 1
        assert first == (NOON_NS, 1, end, 1, 0)
        assert second == (NOON_NS + 5, 2, 2 * end, 7, 0)

    def test_streams_have_files_of_their_own(self, writer, disk):
        writer.append("level3", [frame(1, NOON_NS)])
        writer.append("trade", [frame(2, NOON_NS)])
        writer.append("instrument", [frame(3, NOON_NS)])
        assert [lines(disk, prefix=p) for p in ("l3", "trade", "instruments")] == [[payload(n)] for n in (1, 2, 3)]

    def test_a_newline_becomes_a_space_and_is_flagged(self, writer, disk):
        writer.append("level3", [frame(1, NOON_NS), Frame(b'{"a":\n1,\n"b":2}\r', NOON_NS, 0, 1, MALFORMED)])
        assert lines(disk)[1] == b'{"a": 1, "b":2}\r'
        assert [r.flags for r in receipts(disk)] == [0, NEWLINE_REPLACED | MALFORMED]

    def test_an_empty_batch_writes_nothing(self, writer, disk):
        writer.append("level3", [])
        assert f"l3-{DAY}.ndjson" not in disk.content()

    @given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2**32 - 1), st.integers(0, 7)), max_size=30))
    def test_any_payload_comes_back(self, tmp_path_factory, frames):
        disk = FakeFileSystem()
        writer = open_writer(tmp_path_factory.mktemp("w"), FakeClock(NOON_NS), disk)
        batch = [Frame(data, NOON_NS + i, i, connection, flags) for i, (data, connection, flags) in enumerate(frames)]
        writer.append("level3", batch[:7])
        writer.append("level3", batch[7:])
        writer.close()
        assert lines(disk) == [f.payload.replace(b"\n", b" ") for f in batch]
        ends = [r.end_offset for r in receipts(disk)]
        assert ends == [sum(len(f.payload) + 1 for f in batch[: i + 1]) for i in range(len(batch))]
        assert [r.connection for r in receipts(disk)] == [f.connection for f in batch]

    def test_a_restart_on_the_same_day_appends(self, tmp_path, clock, disk):
        for number in (1, 2):
            writer = open_writer(tmp_path, clock, disk)
            start(writer, clock, connection=writer.last_connection + 1)
            writer.append("level3", [frame(number, clock.wall_ns())])
            stop(writer, clock, connection=writer.last_connection)
            clock.advance(SECOND_NS)
        assert lines(disk) == [payload(1), payload(2)]
        assert [r.end_offset for r in receipts(disk)] == [len(payload(1)) + 1, 2 * len(payload(1)) + 2]
        assert [r.connection for r in records(disk) if r.__class__.__name__ == "Connected"] == [1, 2]


class TestSync:
    def test_a_sync_point_names_what_is_on_disk(self, writer, disk, clock):
        start(writer, clock)
        writer.append("level3", [frame(1, NOON_NS)])
        writer.append("trade", [frame(2, NOON_NS)])
        writer.sync()
        size = len(payload(1)) + 1
        point = records(disk)[-1]
        assert isinstance(point, SyncPoint)
        assert point.offsets == {f"l3-{DAY}.ndjson": size, f"trade-{DAY}.ndjson": size}
        assert point.lines == {f"l3-{DAY}.ndjson": 1, f"trade-{DAY}.ndjson": 1}
        assert disk.durable_names == disk.files
        assert all(inode.durable == inode.data for inode in disk.files.values())

    def test_nothing_new_needs_no_sync_point(self, writer, disk, clock):
        writer.append("level3", [frame(1, NOON_NS)])
        writer.sync()
        before = len(records(disk))
        writer.sync()
        assert len(records(disk)) == before
        alive(writer, clock)
        writer.sync()  # a record is believed after a crash when a sync point follows it
        assert len(records(disk)) == before + 2
        assert all(inode.durable == inode.data for inode in disk.files.values())

    @pytest.mark.parametrize("name", ["l3-2026-11-22.ndjson", ".receipts", "journal-2026-11-22.ndjson"])
    def test_a_failed_sync_ends_the_writer(self, writer, disk, clock, name):
        start(writer, clock)
        writer.append("level3", [frame(1, NOON_NS)])
        disk.sync_fails_for = name
        with pytest.raises(SyncFailed, match="fsync failed"):
            writer.sync()
        disk.sync_fails_for = ""
        before = disk.content()
        for call in (
            writer.sync,
            writer.flush,
            writer.resume,
            lambda: writer.append("level3", [frame(2, NOON_NS)]),
            lambda: writer.journal(records(disk)[0]),
            lambda: writer.restart_day(NOON_NS),
        ):
            with pytest.raises(SyncFailed):
                call()
        writer.close()
        assert disk.content() == before

    def test_a_closed_writer_says_so_and_closes_once(self, writer):
        writer.close()
        writer.close()
        with pytest.raises(ArchiveError, match="closed"):
            writer.append("level3", [frame(1, NOON_NS)])


class TestDays:
    def test_midnight_splits_a_batch(self, writer, disk, clock):
        start(writer, clock)
        batch = [frame(i, MIDNIGHT_NS - 3 + i) for i in range(6)]
        writer.append("level3", batch)
        assert lines(disk) == [payload(i) for i in range(3)]
        assert lines(disk, NEXT_DAY) == [payload(i) for i in range(3, 6)]
        assert receipts(disk, NEXT_DAY)[0].end_offset == len(payload(0)) + 1
        assert records(disk)[-1] == Rotated(at_ns=NOON_NS, mono_ns=1_000, next_day=dt.date.fromisoformat(NEXT_DAY))
        assert writer.day == dt.date(2026, 11, 23)

    def test_the_day_that_is_left_is_on_disk(self, writer, disk, clock):
        start(writer, clock)
        writer.append("level3", [frame(0, MIDNIGHT_NS - 1), frame(1, MIDNIGHT_NS)])
        for path, inode in disk.files.items():
            if DAY in path.name:
                assert disk.durable_names.get(path) is inode
                assert inode.durable == inode.data

    def test_a_new_day_reads_alone(self, writer, disk, clock):
        start(writer, clock, symbols=("BTC/USD", "ETH/USD"))
        instrument = Instrument(symbol="BTC/USD", price_precision=1, qty_precision=8)
        writer.journal(Instruments(at_ns=NOON_NS, instruments=[instrument]))
        gap = GapOpened(at_ns=NOON_NS, channel="level3", symbol="ETH/USD", cause="rejected", left_ns=NOON_NS)
        writer.journal(gap)
        clock.advance(11 * 3_600 * SECOND_NS)
        alive(writer, clock)
        writer.append("level3", [frame(1, MIDNIGHT_NS)])
        restated = records(disk, NEXT_DAY)
        assert all(record.restated for record in restated)
        kinds = [type(record).__name__ for record in restated]
        assert kinds == ["Started", "Connected", "Acknowledged", "Acknowledged", "GapOpened", "Alive", "Instruments"]
        assert restated[4].left_ns == NOON_NS
        assert restated[5].last_frame_ns == {1: clock.wall_ns()}
        assert restated[6].instruments == [instrument]

    def test_a_quiet_midnight_is_passed_by_a_record(self, writer, disk, clock):
        start(writer, clock)
        clock.now_ns = MIDNIGHT_NS + 1
        alive(writer, clock)
        assert type(records(disk, NEXT_DAY)[-1]).__name__ == "Alive"
        assert f"l3-{NEXT_DAY}.ndjson" not in disk.content()

    def test_a_small_step_back_over_midnight_stays(self, writer, disk):
        writer.append("level3", [frame(0, MIDNIGHT_NS + 1)])
        writer.append("level3", [frame(1, MIDNIGHT_NS - 1800 * SECOND_NS)])
        assert lines(disk) == []
        assert lines(disk, NEXT_DAY) == [payload(0), payload(1)]
        assert receipts(disk, NEXT_DAY)[1].recv_ns == MIDNIGHT_NS - 1800 * SECOND_NS

    def test_a_big_step_back_goes_to_a_day_that_was_never_left(self, writer, disk, clock):
        clock.now_ns += 5 * NS_PER_DAY
        writer.append("level3", [frame(0, clock.now_ns)])
        clock.now_ns -= 4 * NS_PER_DAY
        writer.restart_day(clock.now_ns)
        writer.append("level3", [frame(1, clock.now_ns)])
        assert lines(disk, "2026-11-27") == [payload(0)]
        assert lines(disk, "2026-11-23") == [payload(1)]
        assert records(disk, "2026-11-27")[-1].next_day == dt.date(2026, 11, 23)

    def test_a_big_step_back_never_enters_a_day_that_was_left(self, writer, disk, clock):
        writer.append("level3", [frame(0, NOON_NS), frame(1, MIDNIGHT_NS)])
        before = disk.content()[f"l3-{DAY}.ndjson"], disk.content()[f"journal-{DAY}.ndjson"]
        writer.restart_day(MIDNIGHT_NS - 5 * 3_600 * SECOND_NS)
        writer.append("level3", [frame(2, MIDNIGHT_NS - 5 * 3_600 * SECOND_NS)])
        assert lines(disk, NEXT_DAY) == [payload(1), payload(2)]
        assert (disk.content()[f"l3-{DAY}.ndjson"], disk.content()[f"journal-{DAY}.ndjson"]) == before

    def test_a_day_left_ahead_is_passed_over(self, writer, disk, clock):
        writer.append("level3", [frame(0, NOON_NS + 2 * NS_PER_DAY)])  # the 24th, by a wrong clock
        writer.restart_day(NOON_NS + NS_PER_DAY)  # the 23rd, put right
        writer.append("level3", [frame(1, NOON_NS + 2 * NS_PER_DAY), frame(2, NOON_NS + 3 * NS_PER_DAY)])
        assert lines(disk, "2026-11-24") == [payload(0)]
        assert lines(disk, "2026-11-23") == [payload(1)]
        assert lines(disk, "2026-11-25") == [payload(2)]

    def test_a_start_after_midnight_restates_into_the_new_day(self, tmp_path, clock, disk):
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock)
        writer.append("level3", [frame(0, NOON_NS)])
        abandon(writer)
        clock.now_ns = MIDNIGHT_NS + 5
        writer = open_writer(tmp_path, clock, disk.killed())
        assert writer.day == dt.date(2026, 11, 23)
        assert [(gap.cause, gap.left_ns) for gap in writer.state.gaps.values()] == [("crash", NOON_NS)]
        writer.close()

    def test_a_start_under_a_clock_slightly_behind_stays_in_its_day(self, tmp_path, clock, disk):
        clock.now_ns = MIDNIGHT_NS + 5
        open_writer(tmp_path, clock, disk).close()
        clock.now_ns = MIDNIGHT_NS - 60 * SECOND_NS
        writer = open_writer(tmp_path, clock, disk)
        assert writer.day == dt.date(2026, 11, 23)
        writer.close()

    @given(st.lists(st.tuples(st.integers(-1800, 40_000), st.integers(1, 5)), min_size=1, max_size=25))
    def test_every_line_stands_in_one_file_whatever_the_clock_does(self, tmp_path_factory, steps):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path_factory.mktemp("w"), clock, disk)
        number, days, written = 0, [], {}
        for step_s, count in steps:
            clock.now_ns += step_s * SECOND_NS
            batch = [frame(number + i, clock.now_ns + i) for i in range(count)]
            number += count
            before = disk.content()
            writer.append("level3", batch)
            for name, content in before.items():
                if any(day.isoformat() in name for day in days[:-1]):
                    assert disk.content()[name] == content, "a closed day was written again"
            if writer.day not in days:
                days.append(writer.day)
        writer.close()
        assert days == sorted(days)
        for name, content in disk.content().items():
            if name.startswith("l3-") and name.endswith(".ndjson"):
                for line in content.split(b"\n")[:-1]:
                    written[line] = written.get(line, 0) + 1
        assert written == {payload(i): 1 for i in range(number)}


class TestFullDisk:
    def test_what_does_not_fit_is_taken_back_to_the_last_whole_line(self, tmp_path, clock):
        for room in range(0, 400):
            disk = FakeFileSystem()
            writer = open_writer(tmp_path, clock, disk)
            start(writer, clock)
            writer.append("level3", [frame(1, NOON_NS)])
            disk.capacity -= disk.room() - room
            batch = [frame(i, NOON_NS + i) for i in range(2, 5)]
            full = False
            try:
                writer.append("level3", batch)
            except DiskFull:
                full = True
            whole = lines(disk)
            kept = len(whole)
            assert whole == [payload(i) for i in range(1, kept + 1)]
            assert [r.end_offset for r in receipts(disk)] == [(len(payload(1)) + 1) * (i + 1) for i in range(kept)]
            assert writer.last_written_ns == (NOON_NS + kept if kept > 1 else NOON_NS)
            assert (writer.frames_written, writer.frames_lost) == (kept, 4 - kept)
            assert full == (kept < 4)
            if full:
                assert isinstance(records(disk)[-1], Disk)
                assert records(disk)[-1].state == "full"
            abandon(writer)

    def test_the_reserve_keeps_the_journal_writable(self, writer, disk, clock):
        start(writer, clock)
        disk.capacity -= disk.room()
        with pytest.raises(DiskFull):
            writer.append("level3", [frame(1, NOON_NS)])
        assert RESERVE_NAME not in disk.content()
        for number in range(2_000):
            gap = GapOpened(at_ns=NOON_NS, channel="level3", symbol=f"S{number}/USD", cause="disk", left_ns=NOON_NS)
            writer.journal(gap)
        assert len(writer.state.gaps) == 2_000
        writer.sync()
        with pytest.raises(DiskFull):
            writer.append("level3", [frame(1, NOON_NS)])
        assert writer.frames_lost == 2

    def test_a_full_disk_is_seen_by_the_journal_too(self, writer, disk, clock):
        disk.capacity -= disk.room()
        with pytest.raises(DiskFull):
            alive(writer, clock)
        alive(writer, clock)
        assert [type(r).__name__ for r in records(disk)] == ["Disk", "Alive"]

    def test_when_even_the_reserve_is_used_up_the_journal_stays_whole(self, writer, disk, clock):
        disk.capacity -= disk.room()
        with pytest.raises(DiskFull):
            alive(writer, clock)
        disk.capacity -= disk.room() - 30
        before = records(disk)
        with pytest.raises(DiskFull):
            alive(writer, clock)
        assert records(disk) == before

    def test_room_that_comes_back_is_noticed(self, writer, disk, clock):
        start(writer, clock)
        disk.capacity -= disk.room()
        with pytest.raises(DiskFull):
            writer.append("level3", [frame(1, NOON_NS)])
        disk.capacity += RESERVE_BYTES // 2
        assert not writer.resume()
        assert RESERVE_NAME not in disk.content()
        disk.capacity += 10 * RESERVE_BYTES
        assert writer.resume()
        assert writer.resume()
        writer.append("level3", [frame(2, NOON_NS)])
        assert lines(disk) == [payload(2)]
        assert [r.state for r in records(disk) if isinstance(r, Disk)] == ["full", "ok"]
        assert len(disk.content()[RESERVE_NAME]) == RESERVE_BYTES

    @given(st.integers(0, 6000))
    def test_a_disk_that_fills_up_at_midnight_loses_no_restatement(self, tmp_path_factory, room):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path_factory.mktemp("w"), clock, disk)
        start(writer, clock, symbols=tuple(f"S{i}/USD" for i in range(20)))
        writer.append("level3", [frame(0, NOON_NS)])
        disk.capacity -= disk.room() - room
        try:
            writer.append("level3", [frame(1, MIDNIGHT_NS), frame(2, MIDNIGHT_NS)])
        except DiskFull:
            assert writer.frames_written + writer.frames_lost == 3
            alive(writer, clock)
            disk.capacity += 1 << 30
            assert writer.resume()
            writer.append("level3", [frame(3, MIDNIGHT_NS)])
        writer.close()
        acks = {
            day: [r.symbol for r in records(disk, day) if type(r).__name__ == "Acknowledged"]
            for day in (DAY, NEXT_DAY)
            if f"journal-{day}.ndjson" in disk.content()
        }
        assert all(symbols == [f"S{i}/USD" for i in range(20)] for symbols in acks.values())
        abandon(writer)

    def test_no_room_to_start_is_said(self, tmp_path, clock):
        with pytest.raises(DiskFull):
            open_writer(tmp_path, clock, FakeFileSystem(capacity=1000))
        open_writer(tmp_path, clock, FakeFileSystem()).close()


class TestOneWriter:
    def test_a_second_writer_is_refused_and_told_by_whom(self, tmp_path, clock, disk, writer):
        import os
        import socket

        with pytest.raises(ArchiveLocked, match=f"pid {os.getpid()} on {socket.gethostname()}"):
            open_writer(tmp_path, clock, disk)
        writer.close()
        open_writer(tmp_path, clock, disk).close()

    def test_a_directory_that_cannot_be_used_is_an_error_of_ours(self, tmp_path, clock, disk):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ArchiveError):
            open_writer(tmp_path / "file", clock, disk)

    def test_an_unreadable_lock_file_does_not_hide_the_refusal(self, tmp_path, clock, disk, writer):
        (tmp_path / LOCK_NAME).write_bytes(b"garbage")
        with pytest.raises(ArchiveLocked, match="not known"):
            open_writer(tmp_path, clock, disk)
