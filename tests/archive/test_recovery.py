"""Recovery: a cut at every offset, kills half way through, power cuts at random moments."""

import random

import msgspec
import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, abandon, alive, frame, open_writer, payload, start, stop
from disk_fakes import FakeClock, FakeFileSystem, Killed
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.journal import Disconnected, GapOpened, JournalState, Recovered, decode_record
from kraken_l3.archive.receipts import (
    MALFORMED,
    RECEIPT_BYTES,
    RECEIVE_TIME_UNKNOWN,
    Receipt,
    pack_receipt,
    unpack_receipts,
)
from kraken_l3.archive.recovery import recover
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_DAY, day_of

DATA, RECEIPTS, JOURNAL, TORN = (f"l3-{DAY}.ndjson", f"l3-{DAY}.receipts", f"journal-{DAY}.ndjson", f"l3-{DAY}.torn")


def content(disk, name):
    return disk.content().get(name, b"")


def lines(disk, name=DATA):
    return content(disk, name).split(b"\n")[:-1]


def journal(disk, name=JOURNAL):
    return [decode_record(line) for line in lines(disk, name)]


def receipts(disk, name=RECEIPTS):
    return list(unpack_receipts(content(disk, name)))


def assert_sound(disk, data=DATA, receipts_name=RECEIPTS):
    """Whole JSON lines, a receipt for each that ends where the line ends, a journal that decodes."""
    at = 0
    found = receipts(disk, receipts_name)
    assert len(content(disk, receipts_name)) == RECEIPT_BYTES * len(found)
    text = content(disk, data)
    assert not text or text.endswith(b"\n")
    for number, line in enumerate(lines(disk, data)):
        assert isinstance(msgspec.json.decode(line), dict)
        at += len(line) + 1
        assert found[number].end_offset == at
    assert len(found) == len(lines(disk, data))
    for name in disk.content():
        assert not name.endswith((".repair", ".repair.tmp"))
        if name.startswith("journal") and name.endswith("ndjson"):
            journal(disk, name)


def kinds_of(disk):
    return [(type(r).__name__, getattr(r, "symbol", "")) for r in journal(disk) if getattr(r, "file", "") != JOURNAL]


def recording(directory, *, count=4, synced=2, symbols=("BTC/USD",)):
    """A small recording that never stopped: some lines synced, some only handed over."""
    disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
    writer = open_writer(directory, clock, disk)
    start(writer, clock, symbols=symbols)
    writer.append("level3", [frame(i, NOON_NS + i) for i in range(synced)])
    writer.sync()
    for i in range(synced, count):
        writer.append("level3", [frame(i, NOON_NS + i)])
    abandon(writer)
    return disk, clock


def mend(directory, clock, disk):
    return recover(directory, clock=clock, filesystem=disk)


class TestNothingToDo:
    def test_an_empty_directory(self, tmp_path):
        found = mend(tmp_path, FakeClock(NOON_NS), FakeFileSystem())
        assert found.day is None
        assert found.records == []

    def test_after_an_orderly_stop_nothing_changes(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock)
        writer.append("level3", [frame(1, NOON_NS)])
        stop(writer, clock)
        before = disk.content()
        found = mend(tmp_path, clock, disk)
        assert found.records == []
        assert found.last_connection == 1
        assert disk.content() == before

    def test_days_that_were_left_are_not_touched(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        writer.append("level3", [frame(0, NOON_NS), frame(1, NOON_NS + NS_PER_DAY)])
        stop(writer, clock)
        path = tmp_path / DATA
        disk.open(path).append(b"rubbish")
        mend(tmp_path, clock, disk)
        assert content(disk, DATA).endswith(b"rubbish")


class TestCrash:
    def test_connections_end_and_their_symbols_have_a_gap_from_the_last_moment_known(self, tmp_path):
        disk, clock = recording(tmp_path, symbols=("BTC/USD", "ETH/USD"))
        clock.advance(60 * SECOND_NS)
        found = mend(tmp_path, clock, disk.killed())
        gaps = [r for r in found.records if isinstance(r, GapOpened)]
        assert {(g.symbol, g.cause, g.left_ns, g.connection) for g in gaps} == {
            ("BTC/USD", "crash", NOON_NS + 3, 1),
            ("ETH/USD", "crash", NOON_NS + 3, 1),
        }
        (end,) = (r for r in found.records if isinstance(r, Disconnected))
        assert (end.connection, end.cause, end.last_frame_ns) == (1, "crash", NOON_NS + 3)
        assert found.state.connections == {}
        assert set(found.state.gaps) == {("level3", "BTC/USD"), ("level3", "ETH/USD")}

    def test_an_acknowledgement_of_another_channel_than_its_connection_s_opens_no_gap(self, tmp_path):
        disk, clock = recording(tmp_path)
        journal_file = disk.files[tmp_path / JOURNAL]
        lines_kept = [line for line in bytes(journal_file.data).split(b"\n") if b'"sync"' not in line]
        journal_file.data[:] = (
            b"\n".join(lines_kept)
            .replace(b'"ack"', b'"ack","restated":false')
            .replace(b'"channel":"level3","symbol"', b'"channel":"BTC-USD","symbol"')
        )
        assert not [r for r in mend(tmp_path, clock, disk).records if isinstance(r, GapOpened)]
        assert mend(tmp_path, clock, disk).records == []

    def test_a_sync_point_in_the_middle_of_a_line_is_not_believed(self, tmp_path):
        disk, clock = recording(tmp_path, count=2, synced=2)
        file = disk.files[tmp_path / DATA]
        file.data[5:5] = b'"grown":1,'  # the first line is longer than when it was synced
        mend(tmp_path, clock, disk)
        assert payload(1) in lines(disk)

    @pytest.mark.parametrize(("is_synced", "known_s"), [(True, 10), (False, 0)])
    def test_heartbeats_count_as_known_once_they_are_synced(self, tmp_path, is_synced, known_s):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock)
        writer.append("level3", [frame(0, NOON_NS)])
        clock.advance(10 * SECOND_NS)
        alive(writer, clock)
        if is_synced:
            writer.sync()
        abandon(writer)
        found = mend(tmp_path, clock, disk.killed())
        assert [r.left_ns for r in found.records if isinstance(r, GapOpened)] == [NOON_NS + known_s * SECOND_NS]

    def test_each_connection_has_its_own_last_moment(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock, connection=1, symbols=("BTC/USD",))
        now = {"at_ns": clock.wall_ns()}
        from kraken_l3.archive.journal import Acknowledged, Connected

        for connection, symbol in ((2, "ETH/USD"), (3, "SOL/USD")):
            writer.journal(Connected(**now, connection=connection, url="x", channel="level3", symbols=[symbol]))
            writer.journal(Acknowledged(**now, connection=connection, channel="level3", symbol=symbol))
        writer.append("level3", [frame(0, NOON_NS + 5, connection=1), frame(1, NOON_NS + 9, connection=2)])
        writer.append("level3", [frame(2, NOON_NS + 20 + i, connection=2) for i in range(9_000)])
        abandon(writer)
        found = mend(tmp_path, clock, disk.killed())
        edges = {r.symbol: r.left_ns for r in found.records if isinstance(r, GapOpened)}
        assert edges == {"BTC/USD": NOON_NS + 5, "ETH/USD": NOON_NS + 9_019, "SOL/USD": NOON_NS}
        assert found.last_connection == 3

    def test_a_gap_that_is_open_already_stays_the_one_it_is(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock)
        early = GapOpened(at_ns=NOON_NS, channel="level3", symbol="BTC/USD", cause="mismatch", left_ns=NOON_NS - 7)
        writer.journal(early)
        abandon(writer)
        found = mend(tmp_path, clock, disk.killed())
        assert [type(r) for r in found.records] == [Disconnected]
        assert found.state.gaps["level3", "BTC/USD"] == early

    def test_twice_is_once(self, tmp_path):
        disk, clock = recording(tmp_path)
        disk = disk.killed()
        disk.open(tmp_path / DATA).append(b'{"half":')
        mend(tmp_path, clock, disk)
        after = disk.content()
        clock.advance(SECOND_NS)
        assert mend(tmp_path, clock, disk).records == []
        assert disk.content() == after


class TestDamage:
    def test_a_cut_at_every_offset_of_the_data(self, tmp_path):
        whole, clock = recording(tmp_path)
        size = len(content(whole, DATA))
        for cut in range(size + 1):
            disk = whole.killed()
            disk.open(tmp_path / DATA).truncate(cut)
            mend(tmp_path, clock, disk)
            assert_sound(disk)
            complete = content(whole, DATA)[:cut].rfind(b"\n") + 1
            assert content(disk, DATA) == content(whole, DATA)[:complete]
            assert content(disk, TORN) == content(whole, DATA)[complete:cut]
            assert receipts(disk) == receipts(whole)[: len(lines(disk))]

    def test_a_cut_at_every_offset_of_the_receipts(self, tmp_path):
        whole, clock = recording(tmp_path)
        for cut in range(len(content(whole, RECEIPTS)) + 1):
            disk = whole.killed()
            disk.open(tmp_path / RECEIPTS).truncate(cut)
            mend(tmp_path, clock, disk)
            assert_sound(disk)
            assert content(disk, DATA) == content(whole, DATA)
            kept = cut // RECEIPT_BYTES
            assert receipts(disk)[:kept] == receipts(whole)[:kept]
            for receipt in receipts(disk)[kept:]:
                assert receipt.flags == RECEIVE_TIME_UNKNOWN
                assert receipt.connection == 0
                assert receipt.recv_ns == (receipts(whole)[kept - 1].recv_ns if kept else 0)

    def test_a_cut_at_every_offset_of_the_journal(self, tmp_path):
        whole, clock = recording(tmp_path)
        text = content(whole, JOURNAL)
        for cut in range(len(text) + 1):
            disk = whole.killed()
            disk.open(tmp_path / JOURNAL).truncate(cut)
            mend(tmp_path, clock, disk)
            assert_sound(disk)
            complete = text[:cut].rfind(b"\n") + 1
            assert content(disk, JOURNAL).startswith(text[:complete])
            assert content(disk, f"journal-{DAY}.torn") == text[complete:cut]
            assert content(disk, DATA) == content(whole, DATA)
            assert JournalState(journal(disk)).connections == {}

    @pytest.mark.parametrize("lost", range(4))
    def test_zeroes_in_the_middle_are_set_aside_and_the_rest_closes_up(self, tmp_path, lost):
        disk, clock = recording(tmp_path, synced=0)
        length = len(payload(0)) + 1
        inode = disk.files[tmp_path / DATA]
        inode.data[lost * length + 10 : lost * length + 30] = bytes(20)
        bad = bytes(inode.data[lost * length : (lost + 1) * length])
        before = receipts(disk)
        found = mend(tmp_path, clock, disk)
        assert_sound(disk)
        assert lines(disk) == [payload(i) for i in range(4) if i != lost]
        assert content(disk, TORN) == bad
        assert [r.recv_ns for r in receipts(disk)] == [r.recv_ns for i, r in enumerate(before) if i != lost]
        (record,) = (r for r in found.records if isinstance(r, Recovered))
        assert record.torn == [(lost * length, length, "NUL bytes")]
        assert (record.file, record.torn_file) == (DATA, TORN)
        assert (record.receipts_cut, record.receipts_padded) == (1, 0)
        assert journal(disk)[-3] == record

    def test_a_hole_over_a_newline_takes_both_lines(self, tmp_path):
        disk, clock = recording(tmp_path, synced=0)
        length = len(payload(0)) + 1
        disk.files[tmp_path / DATA].data[length - 3 : length + 3] = bytes(6)
        mend(tmp_path, clock, disk)
        assert_sound(disk)
        assert lines(disk) == [payload(2), payload(3)]
        assert len(content(disk, TORN)) == 2 * length

    def test_what_is_not_json_is_set_aside_unless_it_came_so(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        odd = Frame(b"<html>busy</html>", NOON_NS, 0, 1, MALFORMED)
        writer.append("level3", [frame(0, NOON_NS), odd, frame(1, NOON_NS)])
        abandon(writer)
        disk.open(tmp_path / DATA).append(b"[1]\nnull\n\n{}\n")
        found = mend(tmp_path, clock, disk)
        assert lines(disk) == [payload(0), odd.payload, payload(1), b"{}"]
        assert content(disk, TORN) == b"[1]\nnull\n\n"
        assert [r.flags for r in receipts(disk)] == [0, MALFORMED, 0, RECEIVE_TIME_UNKNOWN]
        assert found.records[0].receipts_padded == 1

    def test_zeroed_and_wild_receipts_do_not_stop_the_right_ones(self, tmp_path):
        disk, clock = recording(tmp_path, synced=0)
        good = receipts(disk)
        inode = disk.files[tmp_path / RECEIPTS]
        inode.data[0:32] = bytes(32)
        inode.data[64:96] = pack_receipt(Receipt(1, 2, 1 << 60, 3, 4))
        found = mend(tmp_path, clock, disk)
        assert_sound(disk)
        assert [r.flags for r in receipts(disk)] == [RECEIVE_TIME_UNKNOWN, 0, RECEIVE_TIME_UNKNOWN, 0]
        assert [receipts(disk)[1], receipts(disk)[3]] == [good[1], good[3]]
        assert (found.records[0].receipts_cut, found.records[0].receipts_padded) == (2, 2)

    def test_what_was_synced_is_not_looked_at_again(self, tmp_path):
        disk, clock = recording(tmp_path, synced=3)
        disk.files[tmp_path / DATA].data[5:9] = bytes(4)
        mend(tmp_path, clock, disk)
        assert len(lines(disk)) == 4

    def test_a_second_tear_is_put_behind_the_first(self, tmp_path):
        disk, clock = recording(tmp_path)
        for text in (b'{"a', b'{"bc'):
            disk.open(tmp_path / DATA).append(text)
            mend(tmp_path, clock, disk)
        assert content(disk, TORN) == b'{"a{"bc'

    def test_the_file_of_another_recorder_is_gone_on_with(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        disk.open(tmp_path / DATA).append(
            b"\xef\xbb\xbf" + payload(0) + b"\r\n" + payload(1) + b"\r\n" + payload(2)[:9]
        )
        writer = open_writer(tmp_path, clock, disk)
        writer.append("level3", [frame(3, NOON_NS)])
        writer.close()
        assert lines(disk) == [b"\xef\xbb\xbf" + payload(0) + b"\r", payload(1) + b"\r", payload(3)]
        assert [r.flags for r in receipts(disk)] == [RECEIVE_TIME_UNKNOWN] * 2 + [0]
        assert receipts(disk)[2].end_offset == len(content(disk, DATA))
        abandon(writer)

    def test_a_data_file_shorter_than_what_was_synced_is_looked_at_whole(self, tmp_path):
        disk, clock = recording(tmp_path, synced=4)
        disk.files[tmp_path / DATA].data[len(payload(0)) + 5 :] = b""
        mend(tmp_path, clock, disk)
        assert_sound(disk)
        assert lines(disk) == [payload(0)]

    def test_a_kind_of_record_from_the_future_is_kept(self, tmp_path):
        disk, clock = recording(tmp_path)
        future = b'{"kind":"moon_phase","at_ns":1,"phase":"full"}\n'
        disk.open(tmp_path / JOURNAL).append(future)
        mend(tmp_path, clock, disk)
        assert future in content(disk, JOURNAL)


class TestOneBadLine:
    """However one line looks, the recorder starts; the line is kept in the torn file."""

    DEEP = b"[" * 100_000 + b"]" * 100_000  # deeper than any Python follows: 3.13 takes several thousand

    @pytest.mark.parametrize(
        "line",
        [
            b'{"kind":"stop","at_ns":1,"reason":"\xff"}',
            b'{"kind":"rotated","at_ns":1,"next_day":"never"}',
            b'{"kind":"start","at_ns":1,"version":"","host":"","boot_id":"","pid":1,"config":{"a":%s}}' % DEEP,
            b'{"kind":"connect","at_ns":1,"connection":9223372036854775807,"url":"","channel":"level3","symbols":[]}',
            b'{"kind":"alive","at_ns":100000000000000000000}',
        ],
        ids=["not UTF-8", "no date", "nested", "connection", "time"],
    )
    @pytest.mark.parametrize("is_last", [False, True])
    def test_of_the_journal(self, tmp_path, line, is_last):
        disk, clock = recording(tmp_path)
        if is_last:
            disk.open(tmp_path / JOURNAL).append(line + b"\n")
        else:
            disk.files[tmp_path / JOURNAL].data[:0] = line + b"\n"
        writer = open_writer(tmp_path, clock, disk)
        writer.append("level3", [frame(4, clock.wall_ns())])
        writer.close()
        assert_sound(disk)
        assert content(disk, f"journal-{DAY}.torn") == line + b"\n"
        assert lines(disk) == [payload(number) for number in range(5)]

    def test_of_the_data(self, tmp_path):
        disk, clock = recording(tmp_path)
        deep = b'{"channel":"level3","data":%s}' % self.DEEP
        disk.open(tmp_path / DATA).append(deep + b"\n")
        writer = open_writer(tmp_path, clock, disk)
        writer.append("level3", [frame(4, clock.wall_ns())])
        writer.close()
        assert_sound(disk)
        assert content(disk, TORN) == deep + b"\n"
        assert lines(disk) == [payload(number) for number in range(5)]


class TestKilledHalfWay:
    def damaged(self, directory):
        disk, clock = recording(directory, count=6, synced=2, symbols=("BTC/USD", "ETH/USD"))
        length = len(payload(0)) + 1
        disk.files[directory / DATA].data[3 * length + 4 : 3 * length + 20] = bytes(16)
        disk.open(directory / DATA).append(b'{"torn":')
        disk.open(directory / JOURNAL).append(b'{"kind":"aliv')
        return disk.killed(), clock

    @pytest.mark.parametrize("power_cut", [False, True])
    def test_at_every_step_of_recovery(self, tmp_path, power_cut):
        """However often it is stopped, the end is the same as if it never had been."""
        smooth, clock = self.damaged(tmp_path)
        mend(tmp_path, clock, smooth)
        step, steps = 0, smooth.steps
        assert steps > 20
        for step in range(steps):
            disk, clock = self.damaged(tmp_path)
            disk.dies_at = step
            with pytest.raises(Killed):
                mend(tmp_path, clock, disk)
            disk = disk.power_cut(random.Random(step)) if power_cut else disk.killed()
            clock.advance(SECOND_NS)
            mend(tmp_path, clock, disk)
            assert_sound(disk)
            for name in (DATA, RECEIPTS, TORN):
                assert content(disk, name) == content(smooth, name), (step, name)
            # a power cut may tear the journal's new records, which recovery then writes again
            assert content(disk, f"journal-{DAY}.torn").startswith(content(smooth, f"journal-{DAY}.torn"))
            assert kinds_of(disk) == kinds_of(smooth), step
            assert JournalState(journal(disk)).connections == {}

    def test_at_every_step_of_a_rotation(self, tmp_path):
        """The new day knows what held, wherever between the two days the power went."""
        next_day_ns = NOON_NS + NS_PER_DAY

        def record(disk, directory):
            clock = FakeClock(NOON_NS)
            writer = open_writer(directory, clock, disk)
            start(writer, clock, symbols=("BTC/USD", "ETH/USD"))
            writer.append("level3", [frame(0, NOON_NS)])
            writer.sync()
            disk.marked = disk.steps
            clock.now_ns = next_day_ns
            try:
                writer.append("level3", [frame(1, next_day_ns)])
                writer.sync()
            finally:
                abandon(writer)
            return clock

        smooth = FakeFileSystem()
        record(smooth, tmp_path)
        for step in range(smooth.marked, smooth.steps):
            for seed in range(4):
                disk = FakeFileSystem()
                disk.dies_at = step
                with pytest.raises(Killed):
                    record(disk, tmp_path)
                disk = disk.power_cut(random.Random(seed)) if seed else disk.killed()
                clock = FakeClock(next_day_ns)
                found = mend(tmp_path, clock, disk)
                gaps = found.state.gaps
                assert {s for _, s in gaps} == {"BTC/USD", "ETH/USD"}, (step, seed)
                assert {g.cause for g in gaps.values()} == {"crash"}
                name = f"journal-{found.day}.ndjson"
                alone = JournalState(journal(disk, name))
                assert set(alone.gaps) == set(gaps)
                assert alone.connections == {}
                assert alone.started is not None
                assert lines(disk) == [payload(0)]
                after = disk.content()
                assert mend(tmp_path, clock, disk).records == []
                assert disk.content() == after


class TestPowerCut:
    @settings(max_examples=200)
    @given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([1, 16, 64, 512]))
    def test_what_was_synced_stays_and_the_rest_is_sound(self, tmp_path_factory, seed, steps, sector):
        rng = random.Random(seed)
        directory = tmp_path_factory.mktemp("power")
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        number = synced = 0
        writer = open_writer(directory, clock, disk)
        start(writer, clock)
        for _ in range(steps):
            clock.advance(SECOND_NS)
            choice = rng.random()
            if choice < 0.6:
                count = rng.randint(1, 5)
                writer.append("level3", [frame(number + i, clock.wall_ns()) for i in range(count)])
                number += count
            elif choice < 0.8:
                alive(writer, clock)
            else:
                writer.sync()
                synced = number
        abandon(writer)
        disk = disk.power_cut(rng, sector=sector)
        found = mend(directory, clock, disk)
        day = day_of(NOON_NS).isoformat()
        if content(disk, DATA):
            assert_sound(disk, f"l3-{day}.ndjson", f"l3-{day}.receipts")
        numbers = [msgspec.json.decode(line)["data"][0]["n"] for line in lines(disk)]
        assert numbers[:synced] == list(range(synced)), "a synced line is gone"
        assert numbers == sorted(set(numbers)), "out of order or twice"
        assert [r.mono_ns for r in receipts(disk) if not r.flags] == [
            n for n, r in zip(numbers, receipts(disk)) if not r.flags
        ]
        assert found.state.connections == {}
        if synced:
            assert found.state.gaps
        after = disk.content()
        assert mend(directory, clock, disk).records == []
        assert disk.content() == after
        again = open_writer(directory, clock, disk)
        again.append("level3", [frame(number, clock.wall_ns())])
        again.close()
        assert lines(disk)[-1] == payload(number)
        assert_sound(disk)
