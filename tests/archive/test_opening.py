"""Files as byte sources: which of plain and sealed is read, and one source read by several threads."""

import threading

import pytest

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.opening import PlainFile, content_size, existing, open_source
from kraken_l3.archive.zstd import UnpackedFile, compress
from kraken_l3.errors import ArchiveError

NUMBERED = b"".join(b"%07d\n" % number for number in range(200_000))


def unpacked(path):
    return UnpackedFile(PlainFile(path), path.name)


def running_on(path):
    return UnpackedFile(PlainFile(path), path.name, largest_frame_bytes=1)


@pytest.mark.parametrize(
    ("opened", "is_packed"),
    [(PlainFile, False), (OsFileSystem().open, False), (unpacked, True), (running_on, True)],
    ids=["plain", "file system", "by frames", "running on"],
)
def test_threads_may_share_a_source(tmp_path, opened, is_packed):
    """A position that the threads share would give one of them the other's bytes."""
    path = tmp_path / "a.ndjson"
    parts = [NUMBERED[at : at + 50_000] for at in range(0, len(NUMBERED), 50_000)]
    path.write_bytes(b"".join(compress(part) for part in parts) if is_packed else NUMBERED)
    source, wrong = opened(path), []

    def read(start, step, times):
        for turn in range(times):
            offset = (start + step * turn) % (len(NUMBERED) - 64)
            try:
                found = source.read_at(offset, 64)
            except BaseException as error:
                found = error
            if found != NUMBERED[offset : offset + 64]:
                wrong.append((offset, found))

    times = 20 if opened is running_on else 4_000 if is_packed else 20_000
    threads = [threading.Thread(target=read, args=(start, 8_191, times)) for start in range(0, 1_600_000, 200_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    assert wrong == []


def test_a_plain_file_is_read_before_its_sealed_copy(tmp_path):
    plain, sealed = tmp_path / "a.ndjson", tmp_path / "a.ndjson.zst"
    sealed.write_bytes(compress(b"sealed\n"))
    assert existing(plain) == sealed
    assert content_size(plain) == 7
    plain.write_bytes(b"plain file\n")
    assert existing(plain) == plain
    assert content_size(plain) == 11
    assert existing(tmp_path / "b.ndjson") is None


def test_more_than_there_is_may_be_asked_for(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    source = open_source(path)
    assert source.read_at(1, 1 << 50) == b"bc"
    assert source.read_at(1 << 50, 1) == b""
    source.close()


def test_what_is_not_there_cannot_be_opened(tmp_path):
    with pytest.raises(ArchiveError, match="cannot read"):
        open_source(tmp_path / "a")
