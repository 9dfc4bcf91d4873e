"""What the relay tells the recorder."""

import pytest

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.relay import RelayProgress, decode_relay, encode_relay


def test_one_line_there_and_back():
    told = RelayProgress(url="http://127.0.0.1:1", clients=2, received_ns=2**62)
    line = encode_relay(told)
    assert b"\n" not in line
    assert decode_relay(line) == told
    assert decode_relay(b"{}") == RelayProgress()


@pytest.mark.parametrize("line", [b"", b"no json", b"[1]", b'{"clients":"many"}', b'{"url":"\xff"}', b"[" * 100_000])
def test_what_is_no_such_line_is_one_error(line):
    with pytest.raises(MalformedMessage):
        decode_relay(line)
