"""Lines of a file: cut anywhere, without end, by the million."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.scan import CHUNK_BYTES, Range, Segment, fault_of, merge_ranges, segments


class Memory:
    def __init__(self, data):
        self.data = data

    def read_at(self, offset, count):
        return self.data[offset : offset + count]


class Small(Memory):
    """Reads come short, as a chunk's end may fall anywhere."""

    def read_at(self, offset, count):
        return self.data[offset : offset + 3]


class Zeros:
    """A hole of any size."""

    def __init__(self, size):
        self.size = size

    def read_at(self, offset, count):
        return bytes(max(0, min(count, self.size - offset)))


@given(st.text("ab\n", max_size=40).map(str.encode), st.integers(1, 10))
def test_segments_are_the_file(content, limit):
    found = list(segments(Small(content), 0, limit=limit))
    assert sum(s.length for s in found) == len(content)
    for s in found:
        text = content[s.offset : s.offset + s.length]
        assert s.whole == text.endswith(b"\n")
        assert s.data == text.rstrip(b"\n")[:limit]
        assert s.is_cut == (len(text.rstrip(b"\n")) > limit)


def test_from_an_offset_on():
    assert list(segments(Memory(b"ab\ncd\n"), 3)) == [Segment(3, b"cd", 3, whole=True)]


def test_a_hole_is_looked_at_once_and_not_kept():
    """Joining what was read before to each chunk took 50 seconds for 200 MB."""
    began = time.process_time()
    (found,) = segments(Zeros(200_000_000), 0, limit=CHUNK_BYTES)
    assert time.process_time() - began < 5
    assert (found.length, len(found.data), found.is_cut) == (200_000_000, CHUNK_BYTES, True)
    assert fault_of(found) == "NUL bytes"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"{}\n", ""),
        (b"\xef\xbb\xbf{}\n", ""),
        (b"{}", "torn"),
        (b"{\0}\n", "NUL bytes"),
        (b"[]\n", "not a JSON object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "not a JSON object"),
        (b'{"a":"' + b"x" * 400_000 + b'"}\n', "too long"),
    ],
)
def test_why_a_line_is_no_good(text, fault):
    (segment,) = segments(Memory(text), 0, limit=300_000)
    assert fault_of(segment) == fault


def test_ranges_that_touch_and_have_one_reason_are_one():
    parts = [Range(0, 2, "a"), Range(2, 3, "a"), Range(5, 1, "b"), Range(7, 1, "b")]
    assert list(merge_ranges(parts)) == [Range(0, 5, "a"), Range(5, 1, "b"), Range(7, 1, "b")]
    assert list(merge_ranges([])) == []
