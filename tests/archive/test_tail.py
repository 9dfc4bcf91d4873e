"""The new lines of a file that grows."""

import os

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.tail import Tail


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_looks_at_any_moment_give_each_whole_line_once(tmp_path_factory, pieces):
    path, tail, seen = tmp_path_factory.mktemp("tail") / "file", Tail(), []
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece.replace(b"\r", b"\n"))
            seen += tail.lines(path)
    whole = path.read_bytes()
    assert seen == whole[: whole.rfind(b"\n") + 1].splitlines()
    tail.close()


def test_what_is_no_file_has_no_lines_until_it_is_one(tmp_path):
    path, tail = tmp_path / "file", Tail()
    assert tail.lines(path) == []
    os.mkfifo(path)
    assert tail.lines(path) == []  # and does not wait for a writer
    path.unlink()
    path.write_bytes(b"one\ntw")
    assert tail.lines(path) == [b"one"]
    tail.close()


def test_another_file_is_read_from_its_beginning(tmp_path):
    one, other, tail = tmp_path / "one", tmp_path / "other", Tail()
    one.write_bytes(b"1\n")
    other.write_bytes(b"2\n3\n")
    assert tail.lines(one) == [b"1"]
    assert tail.lines(other) == [b"2", b"3"]
    assert tail.lines(other) == []
    assert tail.lines(one) == [b"1"]
    tail.close()
