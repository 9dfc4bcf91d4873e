"""gzip as a byte source: members, damage, bounded memory."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.gzipped import GunzippedFile, unpack
from kraken_l3.archive.opening import PlainFile, content_size, open_source
from kraken_l3.errors import DamageFound, DataMissing


class Bytes:
    """A file in memory."""

    def __init__(self, content):
        self._content = content

    def size(self):
        return len(self._content)

    def read_at(self, offset, count):
        return self._content[offset : offset + count]

    def close(self):
        pass


@given(members=st.lists(st.binary(max_size=3_000), min_size=1, max_size=4), padding=st.integers(0, 600), data=st.data())
def test_members_are_one_content_wherever_it_is_read(members, padding, data):
    content = b"".join(members)
    packed = b"".join(gzip.compress(each) + bytes(padding) for each in members)
    file = GunzippedFile(Bytes(packed), "a.gz")
    assert file.size() == len(content)
    for _ in range(3):
        offset, count = data.draw(st.integers(0, len(content) + 5)), data.draw(st.integers(0, 4_000))
        assert file.read_at(offset, count) == content[offset : offset + count]


def test_a_gzip_is_known_by_its_first_bytes(tmp_path):
    named, unnamed, plain = tmp_path / "a.ndjson.gz", tmp_path / "b.ndjson", tmp_path / "c.ndjson.gz"
    named.write_bytes(gzip.compress(b"{}\n"))
    unnamed.write_bytes(gzip.compress(b"{}\n"))
    plain.write_bytes(b"{}\n")  # a server unpacked it on the way
    for path in (named, unnamed, plain):
        assert content_size(path) == 3
        source = open_source(path)
        assert source.read_at(0, 10) == b"{}\n"
        source.close()


def test_a_gzip_stands_in_for_a_file_that_is_not_there(tmp_path):
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(b"{}\n"))
    assert content_size(tmp_path / "a.ndjson") == 3


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_one_that_ends_too_early_is_said_to_and_gives_what_came_before(cut):
    content = bytes(range(256)) * 40
    parts = unpack(Bytes(gzip.compress(content)[:-cut]), "a.gz")
    assert content.startswith(next(parts))
    with pytest.raises(DamageFound, match="ends in the middle of its gzip data"):
        list(parts)


def test_damage_is_located():
    packed = gzip.compress(bytes(range(256)) * 40)
    with pytest.raises(DamageFound, match="cannot be unpacked") as caught:
        list(unpack(Bytes(packed[:-8] + bytes(8)), "a.gz"))
    assert caught.value.where.startswith("a.gz, offset ")
    with pytest.raises(DamageFound, match="cannot be unpacked"):
        list(unpack(Bytes(packed + b"no gzip"), "a.gz"))


def test_memory_stays_bounded(tmp_path):
    path = tmp_path / "zeros.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(64):
            file.write(bytes(1024 * 1024))
    source = GunzippedFile(PlainFile(path), "zeros.gz")
    tracemalloc.start()
    assert source.size() == 64 * 1024 * 1024
    assert source.read_at(60 * 1024 * 1024, 10) == bytes(10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("magic", [b"BZh9", b"\xfd7zXZ\0", b"\x04\x22\x4d\x18", b"PK\x03\x04"])
def test_other_packers_are_named(tmp_path, magic):
    path = tmp_path / "l3-2026-11-22.ndjson"
    path.write_bytes(magic + bytes(40))
    with pytest.raises(DataMissing, match="packed in a way that is not read"):
        open_source(path)


def test_the_recorder_sees_files_as_they_stand(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b"{}\n"))
    file = OsFileSystem().open(path)
    assert file.read_at(0, 2) == b"\x1f\x8b"
    file.close()
