"""Messages from bytes: number text stays exact, key order is free, and nothing but the right error comes out."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import decode_instruments, decode_level3, decode_trades, latest_time_ns

TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,"qty":0.00027625,'
    b'"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
)
INSTRUMENTS = (
    b'{"type":"snapshot","channel":"instrument","data":{"assets":[{"id":"BTC"}],"pairs":[{"symbol":"X/USD",'
    b'"price_precision":8,"price_increment":1E-8,"qty_precision":5,"qty_increment":"0.00001","status":"post_only"}]}}'
)


def text(raw):
    return bytes(raw).decode()


@pytest.mark.parametrize("number", ["0.10", "1e-05", "1E-8", '"0.00040000"', "0E0", "75623.0", "7", "-3", "null"])
def test_number_text_is_kept(number):
    line = f'{{"data":[{{"symbol":"A","bids":[{{"order_qty":{number}}}]}}],"type":"update","channel":"level3"}}'
    (data,) = decode_level3(line.encode()).data
    assert text(data.bids[0].order_qty) == number
    assert text(data.bids[0].limit_price) == ""
    assert data.asks is None


@given(
    st.permutations(["channel", "type", "data"]), st.permutations(["symbol", "checksum", "bids", "asks", "timestamp"])
)
def test_key_order_is_free(outer, inner):
    element = {
        "symbol": "A/B",
        "checksum": 7,
        "bids": [{"event": "add", "order_id": "x"}],
        "asks": [],
        "timestamp": "t",
    }
    message = {"channel": "level3", "type": "update", "data": [{key: element[key] for key in inner}]}
    (data,) = decode_level3(json.dumps({key: message[key] for key in outer}).encode()).data
    assert (data.symbol, text(data.checksum), data.bids[0].order_id, data.asks, data.timestamp) == (
        "A/B",
        "7",
        "x",
        [],
        "t",
    )


@pytest.mark.parametrize(
    "line",
    [b"{}", b"7", b"[]", b"null", b'"level3"', b'{"channel":"heartbeat"}', TRADE, INSTRUMENTS, b'{"channel":{}}'],
)
def test_other_messages_are_no_level3(line):
    assert decode_level3(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff",
        b'{"channel":"x\xff"}',
        b"{} {}",
        b"[" * 100_000,
        b'{"channel":"level3","type":"update","data":[{"symbol":null}]}',
        b'{"channel":"level3","type":"update","data":7}',
        b'{"channel":"level3","type":"snapshot","data":[{"symbol":"A","bids":[7]}]}',
    ],
)
def test_damage_is_malformed(line):
    with pytest.raises(MalformedMessage):
        decode_level3(line)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_nothing_else_comes_out(payload):
    for decode in (decode_level3, decode_trades, decode_instruments):
        with contextlib.suppress(MalformedMessage):
            assert decode(payload) in (None, []) or payload


def test_trades():
    assert decode_trades(TRADE) == [
        Trade(
            symbol="BTC/USD",
            side="buy",
            price="105944.20",
            qty="0.00027625",
            ord_type="limit",
            trade_id=10218208,
            timestamp_ns=1696613755440295000,
        )
    ]
    with pytest.raises(MalformedMessage):
        decode_trades(TRADE.replace(b"2023-10", b"2023-19"))


def test_instruments():
    assert decode_instruments(INSTRUMENTS) == [
        Instrument(
            symbol="X/USD",
            price_precision=8,
            qty_precision=5,
            price_increment="1E-8",
            qty_increment="0.00001",
            status="post_only",
        )
    ]
    assert decode_instruments(b'{"channel":"instrument","data":{"assets":[]}}') == []


def test_kraken_docs_example():
    payload = (Path(__file__).parents[1] / "book" / "data" / "kraken-docs-level3-snapshot.ndjson").read_bytes()
    (data,) = decode_level3(payload).data
    assert (data.symbol, len(data.bids), len(data.asks), text(data.checksum)) == ("BTC/USD", 21, 14, "1063832831")


@pytest.mark.parametrize(
    ("line", "latest"),
    [
        (b'{"data":[{"timestamp":"1970-01-01T00:00:02Z"},{"timestamp":"1970-01-01T00:00:01Z"},{}]}', 2 * 10**9),
        (b'{"data":[{"timestamp":"yesterday"},{"timestamp":null}]}', 0),
        (b'{"data":[{"timestamp":"9999-01-01T00:00:00Z"}]}', 0),
        (b'{"data":{"assets":[]}}', 0),
        (b"{", 0),
        (b"\xff", 0),
    ],
)
def test_the_latest_time_that_a_message_states(line, latest):
    assert latest_time_ns(line) == latest
