"""Reading ahead in a thread."""

import hashlib
import threading

import pytest

from kraken_l3.archive.datafile import BEGINNING, Position
from kraken_l3.errors import DamageFound
from kraken_l3.rebuild.readahead import ReadAhead


def written(tmp_path, lines=1_000):
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"".join(b'{"n":%d}\n' % n for n in range(lines)))
    return path


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_all_blocks_come_in_order_with_their_hash(tmp_path):
    path = written(tmp_path)
    with ReadAhead(path, BEGINNING, 100, hashed=True) as blocks:
        data = b"".join(block.data for block in blocks)
    assert data == path.read_bytes()
    assert blocks.sha256 == hashlib.sha256(data).hexdigest()


def test_it_begins_where_it_is_told(tmp_path):
    path = written(tmp_path)
    with ReadAhead(path, Position(1, 8), 100) as blocks:
        assert b"".join(block.data for block in blocks) == path.read_bytes()[8:]
    assert blocks.sha256 == ""


def test_each_block_is_looked_at_in_the_thread_before_it_is_taken(tmp_path):
    looked = []
    look = lambda block: looked.append((block.offset, threading.current_thread().name))  # noqa: E731
    with ReadAhead(written(tmp_path), BEGINNING, 100, look=look) as blocks:
        for number, block in enumerate(blocks):
            assert looked[number] == (block.offset, "read-ahead")


def test_the_thread_ends_when_nobody_reads_on(tmp_path):
    with ReadAhead(written(tmp_path), BEGINNING, 50) as blocks:
        next(iter(blocks))
    assert reading_threads() == []


def test_what_goes_wrong_while_reading_is_raised_where_blocks_are_taken(tmp_path):
    path = tmp_path / "x.ndjson.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"no frame at all")
    with pytest.raises(DamageFound), ReadAhead(path, BEGINNING, 100) as blocks:
        list(blocks)
    assert reading_threads() == []
