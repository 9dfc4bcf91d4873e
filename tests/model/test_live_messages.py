"""What recorder and verifier say to each other."""

import pytest

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.live import ResyncRequest, VerifierFinding, VerifierProgress, decode_live, encode_live


@pytest.mark.parametrize(
    "message",
    [
        ResyncRequest("BTC/USD", "mismatch", 1_790_000_000_000_000_000),
        VerifierFinding("BTC/USD", "mismatch", 7, 1234, "", 4_294_967_295, 0),
        VerifierProgress("l3-2026-11-22.ndjson", 7, 1234, 7, 6, 1, 2, ["BTC/USD"], 1_790_000_000_000_000_000),
    ],
)
def test_a_message_is_one_line_and_comes_back(message):
    line = encode_live(message)
    assert b"\n" not in line
    assert decode_live(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"nonsense",
        b'{"type":"resync","symbol":"\xff","cause":""}',
        b"[" * 5_000,
        b'{"type":"resync"}',
        b'{"type":"other","symbol":"A/B"}',
    ],
)
def test_a_line_that_is_none_of_them_is_refused(line):
    with pytest.raises(MalformedMessage):
        decode_live(line)
