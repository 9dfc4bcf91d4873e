"""The public REST calls, as Kraken's pages show them, and asked for over a socket."""

import json
import time
from decimal import Decimal

import aiohttp
import pytest
from strangers import running

from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.flow.listing import assets as listed_assets
from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.public_rest import public_answer
from kraken_l3.exchange.server import Exchange

RECORDS = {pair.symbol: pair.record for pair in listing()}
AT_NS = 1_616_336_594_000_000_000


def pairs(wanted=""):
    return public_answer("AssetPairs", wanted, RECORDS, "", "online", AT_NS)


def test_time_and_status_are_the_documented_ones():
    assert public_answer("Time", "", RECORDS, "", "online", AT_NS) == {
        "error": [],
        "result": {"unixtime": 1616336594, "rfc1123": "Sun, 21 Mar 21 14:23:14 +0000"},
    }
    assert public_answer("SystemStatus", "", RECORDS, "", "post_only", AT_NS)["result"] == {
        "status": "post_only",
        "timestamp": "2021-03-21T14:23:14Z",
    }


def test_a_pair_has_what_clients_use():
    pair = pairs("XXBTZUSD")["result"]["XXBTZUSD"]
    known = json.loads(RECORDS["BTC/USD"])
    assert (pair["altname"], pair["wsname"], pair["base"], pair["quote"]) == ("XBTUSD", "XBT/USD", "XXBT", "ZUSD")
    assert (pair["pair_decimals"], pair["lot_decimals"], pair["cost_decimals"]) == (1, 8, 5)
    assert pair["status"] == "online"
    for ours, theirs in (("ordermin", "qty_min"), ("costmin", "cost_min"), ("tick_size", "tick_size")):
        assert isinstance(pair[ours], str)
        assert Decimal(pair[ours]) == Decimal(str(known[theirs]))


def assets(wanted="", records=RECORDS):
    return public_answer("Assets", wanted, records, listed_assets(), "online", AT_NS)


def test_assets_bear_their_old_names_and_the_decimals_of_the_instrument_channel():
    assert assets("XXBT")["result"] == assets("XBT")["result"]
    assert assets("XBT")["result"]["XXBT"] == {
        "aclass": "currency",
        "altname": "XBT",
        "decimals": 10,
        "display_decimals": 5,
        "status": "enabled",
    }
    assert {"ZUSD", "XXBT", "SOL", "XXDG"} <= set(assets()["result"])
    assert assets("XBT,NOPE") == {"error": ["EQuery:Unknown asset"]}


def test_an_asset_that_only_a_pair_names_is_there_too():
    record = {"S001/USD": "{}"}
    assert "S001" in assets(records=record)["result"]


@pytest.mark.parametrize(
    ("symbol", "key", "altname"),
    [
        ("ETH/BTC", "XETHXXBT", "ETHXBT"),
        ("BTC/JPY", "XXBTZJPY", "XBTJPY"),
        ("EUR/USD", "ZEURZUSD", "EURUSD"),
        ("DOGE/USD", "XDGUSD", "XDGUSD"),
        ("SOL/USD", "SOLUSD", "SOLUSD"),
        ("BTC/USDT", "XBTUSDT", "XBTUSDT"),
    ],
)
def test_the_old_names(symbol, key, altname):
    record = {symbol: RECORDS[symbol]}
    ((found, pair),) = public_answer("AssetPairs", "", record, "", "online", AT_NS)["result"].items()
    assert (found, pair["altname"]) == (key, altname)


def test_pairs_are_asked_for_by_any_of_their_names():
    assert list(pairs("XBTUSD,XBT/EUR,XXRPZUSD,BTC/JPY")["result"]) == ["XXBTZUSD", "XXBTZEUR", "XXRPZUSD", "BTC/JPY"]
    assert len(pairs()["result"]) == len(RECORDS)
    assert pairs("XBTUSD,NOPE") == {"error": ["EQuery:Unknown asset pair"]}


@running
async def test_over_a_socket():
    async with Exchange(OrderFlow(("BTC/USD", "S001/USD"), now_ns=time.time_ns())) as exchange:
        exchange.set_pair_status("S001/USD", "cancel_only")
        async with aiohttp.ClientSession() as session:

            async def ask(method, **params):
                async with session.get(f"{exchange.rest_url}/0/public/{method}", params=params) as response:
                    return await response.json()

            assert abs((await ask("Time"))["result"]["unixtime"] - time.time()) < 60
            assert (await ask("SystemStatus"))["result"]["status"] == "online"
            assert set((await ask("AssetPairs"))["result"]) == {"XXBTZUSD", "S001USD"}
            assert (await ask("AssetPairs", pair="S001USD"))["result"]["S001USD"]["status"] == "cancel_only"
            for name, key in (("XBTUSD", "XXBTZUSD"), ("XXBTZUSD", "XXBTZUSD"), ("BTC/USD", "BTC/USD")):
                assert set((await ask("Trades", pair=name))["result"]) == {key, "last"}
            assert (await ask("Ticker"))["error"] == ["EGeneral:Unknown method"]
            url = f"{exchange.rest_url}/0/public/AssetPairs"
            for body in ({"data": {"pair": "XBTUSD"}}, {"json": {"pair": "XBTUSD"}}):
                async with session.post(url, **body) as response:
                    assert list((await response.json())["result"]) == ["XXBTZUSD"]
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            async with session.post(url, data=b"no form", headers=headers) as response:
                assert response.status == 200, "it names no pair"
