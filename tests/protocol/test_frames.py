import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.errors import MalformedMessage
from kraken_l3.protocol.frames import (
    Data,
    Heartbeat,
    Pong,
    Response,
    Status,
    Unrecognised,
    classify,
    snapshot_symbols,
)

# Shapes as Kraken documents or was seen to send them.
STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":15113583034416118705}]}'
)
ACK = (
    b'{"method":"subscribe","result":{"channel":"level3","snapshot":true,"symbol":"ALGO/USD"},"success":true,'
    b'"time_in":"2023-10-06T18:20:56.506266Z","time_out":"2023-10-06T18:20:56.506291Z"}'
)
UPDATE = b'{"channel":"level3","type":"update","data":[{"checksum":1,"symbol":"BTC/USD","bids":[],"asks":[]}]}'


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"channel":"heartbeat"}', Heartbeat()),
        (b' { "channel" : "heartbeat" } ', Heartbeat()),
        (b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z"}', Pong()),
        (STATUS, Status(system="online")),
        (UPDATE, Data(channel="level3", kind="update")),
        (b'{"data":[{"symbol":"A/B"}],"type":"snapshot","channel":"level3"}', Data(channel="level3", kind="snapshot")),
        (b'{"channel":"trade","type":"update","data":[]}', Data(channel="trade", kind="update")),
        (b'{"channel":"instrument","type":"snapshot","data":{}}', Data(channel="instrument", kind="snapshot")),
        (b'{"channel":"ticker","type":"update","data":[]}', Unrecognised()),
        (b"", Unrecognised()),
        (b"not json", Unrecognised()),
        (b"[1,2]", Unrecognised()),
        (b"\xff\xfe", Unrecognised()),
        (b'{"channel":"level3","type":"update","data":[', Data(channel="level3", kind="", malformed=True)),
        (b"[" * 100_000, Unrecognised()),
    ],
)
def test_known_shapes(payload: bytes, expected: object) -> None:
    assert classify(payload) == expected


def test_an_acknowledgement_is_not_data_though_it_names_the_channel() -> None:
    assert classify(ACK) == Response(method="subscribe", success=True, channel="level3", symbol="ALGO/USD")


@pytest.mark.parametrize(
    ("payload", "error", "symbol", "req_id"),
    [
        (
            b'{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false,"symbol":"XBT/USD"}',
            "Currency pair not supported XBT/USD",
            "XBT/USD",
            None,
        ),
        (
            b'{"error":"ESession:Invalid session","method":"subscribe","req_id":42,"status":"error","success":false}',
            "ESession:Invalid session",
            None,
            42,
        ),
        (b'{"error":"Malformed request","method":"error","success":false}', "Malformed request", None, None),
        (b'{"error":"odd","method":"subscribe","success":true}', "odd", None, None),
        (b'{"error":{"code":7},"method":"subscribe","success":false}', "{'code': 7}", None, None),
    ],
)
def test_rejections(payload: bytes, error: str, symbol: str, req_id: int) -> None:
    response = classify(payload)
    assert isinstance(response, Response)
    assert (response.success, response.error, response.symbol, response.req_id) == (False, error, symbol, req_id)


def test_announced_maintenance_is_kept() -> None:
    message = json.loads(STATUS)
    message["data"][0].update(system="maintenance", upcoming_maintenance=[{"event_id": "1", "phase": "announced"}])
    status = classify(json.dumps(message).encode())
    assert status == Status(system="maintenance", maintenance=[{"event_id": "1", "phase": "announced"}])


def test_snapshot_symbols() -> None:
    payload = b'{"data":[{"bids":[],"symbol":"BTC/USD"},{"symbol":"ETH/USD"},{}],"type":"snapshot","channel":"level3"}'
    assert snapshot_symbols(payload) == ["BTC/USD", "ETH/USD"]


@pytest.mark.parametrize("payload", [b'{"data":null}', b'{"data":[{"symbol":"\xff"}]}', b'{"data":' + b"[" * 5_000])
def test_symbols_of_a_snapshot_that_is_none(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        snapshot_symbols(payload)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(payload: bytes) -> None:
    classify(payload)


@given(st.sampled_from([STATUS, ACK, UPDATE]), st.data())
def test_no_bytes_inside_a_known_message_make_it_raise(payload: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(at, len(payload)))
    classify(payload[:at] + data.draw(st.binary(max_size=3) | st.just(b"[" * 5_000)) + payload[end:])


@pytest.mark.parametrize("inner", [b'"\xff"', b"[" * 5_000 + b"]" * 5_000])
def test_what_an_envelope_holds_may_be_worse_than_the_envelope(inner: bytes) -> None:
    assert classify(b'{"channel":"status","data":[{"system":%s}]}' % inner) == Unrecognised()
    response = classify(b'{"method":"subscribe","success":true,"req_id":3,"result":{"symbol":%s}}' % inner)
    assert response in (Response(method="subscribe", success=True, req_id=3), Unrecognised())


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


@given(
    st.dictionaries(
        st.sampled_from(["channel", "type", "method", "success", "error", "req_id", "symbol", "result", "data"]), _json
    )
)
def test_no_json_makes_it_raise_and_methods_are_never_data(message: dict) -> None:
    found = classify(json.dumps(message).encode())
    if isinstance(message.get("method"), str):
        assert not isinstance(found, Data) or found.malformed


@given(st.integers(0, len(UPDATE) - 1))
def test_a_cut_message_is_kept_with_the_data_as_soon_as_it_names_its_channel(cut: int) -> None:
    found = classify(UPDATE[:cut])
    assert isinstance(found, Data if b'"level3"' in UPDATE[:cut] else Unrecognised)


@pytest.mark.parametrize(("depth", "kept"), [(10, 10), (1000, 1000), (0, None), (-1, None), (10**30, None)])
def test_a_depth_that_no_book_has_is_not_taken(depth: int, kept: "int | None") -> None:
    payload = b'{"method":"subscribe","success":true,"req_id":3,"result":{"symbol":"A/B","depth":%d}}' % depth
    response = classify(payload)
    assert isinstance(response, Response)
    assert (response.symbol, response.depth, response.depth_refused) == ("A/B", kept, kept is None)


def test_an_error_text_is_bounded() -> None:
    response = classify(b'{"method":"subscribe","success":false,"error":"%s"}' % (b"x" * 60_000))
    assert isinstance(response, Response)
    assert len(response.error) == 1_000
