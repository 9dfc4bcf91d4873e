"""What is not looked at is named."""

import gzip
import lzma

import pytest

from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files, unread_in
from kraken_l3.archive.zstd import compress

MESSAGE = b'{"channel":"level3","type":"update","data":[{"symbol":"X/USD","checksum":1,"bids":[]}]}'
LINE = MESSAGE + b"\n"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "l3-2026-02-21.ndjson").write_bytes(LINE)
    return tmp_path


def named(directory):
    return [each.file for each in unread_files(open_archive(directory))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("theirs.ndjson", LINE),
        ("theirs.dat", b"1771632000 " + LINE),
        ("l3-2026-02-21.ndjson.bak", LINE),
        ("l3-2026-02-22-0000.ndjson", LINE),
        ("l3-2026-02-21.ndjson.gz", gzip.compress(LINE, mtime=0)),
        ("theirs.jsonl.gz", gzip.compress(LINE, mtime=0)),
        ("theirs.zst", compress(LINE)),
        ("l3-2026-02-22.ndjson.xz", lzma.compress(LINE)),
        ("notes.xz", lzma.compress(b"anything")),
    ],
)
def test_data_of_another_name_is_named(directory, name, content):
    (directory / name).write_bytes(content)
    assert named(directory) == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l3-2026-02-21-0001.ndjson", LINE),
        ("l3-2026-02-22.ndjson.gz", gzip.compress(LINE, mtime=0)),
        ("l3-2026-02-21.ndjson.zst", compress(LINE)),
        ("l3-2026-02-21.receipts", b""),
        ("journal-2026-02-21.ndjson", b'{"kind":"ack","at_ns":1,"connection":1,"channel":"level3","symbol":"X/USD"}\n'),
        ("l3-2026-02-21.torn", LINE[:50]),
        ("notes.txt", b"about level3"),
        ("recorder.log", b'{"event":"subscribed","channel":"level3"}\n'),
        ("empty.ndjson", b""),
        ("picture.png", bytes(range(256))),
        ("notes.gz", gzip.compress(b"anything", mtime=0)),
    ],
)
def test_what_is_read_or_known_or_something_else_is_not(directory, name, content):
    (directory / name).write_bytes(content)
    assert named(directory) == []


def test_directories_with_data_are_named(directory):
    (directory / "older").mkdir()
    (directory / "lobster").mkdir()
    (directory / "lobster" / "X-USD.csv").touch()
    assert named(directory) == []
    (directory / "older" / "l3-2026-01-01.ndjson").touch()
    (found,) = unread_files(open_archive(directory))
    assert str(found) == "older: a directory with data: give its name too"


def test_a_single_file_has_no_neighbours(directory):
    (directory / "theirs.ndjson").write_bytes(LINE)
    assert unread_files(open_archive(directory / "l3-2026-02-21.ndjson")) == []


def test_a_packed_copy_beside_its_file_says_which_is_read(directory):
    (directory / "l3-2026-02-21.ndjson.gz").write_bytes(gzip.compress(LINE, mtime=0))
    (found,) = unread_files(open_archive(directory))
    assert found.what == "l3-2026-02-21.ndjson is read in its place: remove one of them"


def test_lines_in_unknown_forms_are_counted(directory):
    (directory / "l3-2026-02-21.ndjson").write_bytes(LINE * 1_000 + b"[%s,%s]\n" % (MESSAGE, MESSAGE) + b"7 " + LINE)
    (directory / "l3-2026-02-22.ndjson").write_bytes(b"7 " + LINE + b"[%s,%s]\n" % (MESSAGE, MESSAGE))
    assert [(each.file, each.lines) for each in unread_in(open_archive(directory))] == [
        ("l3-2026-02-21.ndjson", 2),
        ("l3-2026-02-22.ndjson", 1),
    ]
