from array import array
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.merge.columns import LineColumns
from kraken_l3.model.frames import LinesOfText

LINES = st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), min_size=1, max_size=12)


def edges_of(lines: list[bytes], begin: int) -> "array[int]":
    return array("q", accumulate((len(line) + 1 for line in lines), initial=begin))


@given(LINES, st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.data())
def test_lines_of_a_text_are_payloads(lines, begin, offset, data):
    text = LinesOfText(b"".join(line + b"\n" for line in lines), edges_of(lines, begin))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(lines))] * 2)))
    cut = text[first:last]
    assert list(text) == lines
    assert list(cut) == lines[first:last]
    assert cut.text == b"".join(line + b"\n" for line in lines[first:last])
    assert list(cut.ends_from(offset)) == list(edges_of(lines[first:last], offset))[1:]


@given(st.lists(LINES, min_size=1, max_size=4), st.data())
def test_wrong_receipts_do_not_tell_where_lines_end(blocks, data):
    columns = LineColumns(0, 1)
    for lines in blocks:
        offset = data.draw(st.integers(0, 100))
        ends = edges_of(lines, offset)[1:]
        if data.draw(st.booleans()):
            ends = array("q", data.draw(st.lists(st.sampled_from([*ends, 0, -1, 1 << 62]), max_size=len(ends))))
        columns._add_lines(b"".join(line + b"\n" for line in lines), len(lines), ends, offset)
    everything = [line for lines in blocks for line in lines]
    numbers = range(len(everything))
    assert [columns.line(number) for number in numbers] == everything
    assert columns.lines_of(numbers) == everything
    assert columns.lines_of(numbers[::2]) == everything[::2]
