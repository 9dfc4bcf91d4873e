"""The port: the adapter to the operating system and the tests' fake keep the same promises."""

import errno
import os
import random
import sys
from pathlib import Path

import pytest
from disk_fakes import FakeFileSystem

from kraken_l3.archive.filesystem import OsFileSystem, PositionalReader, is_full, open_regular


@pytest.fixture(params=[OsFileSystem, FakeFileSystem])
def filesystem(request):
    return request.param()


@pytest.fixture
def file(filesystem, tmp_path):
    file = filesystem.open(tmp_path / "a")
    yield file
    file.close()


class TestBoth:
    def test_appends_and_reads_anywhere(self, file):
        file.append(b"hello ")
        file.append(b"world")
        assert file.size() == 11
        assert file.read_at(3, 5) == b"lo wo"
        assert file.read_at(8, 100) == b"rld"
        assert file.read_at(50, 1) == b""
        file.append(b"!")
        assert file.read_at(0, 100) == b"hello world!"

    def test_what_is_cut_is_gone_and_appending_goes_on_there(self, file):
        file.append(b"0123456789")
        file.truncate(4)
        file.append(b"x")
        file.sync()
        assert file.read_at(0, 100) == b"0123x"

    def test_a_file_opened_again_has_its_content(self, filesystem, file, tmp_path):
        file.append(b"abc")
        again = filesystem.open(tmp_path / "a")
        again.append(b"d")
        assert again.read_at(0, 10) == b"abcd"
        again.close()

    def test_names(self, filesystem, file, tmp_path):
        filesystem.open(tmp_path / "b").close()
        assert filesystem.names(tmp_path) == ["a", "b"]
        filesystem.rename(tmp_path / "b", tmp_path / "c")
        filesystem.remove(tmp_path / "a")
        filesystem.remove(tmp_path / "never there")
        filesystem.sync_directory(tmp_path)
        assert filesystem.names(tmp_path) == ["c"]

    def test_directories_and_room(self, filesystem, tmp_path):
        filesystem.make_directory(tmp_path / "x" / "y")
        filesystem.make_directory(tmp_path / "x" / "y")
        assert filesystem.free_bytes(tmp_path) > 0


def test_large_writes_are_whole(tmp_path):
    file = OsFileSystem().open(tmp_path / "large")
    data = random.Random(1).randbytes(20_000_000)
    file.append(data)
    assert file.read_at(0, len(data)) == data
    file.close()


def test_no_room_is_not_a_broken_disk():
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EFBIG, ""))
    assert not is_full(OSError(errno.EIO, ""))


@pytest.mark.skipif(sys.platform == "win32", reason="no links, FIFOs and devices there")
class TestOpenRegular:
    """Nothing but a regular file is opened, and nothing is written through a link."""

    @pytest.mark.parametrize("mode", ["rb", "ab", "a+b", "r+b"])
    def test_what_is_no_file_is_not_opened(self, tmp_path, mode):
        os.mkfifo(tmp_path / "fifo")  # opening it would wait for the other end
        for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(OSError, match="not a regular file"):
                open_regular(path, mode)

    def test_links_are_followed_for_reading_alone(self, tmp_path):
        (tmp_path / "file").write_bytes(b"abc")
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "file")
        with open_regular(link) as file:
            assert file.read() == b"abc"
        for mode in ("ab", "r+b"):
            with pytest.raises(OSError, match="symbolic link") as caught:
                open_regular(link, mode)
            assert caught.value.errno == errno.ELOOP

    def test_a_dangling_link_makes_no_file_elsewhere(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="link"):
            open_regular(tmp_path / "link", "ab")
        assert not (tmp_path / "elsewhere").exists()
        with pytest.raises(FileNotFoundError):
            open_regular(tmp_path / "link")

    def test_writing_makes_a_missing_file(self, tmp_path):
        with open_regular(tmp_path / "new", "ab") as file:
            file.write(b"x")
        assert (tmp_path / "new").read_bytes() == b"x"

    def test_descriptors_of_what_is_refused_are_closed(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        before = len(list(Path("/dev/fd").iterdir()))
        for _ in range(20):
            with pytest.raises(OSError, match="regular"):
                open_regular(tmp_path / "fifo", "r+b")
        assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_read_in_parts_is_whole(tmp_path):
    class SmallParts(PositionalReader):
        PART_BYTES = 7

    data = bytes(range(256))
    (tmp_path / "a").write_bytes(data)
    with open_regular(tmp_path / "a") as raw:
        reader = SmallParts(raw)
        assert reader.size() == 256
        assert reader.read_at(0, 1 << 40) == data
        assert reader.read_at(3, 14) == data[3:17]
        assert reader.read_at(250, 14) == data[250:]
        assert reader.read_at(256, 1) == b""
        assert reader.read_at(0, 0) == b""


class TestFake:
    """The fake's own promises, on which the power-cut tests stand."""

    def test_a_power_cut_keeps_what_was_synced(self, tmp_path):
        for seed in range(50):
            disk = FakeFileSystem()
            file = disk.open(tmp_path / "a")
            file.append(b"s" * 100)
            file.sync()
            disk.sync_directory(tmp_path)
            file.append(b"u" * 100)
            shown = disk.power_cut(random.Random(seed)).content()["a"]
            assert shown.startswith(b"s" * 100)
            assert set(shown[100:]) <= set(b"u\0")

    def test_a_power_cut_shows_all_kinds_of_loss(self, tmp_path):
        kinds = set()
        for seed in range(200):
            disk = FakeFileSystem()
            disk.sync_directory(tmp_path)
            disk.open(tmp_path / "a").append(b"u" * 100)
            shown = disk.power_cut(random.Random(seed)).content().get("a")
            kinds.add(
                "no file" if shown is None else "zeroes" if b"\0" in shown else "short" if len(shown) < 100 else "all"
            )
        assert kinds == {"no file", "zeroes", "short", "all"}

    def test_a_full_disk_takes_what_fits(self, tmp_path):
        disk = FakeFileSystem(capacity=10)
        file = disk.open(tmp_path / "a")
        with pytest.raises(OSError, match="No space"):
            file.append(b"x" * 20)
        assert file.size() == 10
