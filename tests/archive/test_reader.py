"""The reader: our archives and files of others, from any place, while they grow and over midnight."""

import datetime as dt
import hashlib
from contextlib import suppress

import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, abandon, frame, payload, start, stop
from disk_fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.datafile import BEGINNING, BLOCK_BYTES, TOO_LONG, DataFile, Position, Skipped
from kraken_l3.archive.layout import DayPaths, Stream, days_in, parse_name
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import MALFORMED, RECEIPT_BYTES
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import ArchiveError, DamageFound, MalformedMessage, UsageError
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_DAY

PLAIN = f"l3-{DAY}.ndjson"


@pytest.fixture
def clock():
    return FakeClock(NOON_NS)


@pytest.fixture
def writer(tmp_path, clock):
    writer = ArchiveWriter.open(tmp_path, clock=clock)
    yield writer
    with suppress(ArchiveError):  # some of these tests change its files, which it notices
        writer.close()


def payloads(lines):
    return [line.payload for line in lines]


def foreign(tmp_path, data, name="btc.ndjson"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


class TestLayout:
    def test_names_there_and_back(self, tmp_path):
        paths = DayPaths(tmp_path, dt.date(2026, 11, 22))
        assert paths.data("level3").name == PLAIN
        assert paths.receipts("trade").name == f"trade-{DAY}.receipts"
        assert paths.data("instrument").name == f"instruments-{DAY}.ndjson"
        for path, prefix, suffix in (
            (paths.data("level3"), "l3", "ndjson"),
            (paths.torn("trade"), "trade", "torn"),
            (paths.journal, "journal", "ndjson"),
            (paths.checkpoints, "l3", "checkpoints"),
            (paths.manifest, "l3", "manifest.json"),
        ):
            assert parse_name(path.name)[:3] == (prefix, dt.date(2026, 11, 22), suffix)
        assert parse_name(PLAIN).stream is Stream.LEVEL3
        assert parse_name(f"journal-{DAY}.ndjson").stream is None

    @pytest.mark.parametrize("name", ["l3.ndjson", "l3-2026-13-01.ndjson", "xl3-2026-11-22.ndjson", "writer.lock", ""])
    def test_other_names_are_not_ours(self, name):
        assert parse_name(name) is None
        assert days_in([name]) == []


class TestOurs:
    def test_lines_come_back_with_their_receipts(self, tmp_path, writer):
        writer.append("level3", [frame(i, NOON_NS + i) for i in range(5)])
        found = list(open_archive(tmp_path).lines())
        assert payloads(found) == [payload(i) for i in range(5)]
        assert [line.number for line in found] == list(range(5))
        assert [line.receipt.recv_ns for line in found] == [NOON_NS + i for i in range(5)]
        assert [line.end_offset for line in found] == [line.receipt.end_offset for line in found]
        assert found[1].offset == found[0].end_offset

    def test_days_in_order_and_streams_apart(self, tmp_path, writer):
        writer.append("level3", [frame(i, NOON_NS + i * NS_PER_DAY) for i in range(3)])
        writer.append("trade", [frame(9, NOON_NS + 2 * NS_PER_DAY)])
        archive = open_archive(tmp_path)
        assert len(archive.days) == 3
        assert payloads(archive.lines()) == [payload(i) for i in range(3)]
        assert payloads(archive.lines("trade")) == [payload(9)]
        assert payloads(archive.lines("instrument")) == []

    def test_from_a_time(self, tmp_path, writer):
        writer.append("level3", [frame(i, NOON_NS + i * SECOND_NS) for i in range(100)])
        writer.append("level3", [frame(i, NOON_NS + NS_PER_DAY + i) for i in range(100, 103)])
        found = payloads(open_archive(tmp_path).lines(start_ns=NOON_NS + 97 * SECOND_NS))
        assert found == [payload(i) for i in range(97, 103)]

    @given(st.integers(1, 40), st.integers(0, 45), st.integers(1, 300))
    def test_any_place_is_found_and_blocks_join_to_the_file(self, tmp_path_factory, count, line, size):
        directory = tmp_path_factory.mktemp("r")
        writer = ArchiveWriter.open(directory, clock=FakeClock(NOON_NS))
        writer.append("level3", [frame(i * i, NOON_NS + i) for i in range(count)])
        writer.close()
        whole = (directory / PLAIN).read_bytes()
        with DataFile(directory / PLAIN) as ours:
            starts = [0] + [r.end_offset for r in ours.receipts.read(0, count)]
            expected = min(line, count)
            place = Position(expected, starts[expected])
            assert ours.at_line(line) == place
            assert ours.at_offset(starts[expected]) == place
            blocks = list(ours.blocks(place, size=size))
            assert b"".join(block.data for block in blocks) == whole[place.offset :]
            assert all(block.data.endswith(b"\n") for block in blocks)
            assert all(starts[block.first_line] == block.offset for block in blocks)
        bare = directory / "bare.ndjson"
        bare.write_bytes(whole)
        with DataFile(bare) as theirs:
            assert theirs.at_line(line) == place
            assert theirs.at_offset(starts[expected]) == place
            assert theirs.at_time(NOON_NS + 5) == Position()

    @pytest.mark.parametrize("last", [b"", b"x"])
    def test_a_line_far_behind_is_found_without_receipts(self, tmp_path, last):
        lines = BLOCK_BYTES // 10 * 2 + 5
        path = tmp_path / "theirs.ndjson"
        path.write_bytes(b"123456789\n" * lines + last)
        with DataFile(path) as file:
            for line in (0, 5, lines // 2, lines - 1, lines):
                assert file.at_line(line) == Position(line, 10 * line)
            assert file.at_line(lines + 9) == Position(lines + len(last), 10 * lines + len(last))

    def test_a_torn_tail_is_not_a_line(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS)])
        with (tmp_path / PLAIN).open("ab") as file:
            file.write(b'{"half')
        assert payloads(open_archive(tmp_path).lines()) == [payload(0)]

    def test_lines_without_receipts_are_still_lines(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS), frame(1, NOON_NS)])
        (tmp_path / f"l3-{DAY}.receipts").write_bytes((tmp_path / f"l3-{DAY}.receipts").read_bytes()[:40])
        found = list(open_archive(tmp_path).lines())
        assert [line.receipt is not None for line in found] == [True, False]

    def test_a_receipt_that_does_not_fit_is_not_given(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS), frame(1, NOON_NS)])
        text = (tmp_path / PLAIN).read_bytes()
        (tmp_path / PLAIN).write_bytes(text.replace(b'"n":0', b'"n":1000', 1))
        assert [line.receipt for line in open_archive(tmp_path).lines()] == [None, None]

    def test_a_carriage_return_of_kraken_stays(self, tmp_path, writer):
        writer.append("level3", [Frame(b'{"a":1}\r', NOON_NS, 1, 1)])
        assert payloads(open_archive(tmp_path).lines()) == [b'{"a":1}\r']

    def test_the_journal_is_read_as_far_as_it_is_whole(self, tmp_path, clock, writer):
        start(writer, clock)
        with (tmp_path / f"journal-{DAY}.ndjson").open("ab") as file:
            file.write(b'{"kind":"moon"}\n{"kind":"sto')
        archive = open_archive(tmp_path)
        kinds = [type(record).__name__ for record in archive.journal(archive.days[0])]
        assert kinds == ["Started", "Connected", "Acknowledged"]
        with pytest.raises(ArchiveError, match="line 3"):
            list(archive.journal(archive.days[0], strict=True))
        assert list(archive.journal(dt.date(2020, 1, 1))) == []


class TestMalformed:
    def test_strict_says_where(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS), Frame(b"oops", NOON_NS, 0, 1, MALFORMED), frame(2, NOON_NS)])
        with pytest.raises(MalformedMessage, match=rf"{PLAIN}, line 1, offset {len(payload(0)) + 1}"):
            list(open_archive(tmp_path).lines())

    def test_salvaging_counts_and_goes_on(self, tmp_path, writer):
        odd = [Frame(text, NOON_NS, 0, 1) for text in (b"oops", b"[1]", b"\xff\xfe", b'{"a":')]
        writer.append("level3", [frame(0, NOON_NS), *odd, frame(2, NOON_NS)])
        skipped = Skipped()
        assert payloads(open_archive(tmp_path).lines(skipped=skipped)) == [payload(0), payload(2)]
        assert skipped.count == 4
        assert "line 3" in str(skipped.errors[2])

    def test_unchecked_gives_every_line(self, tmp_path, writer):
        writer.append("level3", [Frame(b"oops", NOON_NS, 0, 1)])
        assert payloads(open_archive(tmp_path).lines(check=False)) == [b"oops"]

    def test_what_is_skipped_does_not_grow_without_bound(self, tmp_path):
        path = foreign(tmp_path, b"x\n" * 5000)
        skipped = Skipped()
        assert list(open_archive(path).lines(skipped=skipped)) == []
        assert (skipped.count, len(skipped.errors)) == (5000, Skipped.KEPT)


class TestForeign:
    @pytest.mark.parametrize(
        ("data", "numbers"),
        [
            (b'{"a":1}\n{"a":2}\n', [0, 1]),
            (b'{"a":1}\n{"a":2}', [0, 1]),
            (b'{"a":1}\r\n{"a":2}\r\n', [0, 1]),
            (b'\xef\xbb\xbf{"a":1}\n\n\r\n{"a":2}\n', [0, 3]),
            (b'\n{"a":1}\n\n\n{"a":2}', [1, 4]),
        ],
    )
    def test_ends_of_lines_of_all_kinds(self, tmp_path, data, numbers):
        found = list(open_archive(foreign(tmp_path, data)).lines())
        assert payloads(found) == [b'{"a":1}', b'{"a":2}']
        assert [line.number for line in found] == numbers
        assert [data[line.offset :].startswith(line.payload) for line in found] == [True, True]
        assert {line.receipt for line in found} == {None}

    def test_an_empty_file(self, tmp_path):
        assert list(open_archive(foreign(tmp_path, b"")).lines()) == []
        with DataFile(tmp_path / "btc.ndjson") as file:
            assert list(file.blocks()) == []

    def test_a_line_longer_than_a_block(self, tmp_path):
        text = b'{"a":"' + b"x" * 100_000 + b'"}\n'
        with DataFile(foreign(tmp_path, text + text)) as file:
            blocks = list(file.blocks(size=1000))
        assert b"".join(block.data for block in blocks) == text + text
        assert [block.first_line for block in blocks] == list(range(len(blocks)))

    def test_one_of_our_files_alone_has_its_companions(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS)])
        archive = open_archive(tmp_path / PLAIN)
        assert archive.days == [dt.date(2026, 11, 22)]
        assert next(iter(archive.lines())).receipt.recv_ns == NOON_NS

    def test_nothing_there_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="no such"):
            open_archive(tmp_path / "no")


class TestGrowing:
    def read(self, path, start=BEGINNING):
        with DataFile(path) as file:
            return payloads(file.lines(start, growing=True))

    def test_only_whole_lines_are_read(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS)])
        with (tmp_path / PLAIN).open("ab") as file:
            file.write(b'{"half')  # as if the writer were in the middle
        assert self.read(tmp_path / PLAIN) == [payload(0)]
        with (tmp_path / PLAIN).open("r+b") as file:
            file.truncate(len(payload(0)) + 1)
        writer.append("level3", [frame(1, NOON_NS)])
        assert self.read(tmp_path / PLAIN) == [payload(0), payload(1)]
        assert self.read(tmp_path / PLAIN, Position(1, len(payload(0)) + 1)) == [payload(1)]

    def test_a_line_counts_when_its_receipt_is_there(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS), frame(1, NOON_NS)])
        receipts = DayPaths(tmp_path, dt.date.fromisoformat(DAY)).receipts("level3")
        receipts.write_bytes(receipts.read_bytes()[:RECEIPT_BYTES])
        assert self.read(tmp_path / PLAIN) == [payload(0)]

    def test_a_file_that_became_shorter_is_said(self, tmp_path, writer):
        writer.append("level3", [frame(0, NOON_NS), frame(1, NOON_NS)])
        with DataFile(tmp_path / PLAIN) as file:
            end = Position(2, file.end(growing=True))
            (tmp_path / PLAIN).write_bytes(b"")
            with pytest.raises(ArchiveError, match="shorter"):
                list(file.blocks(end, growing=True))


def test_all_days_are_read_as_one(tmp_path, writer):
    for number in range(6):
        writer.append("level3", [frame(number, NOON_NS + number * NS_PER_DAY // 3)])
    assert payloads(open_archive(tmp_path).lines()) == [payload(number) for number in range(6)]
    assert len(open_archive(tmp_path).files()) == 3


class TestTooLong:
    """A line beyond the limit: a hole that a power cut left, or no NDJSON at all."""

    GOOD = payload(0) + b"\n"
    HOLE = bytes(5_000) + b"\n"

    def read(self, path, **how):
        with DataFile(path, line_limit=1_000) as file:
            return list(file.blocks(size=300, **how))

    @pytest.mark.parametrize("last", [HOLE, HOLE[:-1], HOLE + GOOD, HOLE + HOLE + GOOD])
    def test_it_is_passed_over_and_the_rest_is_read(self, tmp_path, last):
        content = self.GOOD * 10 + last
        path = foreign(tmp_path, content)
        digest = hashlib.sha256()
        blocks = self.read(path, digest=digest)
        assert digest.digest() == hashlib.sha256(content).digest()
        lines = content.replace(bytes(5_000), TOO_LONG[:-1])
        assert b"".join(block.data for block in blocks).rstrip(b"\n") == lines.rstrip(b"\n")
        for block in blocks:
            assert content[: block.offset].count(b"\n") == block.first_line
        with DataFile(path, line_limit=1_000) as file:
            skipped = Skipped()
            found = list(file.lines(skipped=skipped))
            assert [line.payload for line in found] == [payload(0)] * content.count(self.GOOD)
            assert skipped.count == lines.count(TOO_LONG[:-1])
            assert all(content[line.offset :].startswith(self.GOOD) for line in found)

    def test_as_the_first_line_it_is_an_error(self, tmp_path):
        for content in (self.HOLE + self.GOOD, b"\xef\xbb\xbf" + self.HOLE, self.HOLE[:-1]):
            with pytest.raises(DamageFound, match="a line longer than 1,000 bytes"):
                self.read(foreign(tmp_path, content))

    def test_nobody_waits_for_its_end_while_a_file_grows(self, tmp_path):
        with pytest.raises(DamageFound, match="a line longer than"):
            self.read(foreign(tmp_path, self.GOOD + self.HOLE[:-1]), growing=True)


def test_scenes_stop_in_order(tmp_path, clock):
    writer = ArchiveWriter.open(tmp_path / "a", clock=clock)
    start(writer, clock)
    stop(writer, clock)
    abandon(writer)
    archive = open_archive(tmp_path / "a")
    *_, last, sync = archive.journal(archive.days[0])  # the sync point is what recovery believes the stop by
    assert (type(last).__name__, type(sync).__name__) == ("Stopped", "SyncPoint")


def test_a_directory_that_is_moved_away_is_an_error_of_the_archive(tmp_path):
    foreign(tmp_path, b"{}\n")
    archive = open_archive(tmp_path)
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    for look in (archive.files, lambda: archive.days):
        with pytest.raises(ArchiveError, match="cannot be listed"):
            look()
