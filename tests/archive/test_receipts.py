"""Receipts: packing and searching."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.receipts import (
    RECEIPT_BYTES,
    SLACK_NS,
    Receipt,
    ReceiptIndex,
    ends_of,
    pack_columns,
    pack_receipt,
    unpack_receipts,
)

HOUR_NS = 3_600 * 10**9

RECEIPTS = st.builds(
    Receipt,
    recv_ns=st.integers(0, 2**62),
    mono_ns=st.integers(0, 2**62),
    end_offset=st.integers(0, 2**62),
    connection=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 7),
)


class Bytes:
    def __init__(self, data):
        self.data = data
        self.bytes_read = 0

    def size(self):
        return len(self.data)

    def read_at(self, offset, count):
        part = self.data[offset : offset + count]
        self.bytes_read += len(part)
        return part


def index_of(times, length=10):
    packed = b"".join(pack_receipt(Receipt(t, i, length * (i + 1), 1, 0)) for i, t in enumerate(times))
    return ReceiptIndex(Bytes(packed))


def test_the_layout_is_the_documented_one():
    receipt = Receipt(1, 2, 3, 4, 5)
    assert pack_receipt(receipt) == struct.pack("<qqQII", 1, 2, 3, 4, 5)
    assert RECEIPT_BYTES == 32


@given(st.lists(RECEIPTS, min_size=1, max_size=50))
def test_packing_many_is_packing_each(receipts):
    columns = list(zip(*receipts))
    packed = pack_columns(*columns)
    assert packed == b"".join(map(pack_receipt, receipts))
    assert list(unpack_receipts(packed + b"torn")) == receipts


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(0, 1000))
def test_ends(payloads, offset):
    expected, at = [], offset
    for payload in payloads:
        at += len(payload) + 1
        expected.append(at)
    assert ends_of(payloads, offset) == expected


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(0, 2000))
def test_search_by_offset_is_exact(lengths, offset):
    ends = ends_of([b"x" * n for n in lengths], 0)
    packed = b"".join(pack_receipt(Receipt(1, 1, end, 1, 0)) for end in ends)
    index = ReceiptIndex(Bytes(packed))
    expected = next((i for i, end in enumerate(ends) if offset < end), len(ends))
    assert index.line_at_offset(offset) == expected
    for line in range(len(ends) + 1):
        assert index.start_of(line) == (ends[line - 1] if line else 0)


@given(st.lists(st.integers(-SLACK_NS // 4, HOUR_NS), min_size=1, max_size=80), st.integers(0, 90))
def test_search_by_time_finds_the_first_line_also_when_the_clock_stepped_back(steps, pick):
    highest, times, now = 0, [], 10**18
    for step in steps:
        now = max(now + step, highest - SLACK_NS + 1)  # a bigger step back is another story
        highest = max(highest, now)
        times.append(now)
    wanted = times[pick % len(times)] + (pick % 3 - 1)
    expected = next((i for i, t in enumerate(times) if t >= wanted), len(times))
    assert index_of(times).line_at_time(wanted) == expected


def test_searching_reads_little():
    source = Bytes(b"".join(pack_receipt(Receipt(10**18 + i * 10**9, i, i + 1, 1, 0)) for i in range(200_000)))
    index = ReceiptIndex(source)
    assert index.line_at_time(10**18 + 150_000 * 10**9) == 150_000
    assert source.bytes_read < 2_000_000
    source.bytes_read = 0
    assert index.line_at_offset(150_000) == 150_000
    assert source.bytes_read < 20 * RECEIPT_BYTES


def test_the_last_one_and_none():
    assert index_of([]).last() is None
    assert index_of([5, 7]).last().recv_ns == 7
    assert index_of([]).line_at_time(1) == 0


def test_a_line_that_no_file_has_is_looked_for_nowhere(tmp_path):
    path = tmp_path / "l3-2026-11-22.receipts"
    path.write_bytes(pack_receipt(Receipt(7, 7, 100, 1, 0)))
    source = PlainFile(path)
    index = ReceiptIndex(source)
    assert index.start_of(2**62) == 100
    assert list(index.read(2**62, 1)) == []
    source.close()
