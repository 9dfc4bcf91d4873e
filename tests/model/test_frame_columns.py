"""Frames in columns, and payloads that stand in one text already."""

from array import array
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.frames import Frame, FrameColumns, LinesOfText, moved

PAYLOADS = st.lists(st.binary(max_size=8).map(lambda payload: payload.replace(b"\n", b" ")), min_size=1, max_size=12)


def lines_of(payloads, begin):
    edges = accumulate((len(payload) + 1 for payload in payloads), initial=begin)
    return LinesOfText(b"".join(payload + b"\n" for payload in payloads), array("q", edges))


@given(PAYLOADS, st.integers(0, 2**40), st.integers(-15, 15), st.integers(-15, 15))
def test_lines_of_a_text_are_a_sequence_of_payloads(payloads, begin, start, stop):
    lines = lines_of(payloads, begin)
    assert (len(lines), list(lines)) == (len(payloads), payloads)
    assert [lines[-n] for n in range(1, len(payloads) + 1)] == payloads[::-1]
    some = lines[start:stop]
    assert list(some) == payloads[start:stop]
    assert some.text == b"".join(payload + b"\n" for payload in payloads[start:stop])
    with pytest.raises(IndexError):
        lines[len(payloads)]
    with pytest.raises(ValueError, match="steps of 1"):
        lines[::2]


@given(PAYLOADS, st.integers(0, 2**40), st.integers(0, 2**40))
def test_lines_end_where_they_would_if_written_there(payloads, begin, offset):
    ends = accumulate((len(payload) + 1 for payload in payloads), initial=offset)
    assert list(lines_of(payloads, begin).ends_from(offset)) == list(ends)[1:]


@given(st.lists(st.integers(0, 2**61), max_size=20), st.data())
def test_moved_offsets(offsets, data):
    by = data.draw(st.integers(-min(offsets, default=0), 2**61))
    assert list(moved(array("q", offsets), by)) == [offset + by for offset in offsets]


@given(PAYLOADS, st.integers(0, 12), st.integers(0, 12))
def test_columns_are_cut_as_frames_are(payloads, begin, end):
    frames = [Frame(payload, n, n + 1, n % 3, n % 2) for n, payload in enumerate(payloads)]
    cut = FrameColumns.of(frames).cut(begin, end)
    assert list(zip(*cut)) == frames[begin:end]
