"""Level3 messages in other recorders' envelopes."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.datafile import DataFile, Skipped
from kraken_l3.archive.envelope import LEFT_OUT, count_wrapped, is_wrapped, unwrap_lines

MESSAGE = b'{"channel":"level3","type":"update","data":[{"symbol":"X/USD","checksum":1,"bids":[],"qty":1.50}]}'
SPACED = MESSAGE.replace(b":", b": ").replace(b",", b", ")
AS_OBJECT = SPACED.replace(b"[{", b"{", 1).replace(b"}]}", b"}}")

READ = {
    "a time in seconds": b"1771632000.123 " + MESSAGE,
    "an RFC 3339 time and a tab": b"2026-02-21T00:00:00Z\t" + MESSAGE,
    "a time behind it": MESSAGE + b" 1771632000",
    "CSV": b'1771632000,conn1,"%s",7' % MESSAGE.replace(b'"', b'""'),
    "as Python prints bytes": b"1771632000 b'%s'" % MESSAGE,
    "a line of a log": b"[2026-02-21 00:00:00,123] INFO kraken: " + MESSAGE,
    "ts and msg": b'{"ts":1771632000123,"msg":%s}' % MESSAGE,
    "a raw frame": json.dumps({"ts": 1771632000.1, "raw_frame": MESSAGE.decode()}).encode(),
    "rx_ns and frame": json.dumps({"rx_ns": 1771632000123456789, "frame": MESSAGE.decode()}).encode(),
    "an envelope in an envelope": b'{"at":1,"event":{"conn":2,"payload":%s}}' % MESSAGE,
    "a channel of its own": b'{"channel":"book-feed","data":%s}' % MESSAGE,
    "an array of one": b"[%s]" % MESSAGE,
    "time and message in an array": b"[1771632000, %s]" % MESSAGE,
    "a list of one message": b'{"ts":1,"messages":[%s]}' % MESSAGE,
    "an element of a long array": MESSAGE + b",",
    "the last element of a long array": MESSAGE + b"]",
    "data as an object": AS_OBJECT,
    "data as an object in an envelope": b'{"received":1771632000,"msg":%s}' % AS_OBJECT.replace(b" ", b""),
}
LEFT = {
    "an array of several": b"[%s,%s]" % (MESSAGE, MESSAGE),
    "a list of several": b'{"ts":1,"messages":[%s,%s]}' % (MESSAGE, MESSAGE),
    "data as an object without a blank": AS_OBJECT.replace(b" ", b""),
}
OTHERS = [
    MESSAGE,
    SPACED,
    MESSAGE + b"\r",
    b"  " + MESSAGE,
    MESSAGE[:50],
    b"1771632000 " + MESSAGE[:80],
    b"1771632000 " + MESSAGE[:-4],
    MESSAGE + b"x",
    MESSAGE + b"\0\0\0",
    MESSAGE + MESSAGE[:30],
    b"",
    b"   ",
    b"\xff\xfe",
    b"[1, 2]",
    b'{"channel":"heartbeat"}',
    b'{"method":"subscribe","result":{"channel":"level3","symbol":"X/USD"},"success":true}',
    b"[" * 5_000,
    b'{"a":' * 5_000,
]


@pytest.mark.parametrize("line", READ.values(), ids=READ.keys())
def test_the_message_is_taken_out(line):
    shown, left_out = unwrap_lines(line)
    assert (len(shown), left_out) == (len(line), 0)
    assert shown.rstrip().replace(b" ", b"") == MESSAGE  # digits as they were: 1.50
    # what begins like a message and goes on behind it is malformed for an engine: nobody passes over it
    assert count_wrapped(line) == (not line.startswith(MESSAGE))
    assert is_wrapped([b"", line])


@pytest.mark.parametrize("line", LEFT.values(), ids=LEFT.keys())
def test_what_cannot_be_taken_out_is_left_out_and_counted(line):
    shown, left_out = unwrap_lines(line)
    assert (len(shown), shown.rstrip(), left_out) == (len(line), LEFT_OUT, 1)
    assert count_wrapped(line) == 1
    assert is_wrapped([line])


@pytest.mark.parametrize("line", OTHERS)
def test_all_else_stays_as_it_is(line):
    assert unwrap_lines(line) == (line, 0)
    assert count_wrapped(line) == 0
    assert not is_wrapped([line])


def test_brackets_of_an_array_over_many_lines_become_blank_lines():
    array = b"[\n%s,\n%s\n]\n" % (MESSAGE, MESSAGE)
    assert unwrap_lines(array) == (b" \n%s \n%s\n \n" % (MESSAGE, MESSAGE), 0)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(lines=st.lists(values.map(lambda v: json.dumps(v).encode()) | st.binary(max_size=30), max_size=6))
def test_lines_keep_their_number_and_their_length(lines):
    lines = [line.replace(b"\n", b"") for line in lines] + [MESSAGE]
    shown, _ = unwrap_lines(b"\n".join(lines))
    assert [len(line) for line in shown.split(b"\n")] == [len(line) for line in lines]


@given(around=st.dictionaries(st.text(max_size=5), values, max_size=4), key=st.text(min_size=6, max_size=9))
def test_any_envelope_with_one_message_gives_it(around, key):
    text = {**around, key: msgspec.Raw(MESSAGE)}
    shown, left_out = unwrap_lines(msgspec.json.encode(text))
    assert (shown.rstrip(), left_out) == (MESSAGE, 0)
    as_string = {**around, key: MESSAGE.decode()}
    shown, left_out = unwrap_lines(msgspec.json.encode(as_string))
    assert (shown.rstrip(), left_out) == (MESSAGE, 0)


def test_a_file_of_envelopes_is_read_as_one_of_messages(tmp_path):
    path = tmp_path / "theirs.ndjson"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join([*READ.values(), *LEFT.values(), MESSAGE[:60]]))
    with DataFile(path) as file:
        blocks = list(file.blocks())
        assert sum(block.left_out for block in blocks) == len(LEFT)
        assert sum(len(block.data) for block in blocks) == path.stat().st_size - 3
        skipped = Skipped()
        lines = list(file.lines(skipped=skipped))
        assert [line.payload.replace(b" ", b"") for line in lines] == [MESSAGE] * len(READ)
        assert [line.number for line in lines] == list(range(len(READ)))
        assert (skipped.count, skipped.errors[0].where.split(", ")[1]) == (1, f"line {len(READ) + len(LEFT)}")
        assert file.at_line(2).offset == 3 + sum(len(line) + 1 for line in [*READ.values()][:2])


def test_a_first_message_longer_than_the_head_is_seen(tmp_path):
    path = tmp_path / "theirs.ndjson"
    long = MESSAGE.replace(b'"bids":[]', b'"bids":[%s]' % b",".join([b'{"order_id":"O"}'] * 20_000))
    path.write_bytes(b"12.5 %s\n" % long)
    with DataFile(path) as file:
        (line,) = file.lines()
    assert line.payload == long
