"""Repair notes that were damaged, or made up by a stranger: refused, with nothing changed but their own name."""

import hashlib
import os

import msgspec
import pytest
from archive_scenes import DAY, NOON_NS, frame, payload, start
from disk_fakes import FakeClock, FakeFileSystem, Killed

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.journal import Recovered
from kraken_l3.archive.recovery import recover
from kraken_l3.archive.repair import MOST_UNSYNCED_BYTES
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import ArchiveError

DATA, RECEIPTS, TORN, NOTE = (f"l3-{DAY}.{suffix}" for suffix in ("ndjson", "receipts", "torn", "repair"))
JOURNAL = f"journal-{DAY}.ndjson"
RECORD = {"kind": "recovery", "at_ns": 1, "file": DATA, "torn": [], "torn_file": ""}
PLAN = {"file": DATA, "keep": 0, "tail": 0, "record": RECORD}


def note(body=b"", **fields):
    text = msgspec.json.encode({**PLAN, **fields}) + b"\n" + body
    return text + hashlib.sha256(text).digest()


@pytest.fixture
def archive(tmp_path):
    """A recording in a directory beside a file that is none of its business."""
    (tmp_path / "precious").write_bytes(b"precious\n")
    directory = tmp_path / "archive"
    clock = FakeClock(NOON_NS)
    writer = ArchiveWriter.open(directory, clock=clock)
    start(writer, clock)
    writer.append("level3", [frame(number, NOON_NS + number) for number in range(3)])
    writer.close()
    return directory


def mend(directory):
    return recover(directory, clock=FakeClock(NOON_NS), filesystem=OsFileSystem())


NUMBERS = {"keep": -1, "tail": 2**63, "torn": 2**64, "receipts_keep": 10**30, "torn_keep": 2**62}
MADE_UP = {
    "another directory": note(file="../precious"),
    "an absolute name": note(file="/tmp/precious"),
    "receipts elsewhere": note(receipts="../precious"),
    "torn elsewhere": note(b"x", torn_file="../new", torn=1),
    "a torn file of another name": note(b"x", torn_file="writer.lock", torn=1),
    "the journal as receipts": note(receipts=JOURNAL),
    "no record": note(record=None),
    "nothing": b"",
    "no JSON": b"\xff\n" + bytes(32),
    "nested": b"[" * 5000 + b"\n" + bytes(32),
    "one line without end": b"{" * 3_000_000,
    "a wrong sum": note()[:-1] + b"\0",
    "parts that do not add up": note(b"xyz", tail=2),
    "a file that would be huge": note(keep=MOST_UNSYNCED_BYTES + 10**6),
    **{f"{name} {value}": note(**{name: value, "torn_file": TORN}) for name, value in NUMBERS.items()},
}


@pytest.mark.parametrize("text", MADE_UP.values(), ids=MADE_UP)
def test_it_is_refused_and_nothing_is_changed(archive, text):
    before = {name: (archive / name).read_bytes() for name in (DATA, RECEIPTS)}
    (archive / NOTE).write_bytes(text)
    found = mend(archive)
    (record,) = (r for r in found.records if isinstance(r, Recovered))
    assert record.file == NOTE
    assert record.torn[0][:2] == (0, len(text))
    assert (archive / record.torn_file).read_bytes() == text
    assert {name: (archive / name).read_bytes() for name in (DATA, RECEIPTS)} == before
    assert (archive.parent / "precious").read_bytes() == b"precious\n"
    assert sorted(path.name for path in archive.parent.iterdir()) == ["archive", "precious"]
    assert not (archive / NOTE).exists()
    assert mend(archive).records == []


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs, and links need rights")
@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_a_note_that_is_no_file(archive, kind):
    path = archive / NOTE
    if kind == "link":
        (archive.parent / "made up").write_bytes(note())
        path.symlink_to(archive.parent / "made up")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = (archive / DATA).read_bytes()
    assert any(isinstance(r, Recovered) and r.file == NOTE for r in mend(archive).records)
    assert (archive / DATA).read_bytes() == before


@pytest.mark.parametrize("at", [0, 1, 30, 200, 400, -40, -32, -1])
def test_a_flipped_byte_costs_no_line(tmp_path, at):
    """The repair is not done; its lines are still in the data, where recovery finds them again."""

    class DiesOnceWrittenDown(FakeFileSystem):
        def rename(self, old, new):
            super().rename(old, new)
            raise Killed

    disk, clock = DiesOnceWrittenDown(), FakeClock(NOON_NS)
    writer = ArchiveWriter.open(tmp_path, clock=clock, filesystem=disk)
    writer.append("level3", [frame(number, NOON_NS + number) for number in range(3)])
    writer._lock.release()
    disk.open(tmp_path / DATA).append(b'{"torn":')
    with pytest.raises(Killed):
        recover(tmp_path, clock=clock, filesystem=disk)
    disk = disk.killed()
    disk.files[tmp_path / NOTE].data[at] ^= 1
    found = recover(tmp_path, clock=clock, filesystem=disk)
    assert [r.file for r in found.records if isinstance(r, Recovered)] == [NOTE, DATA]
    assert bytes(disk.files[tmp_path / DATA].data).split(b"\n")[:-1] == [payload(number) for number in range(3)]
    assert bytes(disk.files[tmp_path / TORN].data) == b'{"torn":'


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
@pytest.mark.parametrize("name", [DATA, RECEIPTS, JOURNAL, "disk.reserve", "writer.lock", TORN])
def test_links_are_not_followed_when_writing(archive, name):
    outside = archive.parent / "precious"
    (archive / name).unlink(missing_ok=True)
    (archive / name).symlink_to(outside)
    if name == TORN:
        with (archive / DATA).open("ab") as file:
            file.write(b'{"torn":')
    if name == "disk.reserve":  # thrown away and made again
        ArchiveWriter.open(archive, clock=FakeClock(NOON_NS)).close()
    else:
        with pytest.raises(ArchiveError, match=f"{name}.*symbolic link"):
            ArchiveWriter.open(archive, clock=FakeClock(NOON_NS))
    assert outside.read_bytes() == b"precious\n"
