"""Holes in trade ids: found over the whole archive, filled from REST where its ids prove to be the same."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.app.auditing import TradeReport, audit_trades
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.audit.calls import Pace
from kraken_l3.audit.rest_trades import read_trade_page
from kraken_l3.audit.trade_holes import TradeIds
from kraken_l3.config.settings import Settings
from kraken_l3.errors import DataMissing, MalformedMessage
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import decode_trades
from recording import Recording, flow, run


def trade(trade_id: int) -> Trade:
    fields: dict[str, Any] = {"symbol": "BTC/USD", "side": "buy", "price": "1.0", "qty": "2.0", "ord_type": "limit"}
    return Trade(trade_id=trade_id, timestamp_ns=trade_id, **fields)


@given(st.lists(st.integers(1, 60), min_size=1), st.lists(st.integers(1, 60)))
def test_what_is_missing_lies_between_the_first_and_the_last(came: list[int], filled: list[int]) -> None:
    ids = TradeIds()
    for each in came:
        ids.add(trade(each))
    for each in filled:
        ids.fill(each)
    missing = {n for hole in ids.holes() for first, last in hole.missing for n in range(first, last + 1)}
    assert missing == set(range(came[0], max(came))) - set(came) - set(filled)
    assert sum(hole.total for hole in ids.holes()) == len(missing)


async def recorded_with_a_hole(directory: Path, exchange: Exchange, lost: int) -> tuple[Recording, list[Trade]]:
    """Trades of BTC/USD without some messages in the middle; what was in these."""
    async with Recording(directory, exchange, symbols=["BTC/USD"], trades=True) as recording:
        await recording.until(lambda r: len(r.lines("trade")) >= lost + 6)
    exchange.feed.rate = 0.0
    (path,) = directory.glob("trade-*.ndjson")
    lines = path.read_bytes().splitlines(keepends=True)
    for receipts in directory.glob("trade-*.receipts"):
        receipts.unlink()
    path.write_bytes(b"".join(lines[:2] + lines[2 + lost :]))
    return recording, [each for line in lines[2 : 2 + lost] for each in decode_trades(line)]


async def audited(recording: Recording, **options: Any) -> TradeReport:
    options = {"pace": Pace(0.01), **options}
    return await audit_trades(recording.settings, lambda _: None, asyncio.Event(), **options)


def trading(**options: Any) -> Exchange:
    return Exchange(flow(("BTC/USD",), rate=3000.0), **options)


def test_a_hole_is_filled_into_a_file_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with trading() as exchange:
            recording, lost = await recorded_with_a_hole(tmp_path / "data", exchange, 3)
            data = {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.ndjson")}
            report = await audited(recording)
            assert (report.exit_code(), report.filled, report.missing) == (0, len(lost), 0), report
            (path,) = (tmp_path / "data").glob("trade-*.filled")
            filled = [json.loads(line) for line in path.read_text().splitlines()]
            told = [(each["record"], each["source"], each["trade_id"], each["side"]) for each in filled]
            assert told == [("filled_trade", "REST Trades", each.trade_id, each.side) for each in lost]
            assert [(float(each["price"]), float(each["qty"])) for each in filled] == [
                (float(each.price), float(each.qty)) for each in lost
            ]
            assert {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.ndjson")} == data
            assert not unread_files(open_archive(tmp_path / "data"))
            path.write_bytes(path.read_bytes() + b'{"record":"fill')  # an audit was killed
            again = await audited(recording)
            assert (again.exit_code(), again.holes) == (0, [])

    run(main())


def test_what_is_not_filled_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with trading() as exchange:
            recording, lost = await recorded_with_a_hole(tmp_path / "data", exchange, 3)
            (path,) = (tmp_path / "data").glob("trade-*.ndjson")
            whole = path.read_bytes()
            # another trade under the id before the hole: these ids are not the same
            before = f'"trade_id":{lost[0].trade_id - 1},'.encode()
            at = whole.index(before)
            start = whole.rindex(b'"qty":', 0, at)
            path.write_bytes(whole[:start] + b'"qty":77777,' + whole[whole.index(b",", start) + 1 :])
            report = await audited(recording)
            assert (report.exit_code(), report.filled, report.missing) == (2, 0, len(lost))
            assert "another trade under the recorded id" in report.holes[0].reason
            path.write_bytes(whole)
        report = await audited(recording)  # nobody is there
        assert report.exit_code() == 3
        assert report.holes[0].reason.startswith("Kraken gave no trades: ")
        async with Exchange(flow(("BTC/USD",), rate=0.0)) as another:
            recording.settings = recording.settings.model_copy(update={"rest_url": another.rest_url})
            report = await audited(recording)
            assert (report.exit_code(), report.missing) == (3, len(lost))
            assert "so its ids may be others" in report.holes[0].reason
        assert not list((tmp_path / "data").glob("*.filled"))

    run(main())


def test_an_archive_without_trades(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(DataMissing, match="trades: true"):
            await audit_trades(Settings(output_dir=tmp_path), lambda _: None, asyncio.Event())

    run(main())


def test_the_documented_answer_and_nonsense() -> None:
    # https://docs.kraken.com/api/docs/rest-api/get-recent-trades
    result = (
        b'{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],'
        b'["30243.30000","0.00376960",1688669598.2804112,"s","l","",61044953]],"last":"1688671969993150842"}'
    )
    page = read_trade_page("BTC/USD", result)
    assert page.last == "1688671969993150842"
    assert page.trades[0] == Trade(
        symbol="BTC/USD",
        side="buy",
        price="30243.40000",
        qty="0.34507674",
        ord_type="market",
        trade_id=61044952,
        timestamp_ns=1688669597827736900,
    )
    assert page.trades[1].side == "sell"
    for nonsense in (b"[]", b"{}", b'{"a":[],"b":[],"last":"1"}', b'{"a":[["x","1",1.0,"b","m","",1]],"last":"1"}'):
        with pytest.raises(MalformedMessage):
            read_trade_page("BTC/USD", nonsense)
