import json

from kraken_l3.protocol.requests import ping, subscribe, unsubscribe


def test_subscribe_as_kraken_documents_it() -> None:
    assert json.loads(subscribe("level3", "BTC/USD", req_id=7, depth=100, token="T")) == {
        "method": "subscribe",
        "params": {"channel": "level3", "symbol": ["BTC/USD"], "depth": 100, "snapshot": True, "token": "T"},
        "req_id": 7,
    }


def test_a_channel_without_symbols_names_none() -> None:
    assert json.loads(subscribe("instrument", None, req_id=1))["params"] == {"channel": "instrument", "snapshot": True}


def test_unsubscribe() -> None:
    assert json.loads(unsubscribe("level3", "BTC/USD", req_id=8, depth=10, token="T")) == {
        "method": "unsubscribe",
        "params": {"channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": "T"},
        "req_id": 8,
    }


def test_ping() -> None:
    assert json.loads(ping(9)) == {"method": "ping", "req_id": 9}
