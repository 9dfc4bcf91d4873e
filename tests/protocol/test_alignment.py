import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.exchange.flow.generate import generate
from kraken_l3.protocol.alignment import anchors, identity_of, time_of

LINES = list(generate(symbols=["BTC/USD"], messages=40, seed=3))


def rewritten(line: bytes) -> bytes:
    """The same message with its keys and entries in another order, and quantities as other programs write them."""
    message = json.loads(line, parse_float=str)
    data = message["data"][0]
    for side in ("bids", "asks"):
        data[side] = [dict(reversed(list(order.items()))) for order in reversed(data[side])]
    data = dict(reversed(list(data.items())))
    return json.dumps({"data": [data], "type": message["type"], "channel": "level3"}).encode()


@pytest.mark.parametrize("line", LINES)
def test_key_order_and_number_text_do_not_matter(line):
    other = rewritten(line)
    assert other != line
    assert identity_of(other) == identity_of(line)
    assert time_of(other) == time_of(line) > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"order_qty":', b'"order_qty":1'),
        (b'"event":"add"', b'"event":"modify"'),
        (b'"checksum":', b'"checksum":1'),
        (b'"timestamp":"2026', b'"timestamp":"2027'),
        (b'"symbol":"BTC', b'"symbol":"XTC'),
    ],
)
def test_content_matters(old, new):
    line = next(line for line in LINES[1:] if old in line)
    assert identity_of(line.replace(old, new)) != identity_of(line)


def test_numbers_are_the_same_however_they_are_written():
    line = b'{"channel":"level3","type":"update","data":[{"symbol":"A/B","bids":[{"order_qty":%s}]}]}'
    assert len({identity_of(line % text) for text in (b"0.50", b'"0.5"', b"5e-1", b"0.500")}) == 1
    assert identity_of(line % b"0.5") != identity_of(line % b"0.05")


def test_the_timestamp_can_be_left_out():
    line, later = LINES[1], LINES[1].replace(b'"timestamp":"2026-01-02T03:04:05', b'"timestamp":"2026-01-02T03:04:06')
    last = line.rindex(b'"timestamp"')
    later = line[:last] + line[last:].replace(b"03:04:05", b"03:04:06")
    one, other = identity_of(line), identity_of(later)
    assert one != other
    assert one.untimed() == other.untimed()


@pytest.mark.parametrize("line", [b"", b"torn", b'{"channel":"heartbeat"}', b'{"channel":"level3","type":"update"}'])
def test_what_is_no_message_is_its_bytes(line):
    assert identity_of(line) == line
    assert time_of(line) == 0


@given(st.lists(st.booleans(), min_size=30, max_size=30), st.lists(st.booleans(), min_size=30, max_size=30))
def test_runs_of_one_stream_share_all_that_both_have(in_one, in_other):
    one = [n // 2 for n in range(30) if in_one[n]]  # each stands there twice
    other = [n // 2 for n in range(30) if in_other[n]]
    pairs = anchors(one, other)
    assert all(one[i] == other[j] for i, j in pairs)
    assert len(pairs) == sum(min(one.count(n), other.count(n)) for n in range(15))
    assert pairs == sorted(pairs)
    assert [j for _, j in pairs] == sorted({j for _, j in pairs})


def test_what_stands_in_another_order_is_shared_once():
    assert anchors("abcde", "abdce") in ([(0, 0), (1, 1), (2, 3), (4, 4)], [(0, 0), (1, 1), (3, 2), (4, 4)])
    assert anchors("abc", "xyz") == []
