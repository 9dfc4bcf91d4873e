"""Sealing on a disk that dies, fails and fills up at every operation; and what a day must be before it is sealed."""

import datetime as dt
import errno
import os
import random
from pathlib import Path

import pytest
from archive_scenes import NOON_NS, SECOND_NS, abandon, frame, open_writer, payload, start, stop
from disk_fakes import FakeClock, FakeFileSystem, Killed

from kraken_l3.archive.journal import GapOpened
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.manifest import Description, decode_manifest
from kraken_l3.archive.sealing import SPARE_BYTES, close_newest_day, day_sealing, file_sealing, seal, unsealed_days
from kraken_l3.archive.zstd import UnpackedFile
from kraken_l3.errors import ArchiveError, ArchiveLocked, DamageFound, DiskFull
from kraken_l3.model.timestamps import NS_PER_DAY

DAY = dt.date(2026, 11, 22)
TODAY = dt.date(2026, 11, 23)
MIDNIGHT_NS = NOON_NS + NS_PER_DAY // 2
HERE = Path("/archive")
L3, TRADES = "l3-2026-11-22.ndjson", "trade-2026-11-22.ndjson"
MANIFEST = "l3-2026-11-22.manifest.json"


SMALL = {"frame_bytes": 300, "sync_bytes": 200}


def describe(_):
    return Description(depths={"BTC/USD": 10})


def recorded(directory, disk, *, rotated=True):
    """A day with two streams that is closed, and the beginning of the next."""
    clock = FakeClock(NOON_NS)
    writer = open_writer(directory, clock, disk)
    start(writer, clock)
    for stream in ("level3", "trade"):
        writer.append(stream, [frame(n, NOON_NS + n * SECOND_NS) for n in range(40)])
    writer.sync()
    if rotated:
        clock.now_ns = MIDNIGHT_NS
        writer.append("level3", [frame(40, MIDNIGHT_NS)])
    stop(writer, clock)
    disk.sync_directory(directory)
    return disk


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Files of a recorded day, by name."""
    disk = recorded(tmp_path_factory.mktemp("day"), FakeFileSystem())
    return {path.name: bytes(inode.data) for path, inode in disk.files.items()}


def disk_with(files, kind=FakeFileSystem, **options):
    disk = kind(**options)
    for name, data in files.items():
        file = disk.open(HERE / name)
        file.append(data)
        file.sync()
    disk.sync_directory(HERE)
    disk.steps = 0
    return disk


def seal_day(disk, describe=describe):
    return seal(day_sealing(disk, HERE, DAY), filesystem=disk, clock=FakeClock(MIDNIGHT_NS), describe=describe, **SMALL)


def content(disk, name):
    """What a reader finds: the plain file, or else what is sealed."""
    if HERE / name in disk.files:
        return bytes(disk.files[HERE / name].data)
    source = UnpackedFile(disk.open(HERE / f"{name}.zst"), name)
    try:
        return source.read_at(0, source.size())
    finally:
        source.close()


def assert_nothing_is_lost(disk, day):
    for name in (L3, TRADES):
        assert content(disk, name) == day[name]
    for name in day.keys() - {L3, TRADES}:
        assert bytes(disk.files[HERE / name].data) == day[name]


def assert_sealed(disk, day):
    names = set(disk.names(HERE))
    assert names == (set(day) - {L3, TRADES}) | {f"{L3}.zst", f"{TRADES}.zst", MANIFEST}
    assert_nothing_is_lost(disk, day)
    manifest = decode_manifest(bytes(disk.files[HERE / MANIFEST].data), HERE / MANIFEST)
    for entry in manifest.files:
        assert entry.bytes == len(disk.files[HERE / entry.name].data)
    assert unsealed_days(disk, HERE, TODAY) == []


class TestSealing:
    def test_a_day_becomes_zst_and_a_manifest(self, day):
        disk = disk_with(day)
        manifest = seal_day(disk)
        assert_sealed(disk, day)
        assert manifest.day == "2026-11-22"
        assert manifest.contains.depths == {"BTC/USD": 10}
        entry = manifest.file(f"{L3}.zst")
        assert (entry.content.bytes, entry.content.lines) == (len(day[L3]), 40)
        assert {file.name for file in manifest.files} == {
            f"{L3}.zst",
            f"{TRADES}.zst",
            "l3-2026-11-22.receipts",
            "trade-2026-11-22.receipts",
            "journal-2026-11-22.ndjson",
        }

    def test_all_is_in_place_when_it_is_described(self, day):
        disk = disk_with(day)
        seen = []
        seal_day(disk, lambda sealing: seen.append((sealing.data, disk.names(HERE))) or Description())
        [(data, names)] = seen
        assert data == [L3, TRADES]
        assert {L3, f"{L3}.zst", TRADES, f"{TRADES}.zst"} <= set(names)

    def test_again_changes_nothing(self, day):
        disk = disk_with(day)
        seal_day(disk)
        before, disk.steps = disk.content(), 0
        assert seal_day(disk) is None
        assert (disk.content(), disk.steps) == (before, 0)

    def test_a_last_line_without_newline_and_an_empty_file(self):
        disk = disk_with({L3: payload(1) + b"\n" + payload(2), TRADES: b""})
        manifest = seal_day(disk)
        assert [file.content.lines for file in manifest.files] == [2, 0]
        assert content(disk, L3) == payload(1) + b"\n" + payload(2)

    def test_a_zst_of_somebody_else_gets_a_manifest(self, day):
        disk = disk_with(day)
        seal_day(disk)
        disk.remove(HERE / MANIFEST)
        assert unsealed_days(disk, HERE, TODAY) == [DAY]
        seal_day(disk)
        assert_sealed(disk, day)

    def test_one_file_of_another_recorder(self):
        disk = disk_with({"btc.ndjson": b'{"a":1}\n'})
        manifest = seal(
            file_sealing(HERE / "btc.ndjson"), filesystem=disk, clock=FakeClock(0), describe=describe, **SMALL
        )
        assert disk.names(HERE) == ["btc.manifest.json", "btc.ndjson.zst"]
        assert manifest.day is None
        assert file_sealing(HERE / "btc.ndjson.zst") == file_sealing(HERE / "btc.ndjson")


class TestDyingAndFailing:
    def steps(self, day):
        disk = disk_with(day)
        seal_day(disk)
        return disk.steps

    def test_killed_at_any_operation_nothing_is_lost_and_the_next_finishes(self, day):
        for step in range(self.steps(day)):
            disk = disk_with(day)
            disk.dies_at = step
            with pytest.raises(Killed):
                seal_day(disk)
            after = disk.killed()
            assert_nothing_is_lost(after, day)
            seal_day(after)
            assert_sealed(after, day)

    @pytest.mark.parametrize("seed", range(8))
    def test_without_power_at_any_operation_likewise(self, day, seed):
        rng = random.Random(seed)
        for step in range(self.steps(day)):
            disk = disk_with(day)
            disk.dies_at = step
            with pytest.raises(Killed):
                seal_day(disk)
            after = disk.power_cut(rng)
            assert_nothing_is_lost(after, day)
            seal_day(after)
            assert_sealed(after, day)

    def test_killed_again_and_again_it_comes_through(self, day):
        disk = disk_with(day)
        rng = random.Random(1)
        for _ in range(200):
            disk.dies_at = disk.steps + rng.randrange(12)
            try:
                seal_day(disk)
                break
            except Killed:
                disk = disk.killed()
                assert_nothing_is_lost(disk, day)
        disk.dies_at = -1
        seal_day(disk)
        assert_sealed(disk, day)

    @pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
    def test_an_error_of_any_operation_is_said_and_costs_nothing(self, day, code):
        class Failing(FakeFileSystem):
            fails_at = -1

            def step(self):
                self.steps += 1
                if self.steps - 1 == self.fails_at:
                    raise OSError(code, os.strerror(code))

        for step in range(self.steps(day)):
            disk = disk_with(day, Failing)
            disk.fails_at = step
            with pytest.raises(DiskFull if code == errno.ENOSPC else ArchiveError, match="/archive"):
                seal_day(disk)
            assert_nothing_is_lost(disk, day)
            seal_day(disk)
            assert_sealed(disk, day)

    def test_what_reads_back_differently_is_not_kept(self, day):
        class Forgetful(FakeFileSystem):
            def open(self, path):
                file = super().open(path)
                if path.name.endswith(".tmp"):
                    file.append = lambda data: type(file).append(file, data[:-1] + bytes([data[-1] ^ 1]))
                return file

        disk = disk_with(day, Forgetful)
        with pytest.raises(ArchiveError, match="reads back differently"):
            seal_day(disk)
        assert disk.names(HERE) == sorted(day)

    def test_a_plain_file_that_still_grows_is_left_alone(self, day):
        class Growing(FakeFileSystem):
            def rename(self, old, new):
                raise AssertionError("nothing may be published")

            def sync_directory(self, directory):
                self.files[HERE / L3].data += payload(99) + b"\n"

            def open(self, path):
                file = super().open(path)
                if path.name == f"{L3}.zst.tmp":
                    file.sync = lambda: self.sync_directory(HERE)
                return file

        disk = disk_with(day, Growing)
        with pytest.raises(ArchiveError, match="still write"):
            seal_day(disk)
        assert L3 in disk.names(HERE)

    def test_a_recorder_on_the_same_disk_keeps_room(self, day):
        disk = disk_with(day, capacity=sum(map(len, day.values())) + SPARE_BYTES)
        with pytest.raises(DiskFull, match="make room"):
            seal_day(disk)
        assert disk.names(HERE) == sorted(day)


class TestTwoCopies:
    def test_a_zst_that_is_not_the_plain_file_stops_it(self, day):
        disk = disk_with(day)
        seal_day(disk)
        disk.remove(HERE / MANIFEST)
        disk.open(HERE / L3).append(day[L3][:-100] + b"x" * 99 + b"\n")
        before = disk.content()
        with pytest.raises(DamageFound, match="Nothing was removed"):
            seal_day(disk)
        assert disk.content() == before

    def test_a_plain_file_that_came_back_is_compared_and_removed(self, day):
        disk = disk_with(day)
        seal_day(disk)
        disk.open(HERE / L3).append(day[L3])
        assert unsealed_days(disk, HERE, TODAY) == [DAY]
        seal_day(disk)
        assert_sealed(disk, day)

    def test_a_manifest_that_says_something_else_stops_it(self, day):
        disk, other = disk_with(day), disk_with({**day, L3: day[L3] + payload(41) + b"\n"})
        seal_day(disk)
        seal_day(other)
        other.open(HERE / TRADES).append(day[TRADES])
        other.files[HERE / MANIFEST] = disk.files[HERE / MANIFEST]
        with pytest.raises(DamageFound, match="not the file that was sealed"):
            seal_day(other)
        assert TRADES in other.names(HERE)


class TestWhichDays:
    def test_the_day_that_is_written_is_none_of_them(self, day):
        assert unsealed_days(disk_with(day), HERE, TODAY) == [DAY]

    def test_a_day_that_was_not_left_is_left_by_who_wants_to_seal_it(self, tmp_path):
        disk = recorded(tmp_path, FakeFileSystem(), rotated=False)
        clock = FakeClock(MIDNIGHT_NS + SECOND_NS)
        assert unsealed_days(disk, tmp_path, TODAY) == []
        assert close_newest_day(disk, tmp_path, clock) == DAY
        assert unsealed_days(disk, tmp_path, TODAY) == [DAY]
        assert close_newest_day(disk, tmp_path, clock) is None

    def test_a_recorder_goes_on_after_that_in_its_own_day(self, tmp_path):
        disk = recorded(tmp_path, FakeFileSystem(), rotated=False)
        clock = FakeClock(MIDNIGHT_NS + SECOND_NS)
        close_newest_day(disk, tmp_path, clock)
        seal(day_sealing(disk, tmp_path, DAY), filesystem=disk, clock=clock, describe=describe, **SMALL)
        sealed = disk.content()
        writer = open_writer(tmp_path, clock, disk)
        assert writer.day == TODAY
        writer.append("level3", [frame(1, clock.now_ns)])
        writer.close()
        assert disk.content()["l3-2026-11-23.ndjson"] == payload(1) + b"\n"
        for name, data in sealed.items():
            if "2026-11-22" in name:
                assert disk.content()[name] == data

    def test_a_day_whose_recorder_crashed_is_repaired_first(self, tmp_path):
        disk, clock = FakeFileSystem(), FakeClock(NOON_NS)
        writer = open_writer(tmp_path, clock, disk)
        start(writer, clock)
        writer.append("level3", [frame(1, NOON_NS)])
        disk.files[tmp_path / L3].data += b'{"torn'
        abandon(writer)
        close_newest_day(disk, tmp_path, FakeClock(MIDNIGHT_NS))
        assert disk.content()[L3] == payload(1) + b"\n"
        manifest = seal(
            day_sealing(disk, tmp_path, DAY), filesystem=disk, clock=FakeClock(MIDNIGHT_NS), describe=describe
        )
        assert manifest.file("l3-2026-11-22.torn").bytes == len(b'{"torn')
        assert GapOpened.__struct_config__.tag.encode() in disk.content()["journal-2026-11-22.ndjson"]

    def test_a_sealed_day_is_closed_whatever_became_of_its_journal(self, tmp_path):
        disk = recorded(tmp_path, FakeFileSystem())
        clock = FakeClock(MIDNIGHT_NS + SECOND_NS)
        seal(day_sealing(disk, tmp_path, DAY), filesystem=disk, clock=clock, describe=describe, **SMALL)
        del disk.files[tmp_path / "journal-2026-11-22.ndjson"].data[-20:]  # it ended with `rotated`
        before = disk.content()
        close_newest_day(disk, tmp_path, FakeClock(MIDNIGHT_NS + 2 * NS_PER_DAY))
        after = disk.content()
        assert L3 not in after
        assert {name: after[name] for name in before if "22" in name} == {n: before[n] for n in before if "22" in n}

    def test_today_is_not_left(self, tmp_path):
        disk = recorded(tmp_path, FakeFileSystem(), rotated=False)
        assert close_newest_day(disk, tmp_path, FakeClock(MIDNIGHT_NS - 1)) is None

    def test_a_recorder_at_work_is_left_alone(self, tmp_path):
        disk = recorded(tmp_path, FakeFileSystem(), rotated=False)
        before = disk.content()
        lock = DirectoryLock(tmp_path)
        with pytest.raises(ArchiveLocked):
            close_newest_day(disk, tmp_path, FakeClock(MIDNIGHT_NS))
        lock.release()
        assert disk.content() == before
