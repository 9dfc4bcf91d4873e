"""The file of checkpoints: written, read whole, by its heads, and from a line backwards."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kraken_l3.archive.checkpoints import (
    Checkpoint,
    append_checkpoints,
    decode_checkpoint,
    latest_heads,
    read_checkpoint,
    read_checkpoints,
    read_heads,
)
from kraken_l3.errors import ArchiveError, MalformedMessage


def a_checkpoint(line, symbol="BTC/USD", size=10, **more):
    message = msgspec.Raw(msgspec.json.encode({"channel": "level3", "data": ["x" * size]}))
    return Checkpoint(line=line, end_offset=line * 100, symbol=symbol, depth=10, message=message, **more)


def lost(line, symbol="BTC/USD", reason="diverged"):
    return Checkpoint(line=line, end_offset=line * 100, symbol=symbol, depth=10, reason=reason)


def test_what_is_written_is_read_whole_and_by_its_heads(tmp_path):
    path = tmp_path / "l3-2026-11-22.checkpoints"
    made = [a_checkpoint(3), lost(3, "ETH/USD"), a_checkpoint(9, 'A"B/USD', amending=["O1"], newest_ns=5)]
    written = append_checkpoints(path, made[:2]) + append_checkpoints(path, made[2:])
    assert path.stat().st_size == written
    assert list(read_checkpoints(path)) == made
    heads = list(read_heads(path))
    assert [(head.line, head.symbol, head.reason, head.number) for head in heads] == [
        (3, "BTC/USD", "", 0),
        (3, "ETH/USD", "diverged", 1),
        (9, 'A"B/USD', "", 2),
    ]
    assert [read_checkpoint(path, head) for head in heads] == made
    assert read_checkpoint(path, heads[0]._replace(line=4)) is None
    assert read_checkpoint(path, heads[0]._replace(offset=1)) is None
    assert made[1].snapshot is None
    assert made[0].snapshot is not None


@example([(0, True, 11_400), (1, True, 30_000), (10, False, 0), (100, True, 23_752)], 10)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.integers(0, 30_000)), max_size=40),
    st.none() | st.integers(-1, 310),
)
def test_the_latest_before_a_line_are_those_of_all_backwards(tmp_path_factory, made, last_line):
    path = tmp_path_factory.mktemp("heads") / "l3-2026-11-22.checkpoints"
    made = sorted(made)
    append_checkpoints(path, [a_checkpoint(n, size=size) if book else lost(n) for n, book, size in made])
    wanted = [head._replace(number=-1) for head in read_heads(path) if last_line is None or head.line <= last_line]
    assert list(latest_heads(path, last_line)) == wanted[::-1]


def test_damage_costs_the_line_that_it_is_in(tmp_path):
    path = tmp_path / "l3-2026-11-22.checkpoints"
    append_checkpoints(path, [a_checkpoint(1)])
    with path.open("ab") as file:
        file.write(b'{"line": -1}\n\xff\xfe\n{"torn": ')
    append_checkpoints(path, [a_checkpoint(7)])
    assert [checkpoint.line for checkpoint in read_checkpoints(path)] == [1, 7]
    assert [head.line for head in read_heads(path)] == [1, 7]
    assert [head.line for head in latest_heads(path)] == [7, 1]
    with pytest.raises(MalformedMessage):
        decode_checkpoint(b"{}")


def test_a_line_of_another_program_is_decoded_as_a_whole(tmp_path):
    path = tmp_path / "l3-2026-11-22.checkpoints"
    path.write_bytes(b'{"symbol":"BTC/USD","message":{"data":[]},"end_offset":40,"line":2}\n')
    for heads in (list(read_heads(path)), list(latest_heads(path, 2))):
        assert [(head.line, head.end_offset, head.symbol, head.reason) for head in heads] == [(2, 40, "BTC/USD", "")]


def test_no_file_has_no_checkpoints_and_a_directory_takes_none(tmp_path):
    path = tmp_path / "none"
    assert list(read_checkpoints(path)) == list(read_heads(path)) == list(latest_heads(path)) == []
    with pytest.raises(ArchiveError, match="cannot write"):
        append_checkpoints(tmp_path, [a_checkpoint(1)])
