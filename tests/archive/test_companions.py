"""Companions are as untrusted as data: whatever lies beside it, the data is read, and what was passed over is told."""

import datetime as dt
import os
import struct

import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, frame, payload, start
from disk_fakes import FakeClock

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints
from kraken_l3.archive.companions import companion_damage
from kraken_l3.archive.datafile import DataFile, Position
from kraken_l3.archive.journal import Alive, Started, encode_record
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import RECEIPT_BYTES, RECEIVE_TIME_UNKNOWN
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import ArchiveError

DATA, RECEIPTS, CHECKPOINTS, MANIFEST = (
    f"l3-{DAY}.{s}" for s in ("ndjson", "receipts", "checkpoints", "manifest.json")
)
JOURNAL = f"journal-{DAY}.ndjson"
DAY_OF_IT = dt.date.fromisoformat(DAY)
LINES = [payload(number) for number in range(5)]


@pytest.fixture
def archive(tmp_path):
    clock = FakeClock(NOON_NS)
    writer = ArchiveWriter.open(tmp_path, clock=clock)
    start(writer, clock)
    writer.append("level3", [frame(number, NOON_NS + number * SECOND_NS) for number in range(5)])
    writer.close()
    append_checkpoints(tmp_path / CHECKPOINTS, [Checkpoint(line=0, end_offset=0, symbol="BTC/USD", depth=10)])
    return open_archive(tmp_path)


@pytest.mark.parametrize("at", [0, 1, 7_999, 8_000, 20_000, 25_000])
def test_a_line_of_a_long_journal_that_is_no_record(archive, at):
    """Most of a journal is decoded many lines at a time; this must not show."""
    path = archive.path / JOURNAL
    before = path.read_bytes()
    number = before.count(b"\n")
    lines = [encode_record(Alive(at_ns=NOON_NS + n, last_frame_ns={1: NOON_NS}, lines=n)) for n in range(30_000)]
    lines[at] = b'{"kind":"alive"}'
    path.write_bytes(before + b"\n".join(lines) + b"\n")
    records = [record for record in archive.journal(DAY_OF_IT) if isinstance(record, Alive)]
    assert [record.lines for record in records] == [n for n in range(30_000) if n != at]
    (damage,) = companion_damage(archive)
    offset = len(before) + sum(len(line) + 1 for line in lines[:at])
    assert (damage.file, damage.line, damage.offset) == (JOURNAL, number + at, offset)
    with pytest.raises(ArchiveError, match=rf"line {number + at}\b"):
        list(archive.journal(DAY_OF_IT, strict=True))


def told(archive):
    return [(damage.file, damage.what) for damage in companion_damage(archive)]


def test_nothing_is_wrong(archive):
    assert told(archive) == []
    assert [line.payload for line in archive.lines()] == LINES


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs")
@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "dangling link"])
@pytest.mark.parametrize("name", [JOURNAL, RECEIPTS, CHECKPOINTS, MANIFEST])
def test_a_companion_that_is_no_file(archive, name, kind):
    path = archive.path / name
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nowhere/at/all")
    if (name, kind) != (MANIFEST, "dangling link"):
        assert [file for file, _ in told(archive)] == [name]
    assert [line.payload for line in archive.lines()] == LINES
    list(archive.journal(archive.days[0]))
    if name == JOURNAL and kind != "dangling link":
        with pytest.raises(ArchiveError, match="not a regular file"):
            list(archive.journal(archive.days[0], strict=True))


@pytest.mark.parametrize("bad", [b"\xff", b'{"kind":"stop","at_ns":1,"reason":"\xff"}', b"[" * 5000, b"\0" * 100])
def test_a_bad_line_of_the_journal_costs_no_other(archive, bad):
    path = archive.path / JOURNAL
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n" + bad + b"\n" + rest)
    (damage,) = companion_damage(archive)
    assert (damage.file, damage.line, damage.offset) == (JOURNAL, 1, len(first) + 1)
    records = list(archive.journal(archive.days[0]))
    assert isinstance(records[0], Started)
    assert len(records) == first.count(b"\n") + 1 + rest.count(b"\n")


@pytest.mark.parametrize("bad", [b"\xff", b"[" * 5000, b'{"line":-1,"end_offset":0,"symbol":"A"}', b'{"line":1e30}'])
def test_a_bad_checkpoint_is_passed_over(archive, bad):
    with (archive.path / CHECKPOINTS).open("ab") as file:
        file.write(bad + b"\n")
    assert told(archive) == [(CHECKPOINTS, told(archive)[0][1])]


class TestReceipts:
    """The receipts of five lines, damaged in every way that was seen."""

    def change(self, archive, change):
        path = archive.path / RECEIPTS
        path.write_bytes(change(path.read_bytes()))

    def test_one_record_short_at_the_end(self, archive):
        self.change(archive, lambda text: text[:-RECEIPT_BYTES])
        with DataFile(archive.path / DATA) as file:
            last = file.receipts[4]
            assert (last.recv_ns, last.flags) == (NOON_NS + 3 * SECOND_NS, RECEIVE_TIME_UNKNOWN)
            assert file.at_line(5) == Position(5, sum(len(line) + 1 for line in LINES))

    def test_off_the_line_ends(self, archive):
        def shifted(text):
            records = [list(record) for record in struct.iter_unpack("<qqQII", text)]
            return b"".join(struct.pack("<qqQII", r[0], r[1], r[2] - 7, r[3], r[4]) for r in records)

        self.change(archive, shifted)
        assert told(archive) == [(RECEIPTS, told(archive)[0][1])]
        with DataFile(archive.path / DATA) as file:
            assert file.receipts is None
            assert file.at_line(3).offset == sum(len(line) + 1 for line in LINES[:3])
            assert [line.payload for line in file.lines()] == LINES

    @pytest.mark.parametrize("end", [0, 3, 2**40, 2**64 - 1])
    def test_an_end_in_the_middle_that_is_none(self, archive, end):
        self.change(archive, lambda text: text[:80] + struct.pack("<Q", end) + text[88:])
        (damage,) = companion_damage(archive)
        assert (damage.file, damage.what) == (RECEIPTS, "offsets of lines that do not rise")
        begins = [sum(len(line) + 1 for line in LINES[:number]) for number in range(6)]
        with DataFile(archive.path / DATA) as file:
            assert [file.at_line(number).offset for number in range(6)] == begins
            for offset in range(begins[5]):
                assert file.at_offset(offset).offset in begins
                assert file.at_offset(offset).offset <= offset
            assert [line.payload for line in file.lines()] == LINES

    @pytest.mark.parametrize("recv_ns", [-(2**63), 2**63 - 1, 0])
    def test_absurd_times(self, archive, recv_ns):
        self.change(archive, lambda text: text[:64] + struct.pack("<q", recv_ns) + text[72:])
        assert [line.payload for line in archive.lines()] == LINES
        for start_ns in (-(2**63), 0, NOON_NS, 2**63 - 1):
            list(archive.lines(start_ns=start_ns))

    def test_torn(self, archive):
        self.change(archive, lambda text: text + b"x")
        assert told(archive) == [(RECEIPTS, "the last receipt is torn")]
        assert companion_damage(archive, is_growing=True) == []
