"""Files that others delete, rename or change while they are written: the writer ends, and says which one it was."""

import contextlib
import shutil
import subprocess
import sys

import pytest
from archive_scenes import DAY, NOON_NS, abandon, frame
from disk_fakes import FakeClock, FakeFileSystem

from kraken_l3.archive.layout import LOCK_NAME
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.open_day import GrowingFile
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import ArchiveError, ArchiveLocked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody delete or rename an open file")

DATA, RECEIPTS, JOURNAL = f"l3-{DAY}.ndjson", f"l3-{DAY}.receipts", f"journal-{DAY}.ndjson"


def delete(path):
    path.unlink()


def rename(path):
    path.rename(path.with_name("elsewhere"))


def replace(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)


def write(path):
    with path.open("ab") as file:
        file.write(b"x")


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def writer(archive):
    writer = ArchiveWriter.open(archive, clock=FakeClock(NOON_NS))
    writer.append("level3", [frame(1, NOON_NS)])
    writer.sync()
    yield writer
    with contextlib.suppress(ArchiveError):
        writer.close()


@pytest.mark.parametrize("done", [delete, rename, replace, cut, write])
@pytest.mark.parametrize("name", [DATA, RECEIPTS, JOURNAL])
def test_the_next_sync_names_the_file(archive, writer, name, done):
    done(archive / name)
    writer.append("level3", [frame(2, NOON_NS)])
    what = "changed to" if done in (cut, write) else "deleted or renamed"
    with pytest.raises(ArchiveError, match=f"{name}: {what}") as caught:
        writer.sync()
    assert caught.value.exit_code == 5
    with pytest.raises(ArchiveError, match=name):
        writer.append("level3", [frame(3, NOON_NS)])
    writer.close()


@pytest.mark.parametrize("done", [delete, rename, replace])
def test_so_does_the_next_sync_after_the_lock_file_went(archive, writer, done):
    done(archive / LOCK_NAME)
    with pytest.raises(ArchiveError, match=f"{LOCK_NAME}: deleted or replaced"):
        writer.sync()


@pytest.mark.parametrize("done", [shutil.rmtree, rename], ids=["deleted", "renamed"])
def test_a_directory_that_went_is_found_even_when_nothing_was_written(archive, writer, done):
    done(archive)
    with pytest.raises(ArchiveError, match="deleted or renamed"):
        writer.sync()


def test_closing_finds_it_too(archive, writer):
    delete(archive / DATA)
    with pytest.raises(ArchiveError, match=DATA):
        writer.close()
    DirectoryLock(archive).release()


def test_a_full_disk_is_no_excuse(tmp_path):
    disk = FakeFileSystem()
    writer = ArchiveWriter.open(tmp_path, clock=FakeClock(NOON_NS), filesystem=disk)
    disk.capacity = 0
    with pytest.raises(ArchiveError):
        writer.append("level3", [frame(1, NOON_NS)])
    disk.capacity = 1 << 40
    disk.remove(tmp_path / JOURNAL)
    with pytest.raises(ArchiveError, match=JOURNAL):
        writer.resume()
    abandon(writer)


def test_whoever_deletes_the_lock_file_lets_nobody_in(archive, writer):
    (archive / LOCK_NAME).unlink()
    with pytest.raises(ArchiveLocked, match="another recorder writes here"):
        DirectoryLock(archive)
    code = "import sys, pathlib; from kraken_l3.archive.lock import DirectoryLock as L; L(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, archive], capture_output=True, text=True, check=False)
    assert "another recorder writes here" in done.stderr


def test_a_file_that_is_cut_back_is_as_it_was_meant_to_be(tmp_path):
    disk = FakeFileSystem()
    file = GrowingFile(disk, tmp_path / "file")
    file.append(b"whole")
    disk.capacity = 7
    with pytest.raises(OSError, match="No space"):
        file.append(b"too much")
    with pytest.raises(ArchiveError, match="changed to 7 bytes from 5"):
        file.require_intact()
    file.cut(5)
    file.require_intact()
