"""The page in a real browser, as a user meets it: with eyes, keyboard and pointer."""

import asyncio
import functools
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from browser import PATH, Browser

from kraken_l3.api.archive import open_for_research
from kraken_l3.clock import SystemClock
from kraken_l3.model.address import Address
from kraken_l3.web.page import serve_page
from scenes import NOON_NS, SYMBOLS, Scene, recorded

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEST_PAGE"), reason="make test-page runs the page in a browser"),
    pytest.mark.skipif(PATH is None, reason="there is no Chromium: apt install chromium"),
]

STEP_NS = 100_000_000
BTC = SYMBOLS[0]


def running(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 110))

    return run


@asynccontextmanager
async def page_of(path: Path, fragment: str = "", **size: int):
    """A browser at the page of an archive. In the end it has complained of nothing, and asked nobody else."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_page(path, Address("127.0.0.1", 0), token="", stop=stop, ready=url.set_result))
    try:
        async with Browser(**size) as browser:
            await browser.open(await url + fragment)
            await browser.until("document.readyState === 'complete'")
            yield browser
            assert browser.complaints == []
            assert {address.rsplit("/", 1)[0].split("/api")[0] + "/" for address in browser.asked_for} == {await url}
    finally:
        stop.set()
        await serving


def text(identity: str) -> str:
    return f"document.getElementById('{identity}').textContent"


def shown(symbol: str) -> str:
    return f"{text('symbol')} === '{symbol}' && {text('state')}"


@running
async def test_a_recorded_day_is_walked_through_by_keyboard(tmp_path):
    recorded(tmp_path, 600, step_ns=STEP_NS)
    archive = open_for_research(tmp_path)
    async with page_of(tmp_path) as browser:
        assert await browser.until(shown(BTC)) == "verified"
        assert await browser.run(text("start")) == "12:00:00"
        assert await browser.until(f"{text('verdicts')}.includes('verified') && {text('verdicts')}") == (
            "This day: 600 messages verified, 0 mismatched"
        )
        await browser.run("document.getElementById('slider').focus()")
        await browser.press("Home")
        await browser.until(f"{text('moment')} === '2026-11-22 12:00:00'")
        for _ in range(20):
            await browser.press("ArrowRight")
        await browser.press("ArrowLeft", shift=True)
        await browser.until("location.hash.endsWith(`at=${Date.parse('2026-11-22T12:00:10.100Z')}`)")
        book = archive.book(BTC, at=NOON_NS + 10_100_000_000)
        await browser.until(f"{text('spread')} === '{book.best_bid.price} | {book.best_ask.price}'")
        await browser.run("document.getElementById('ladder').focus()")
        await browser.press("ArrowDown")
        await browser.press("ArrowUp")
        order = book.best_ask.orders[0]
        assert f"{order.qty}, {order.order_id}" in await browser.run(text("order"))
        assert (await browser.run(text("order"))).startswith(f"ask {book.best_ask.price}, level 1, place 1 of ")
        assert await browser.run("document.querySelectorAll('#events tr').length") == 60


@running
async def test_another_symbol_and_its_gap(tmp_path):
    scene = Scene(tmp_path, step_ns=STEP_NS)
    scene.write(scene.flow(200))
    scene.gap(seconds=60)
    scene.write(scene.flow(200, seed=2))
    scene.close()
    moment = NOON_NS // 10**6 + 40_000
    async with page_of(tmp_path, f"#symbol=DOGE/USD&at={moment}") as browser:
        assert await browser.until(shown("DOGE/USD")) == "in a gap (network)"
        assert await browser.run(text("gaps")) == "1 gap"
        await browser.run("document.getElementById('list').focus()")
        await browser.press("ArrowUp")
        assert await browser.until(shown(BTC)) == "in a gap (network)"


@running
async def test_1400_symbols_stay_usable(tmp_path):
    names = tuple(f"S{number:04}/USD" for number in range(1400))
    scene = Scene(tmp_path, symbols=SYMBOLS, facts=False, step_ns=1_000_000)
    lines = [line for line in scene.flow(200) if BTC.encode() in line][:3]
    scene.symbols = names
    scene.connect(10)
    scene.write(line.replace(BTC.encode(), name.encode()) for line in lines for name in names)
    scene.close()
    async with page_of(tmp_path) as browser:
        await browser.until(shown(names[0]))
        assert await browser.run(text("count")) == "1,400"
        assert 10 < await browser.run("document.querySelectorAll('#rows .row').length") < 80
        await browser.press("/")
        assert await browser.run("document.activeElement.id") == "filter"
        for key in "s07":
            await browser.press(key)
        assert await browser.until(f"{text('count')}.includes(' of ') && {text('count')}") == "100 of 1,400"
        await browser.press("Enter")
        await browser.until(shown("S0700/USD"))
        await browser.press("End")
        await browser.until(shown("S0799/USD"))
        assert 10 < await browser.run("document.querySelectorAll('#rows .row').length") < 80
        chosen = "document.querySelector('#rows [aria-selected=true]')"
        assert await browser.run(f"{chosen}.dataset.name") == "S0799/USD"
        box = "document.getElementById('list').getBoundingClientRect()"
        assert await browser.run(f"{chosen}.getBoundingClientRect().bottom <= {box}.bottom + 1")


@running
async def test_a_recording_is_shown_while_it_grows(tmp_path):
    scene = Scene(tmp_path, now_ns=SystemClock().wall_ns(), step_ns=1_000_000)
    lines = scene.flow(4000)
    scene.write(lines[:200])
    async with page_of(tmp_path) as browser:
        await browser.until(f"{text('status')} === 'live'")
        assert await browser.until(shown(BTC)) == "verified"
        assert await browser.run("document.getElementById('live').getAttribute('aria-pressed')") == "true"
        before = await browser.run(text("events"))
        scene.write(lines[200:])
        await browser.until(f"{text('events')} !== {before!r} && {text('verdicts')}.includes('4,000')")
        book = open_for_research(tmp_path).book(BTC)
        await browser.until(f"{text('spread')} === '{book.best_bid.price} | {book.best_ask.price}'")
        scene.gap(seconds=1)
        await browser.until(f"{text('rows')}.includes('in a gap')")
        await browser.run("document.body.focus()")
        await browser.press("ArrowLeft")  # back in time: no longer live, and back again
        await browser.until("document.getElementById('live').getAttribute('aria-pressed') === 'false'")
        await browser.press("l")
        await browser.until("document.getElementById('live').getAttribute('aria-pressed') === 'true'")
    scene.close()


@running
async def test_light_and_dark(tmp_path):
    recorded(tmp_path, 100)
    async with page_of(tmp_path) as browser:
        await browser.until(shown(BTC))
        theme = "document.documentElement.dataset.theme"
        ground = "getComputedStyle(document.body).backgroundColor"
        await browser.prefer("dark")
        assert await browser.until(f"{theme} === 'dark' && {ground}") == "rgb(20, 24, 28)"
        await browser.prefer("light")
        assert await browser.until(f"{theme} === 'light' && {ground}") == "rgb(246, 247, 248)"
        await browser.press("t")
        await browser.until(f"{theme} === 'dark'")
        await browser.call("Page.reload")
        await browser.until(f"document.readyState === 'complete' && {theme} === 'dark'")


@running
async def test_a_phone(tmp_path):
    recorded(tmp_path, 100)
    async with page_of(tmp_path, width=390, height=844) as browser:
        await browser.resize(390, 844, phone=True)
        await browser.until(shown(BTC))
        assert await browser.run("document.documentElement.scrollWidth") <= 390
        for canvas in ("ladder", "depth", "heat", "strip"):
            assert await browser.run(f"document.getElementById('{canvas}').clientWidth") > 300
        for width in (360, 800, 1100, 1400):
            await browser.resize(width, 844, phone=True)
            await browser.until(f"innerWidth === {width}")
            cut = (
                "[...document.querySelectorAll('#rows .row > :first-child')].filter(e => e.scrollWidth > e.clientWidth)"
            )
            assert await browser.run(f"{cut}.map(each => each.textContent)") == []


@running
async def test_focus_is_seen_and_every_control_has_a_name(tmp_path):
    recorded(tmp_path, 100)
    async with page_of(tmp_path) as browser:
        await browser.until(shown(BTC))
        seen = []
        for _ in range(40):
            await browser.press("Tab")
            if await browser.run("document.activeElement === document.body"):
                break
            seen.append(await browser.run("document.activeElement.id"))
            assert await browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
        assert {"theme", "day", "play", "speed", "slider", "filter", "list", "ladder"} <= {*seen}
        unnamed = """[...document.querySelectorAll('button, input, select, canvas, section, [role]')].filter((each) =>
          !each.hidden && !each.closest('[hidden]') && !each.getAttribute('aria-label') && !each.labels?.length &&
          !each.getAttribute('aria-hidden') && !each.textContent.trim() && each.offsetParent
        ).map((each) => each.id)"""
        assert await browser.run(unnamed) == []


@running
async def test_a_day_with_nothing_in_it_and_no_day_at_all(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    async with page_of(empty) as browser:
        await browser.until(f"{text('status')}.includes('nothing is recorded here')")
    silent = tmp_path / "silent"
    scene = Scene(silent)
    scene.close()
    (silent / "l3-2026-11-22.ndjson").touch()
    (silent / "l3-2026-11-22.receipts").touch()
    async with page_of(silent) as browser:
        assert await browser.until(shown(BTC)) == "no book"


@running
async def test_a_symbol_that_is_markup_stays_text(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    scene = Scene(tmp_path, step_ns=STEP_NS)
    lines = [line.replace(BTC.encode(), name.encode()) for line in scene.flow(100)]
    scene.symbols = (name, SYMBOLS[1])
    scene.acknowledge(10)
    scene.write(lines)
    scene.close()
    async with page_of(tmp_path) as browser:
        assert await browser.until(f"{text('symbol')} === '{name}' && {text('state')}") == "verified"
        assert await browser.run("document.images.length") == 0
