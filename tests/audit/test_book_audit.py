"""Audits of books: a recorder and an embedded exchange over real sockets, and what goes wrong between them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kraken_l3.app.auditing import BookReport, audit_books, audited_symbols
from kraken_l3.archive.layout import AUDIT_LOCK_NAME
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.audit.calls import Pace
from kraken_l3.config.settings import Settings
from kraken_l3.errors import ArchiveLocked, ConfigError, RefusedByKraken
from kraken_l3.exchange.faults import Drop
from kraken_l3.exchange.level3_rest import LEVEL3_CALL
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.server import Exchange, made_up_keys
from recording import Recording, flow, run

WINDOW_NS = 300_000_000
(KEY, SECRET), (AUDIT_KEY, AUDIT_SECRET) = made_up_keys(2).items()


@pytest.fixture(autouse=True)
def audit_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KRAKEN_AUDIT_API_KEY", AUDIT_KEY)
    monkeypatch.setenv("KRAKEN_AUDIT_API_SECRET", AUDIT_SECRET)


def exchange_with(**options: Any) -> Exchange:
    options.setdefault("feed", flow(rate=200.0))
    return Exchange(keys=made_up_keys(2), **options)


async def audited(recording: Recording, url: str = "", symbols: Any = (), **options: Any) -> BookReport:
    settings = recording.settings.model_copy(update={"rest_url": url or recording.settings.rest_url})
    settings = settings.model_copy(update={"symbols": list(symbols) or settings.symbols})
    options = {"pace": Pace(0.01), "window_ns": WINDOW_NS, "settle_s": 0.1, **options}
    return await audit_books(settings, lambda _: None, asyncio.Event(), **options)


def noted(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(directory.glob("l3-*.audits")) for line in path.read_text().splitlines()
    ]


def test_books_agree_at_every_depth(tmp_path: Path) -> None:
    async def main() -> None:
        async with exchange_with() as exchange, Recording(tmp_path / "data", exchange, depth=1000) as recording:
            await recording.until_acknowledged()
            report = await audited(recording)
            assert [each.outcome for each in report.last] == ["agrees", "agrees"], report
            assert report.exit_code() == 0
            for each in report.last:
                assert each.depth == 1000
                assert each.orders > 100
                assert each.matched_ns is not None
            found = noted(tmp_path / "data")
            assert [each["outcome"] for each in found] == ["agrees", "agrees"]
            assert not unread_files(open_archive(tmp_path / "data"))

    run(main())


class _Falsifying:
    """Between audit and exchange: changes what `Level3` answers, or (None) never answers."""

    def __init__(self, exchange: Exchange, change: Any) -> None:
        self._exchange, self._change = exchange, change
        self.calls = 0

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_post(LEVEL3_CALL, self._answer)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        if self._change is None:
            await asyncio.sleep(60)  # the client leaves before
        headers = {name: request.headers[name] for name in ("API-Key", "API-Sign", "Content-Type")}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._exchange.rest_url + LEVEL3_CALL, data=await request.read(), headers=headers) as response,
        ):
            answer = await response.json()
        return self._change(answer) or web.json_response(answer)


def test_what_differs_below_the_checksum_is_found_and_named(tmp_path: Path) -> None:
    """The three kinds of it, all of them further down than the ten levels that a checksum covers."""
    changed: dict[str, Any] = {}

    def change(answer: dict[str, Any]) -> None:
        bids, asks = answer["result"]["bids"], answer["result"]["asks"]
        changed["missing"] = bids.pop(-1)["order_id"]
        changed["more"] = {**asks[-1], "order_id": "OEXTRA-ORDER-000001"}
        asks.append(changed["more"])
        asks[-3]["qty"] = "123456.5"
        changed["qty"] = asks[-3]["order_id"]

    async def main() -> None:
        feed = flow(("BTC/USD",), rate=50.0)
        async with (
            exchange_with(feed=feed) as exchange,
            Recording(tmp_path / "data", exchange, depth=100, symbols=["BTC/USD"]) as recording,
        ):
            await recording.until_acknowledged()
            feed.rate = 0.0
            await recording.until_lines(exchange.sent.level3_count)
            async with _Falsifying(exchange, change) as url:
                report = await audited(recording, url, window_ns=1)
        (found,) = report.last
        assert (found.outcome, report.exit_code()) == ("differs", 2)
        assert found.reason == ""
        by_id = {each.order_id: each for each in found.differences}
        assert by_id.keys() == {changed["missing"], changed["qty"], "OEXTRA-ORDER-000001"}
        assert found.differing == len(by_id) == 3
        assert by_id[changed["missing"]].rest_price is None
        assert by_id["OEXTRA-ORDER-000001"].recorded_price is None
        assert by_id[changed["qty"]].rest_qty == "123456.5" != by_id[changed["qty"]].recorded_qty
        assert noted(tmp_path / "data")[-1]["differences"]

    run(main())


def test_a_quiet_book_and_a_book_in_a_gap(tmp_path: Path) -> None:
    async def main() -> None:
        feed = flow(("BTC/USD",), rate=100.0)
        async with (
            exchange_with(feed=feed) as exchange,
            Recording(tmp_path / "data", exchange, depth=100, symbols=["BTC/USD"]) as recording,
        ):
            await recording.until_acknowledged()
            feed.rate = 0.0
            report = await audited(recording)
            assert [each.outcome for each in report.last] == ["agrees"]
            # cut off and kept away, the recorder does not see what happens; the audit knows of the gap
            feed.rate = 500.0
            await exchange.push(Drop())
            await recording.until_records("GapOpened")
            async with _Falsifying(exchange, lambda answer: answer["result"]["bids"].clear()) as url:
                report = await audited(recording, url)
            assert [each.outcome for each in report.last] == ["not_compared"]
            assert "gap" in report.last[0].reason
            assert report.exit_code() == 3

    run(main())


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        async with exchange_with() as exchange:
            async with Recording(tmp_path / "data", exchange, symbols=["BTC/USD"]) as recording:
                await recording.until_acknowledged()
                report = await audited(recording, symbols=["ETH/USD", "BTC/USDC"])
                assert report.exit_code() == 3
                reasons = [each.reason for each in report.last]
                assert "no subscription" in reasons[0]
                assert "Did you mean BTC/USD?" in reasons[1]
                unknown = {"error": ["EQuery:Unknown asset pair"]}
                falsifying = _Falsifying(exchange, lambda answer: web.json_response(unknown))
                async with falsifying as url:
                    (found,) = (await audited(recording, url)).last
                assert found.reason == "Kraken gave no book: EQuery:Unknown asset pair"
                assert falsifying.calls == 1
                async with _Falsifying(exchange, lambda answer: web.json_response({"error": [], "result": []})) as url:
                    assert "not the JSON expected" in (await audited(recording, url)).last[0].reason
            settings = recording.settings
        # the recorder ended 40 s ago
        async with exchange_with(feed=flow(rate=0.0)) as exchange:
            late = settings.model_copy(update={"rest_url": exchange.rest_url})
            clock = _Ahead(40_000_000_000)
            options = {"pace": Pace(0.01), "window_ns": WINDOW_NS, "clock": clock}
            report = await audit_books(late, lambda _: None, asyncio.Event(), **options)
            assert "is the recorder running" in report.last[0].reason

    run(main())


class _Ahead:
    """A clock that is ahead of the machine's, and runs much faster: waits end at once."""

    def __init__(self, by_ns: int) -> None:
        from kraken_l3.clock import SystemClock

        self._clock, self._ahead_ns = SystemClock(), by_ns

    def wall_ns(self) -> int:
        self._ahead_ns += 500_000_000
        return self._clock.wall_ns() + self._ahead_ns

    def mono_ns(self) -> int:
        return self._clock.mono_ns()


def test_rate_limits_and_silence_end(tmp_path: Path) -> None:
    async def main() -> None:
        limits = Limits(rest_counter=2.0, rest_decay_per_s=0.0)
        async with (
            exchange_with(limits=limits) as exchange,
            Recording(tmp_path / "data", exchange) as recording,
        ):
            await recording.until_acknowledged()
            report = await audited(recording, symbols=["BTC/USD", "ETH/USD", "BTC/USD"])
            outcomes = [each.outcome for each in report.last]
            assert outcomes == ["agrees", "agrees"]
            report = await audited(recording, symbols=["BTC/USD"])
            assert report.last[0].reason == "Kraken gave no book: EAPI:Rate limit exceeded"
            async with _Falsifying(exchange, None) as silent:
                report = await audited(recording, silent, symbols=["BTC/USD"], timeout_s=0.1)
            assert report.last[0].reason == "Kraken gave no book: no answer in time"

    run(main())


def test_a_key_without_the_permission_is_told_and_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with exchange_with() as exchange, Recording(tmp_path / "data", exchange) as recording:
            exchange.tokens.permissions = ("create-ws-token",)
            await recording.until_acknowledged()
            with pytest.raises(RefusedByKraken, match="'Query open orders & trades'") as caught:
                await audited(recording)
            assert caught.value.exit_code == 4
            assert AUDIT_KEY not in str(caught.value)
            with pytest.raises(RefusedByKraken, match="Try this key again in 15 min"):
                await audited(recording)

    run(main())


def test_one_audit_at_a_time_and_a_torn_record(tmp_path: Path) -> None:
    async def main() -> None:
        data = tmp_path / "data"
        async with exchange_with() as exchange, Recording(data, exchange, symbols=["BTC/USD"]) as recording:
            await recording.until_acknowledged()
            lock = DirectoryLock(data, AUDIT_LOCK_NAME)
            with pytest.raises(ArchiveLocked, match="another audit"):
                await audited(recording)
            lock.release()
            await audited(recording)
            (path,) = data.glob("l3-*.audits")
            path.write_bytes(path.read_bytes() + b'{"record":"book_au')
            await audited(recording)
            lines = path.read_bytes().splitlines()
            assert len(lines) == 3
            assert json.loads(lines[2])["record"] == "book_audit"

    run(main())


def test_the_recorders_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(match: str) -> None:
        settings = Settings(symbols=["BTC/USD"], output_dir=tmp_path, api_key=KEY, api_secret=SECRET)
        with pytest.raises(ConfigError, match=match):
            await audit_books(settings, lambda _: None, asyncio.Event())

    monkeypatch.setenv("KRAKEN_AUDIT_API_KEY", KEY)
    run(refused("nonces must grow"))
    monkeypatch.setenv("KRAKEN_AUDIT_API_KEY", AUDIT_KEY)
    monkeypatch.setenv("KRAKEN_AUDIT_API_SECRET", "no base64!")
    run(refused("KRAKEN_AUDIT_API_SECRET"))
    monkeypatch.delenv("KRAKEN_AUDIT_API_SECRET")
    run(refused("key of its own"))


def test_patterns_mean_recorded_pairs(tmp_path: Path) -> None:
    async def main() -> None:
        async with exchange_with() as exchange, Recording(tmp_path / "data", exchange) as recording:
            await recording.until_acknowledged()
            for given, meant in ((["all"], 2), (["BTC/*", "ETH/USD"], 2), ([], 2), (["BTC/USD"], 1)):
                settings = recording.settings.model_copy(update={"symbols": given})
                assert len(audited_symbols(settings)) == meant
            with pytest.raises(ConfigError, match="fits none of the 2 recorded pairs"):
                audited_symbols(recording.settings.model_copy(update={"symbols": ["*/EUR"]}))

    run(main())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="nothing was recorded"):
        audited_symbols(Settings(output_dir=tmp_path / "empty"))
