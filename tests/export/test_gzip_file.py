"""Gzip files packed in pieces beside the caller."""

import gzip
import random
import zlib

import pytest

from kraken_l3.export.formats.gzip_file import GzipFile
from kraken_l3.export.storage import LocalStore


def packed(directory, parts):
    file = GzipFile(LocalStore(directory), "a.gz", b"head\n")
    for part in parts:
        file.write(part)
    assert file.publish() == "a.gz"
    return (directory / "a.gz").read_bytes()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 3_500_000])
def test_it_is_one_member_of_the_same_bytes_however_the_text_came(tmp_path, size):
    generator = random.Random(size)
    text = generator.randbytes(size // 10) * 10
    content = packed(tmp_path, [text])
    assert gzip.decompress(content) == b"head\n" + text
    member = zlib.decompressobj(31)
    assert member.decompress(content) == b"head\n" + text
    assert (member.eof, member.unused_data) == (True, b"")
    cuts = sorted(generator.randrange(len(text) + 1) for _ in range(20))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)])]
    assert packed(tmp_path, parts) == content


def test_what_is_abandoned_leaves_nothing(tmp_path):
    file = GzipFile(LocalStore(tmp_path), "a.gz", b"head\n")
    file.write(bytes(5_000_000))
    file.abandon()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_told(tmp_path):
    file = GzipFile(LocalStore(tmp_path), "a.gz", b"head\n")
    file._output.file.close()
    file._output.file = open("/dev/full", "wb")  # noqa: PTH123, SIM115
    with pytest.raises(OSError, match="No space left"):
        file.write(random.Random(1).randbytes(10 << 20))
    file.abandon()
    assert not list(tmp_path.iterdir())
