"""Makes page.webp, page-dark.webp and page-phone.webp: the page of made-up trading, as a browser shows it.

`make picture` runs it where Chromium is installed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import kraken_l3
from kraken_l3.model.address import Address
from kraken_l3.web.page import serve_page

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "web"))

from browser import PATH, Browser  # noqa: E402  # the tests' driver of a browser

SYMBOLS = ("ADA/USD", "BTC/USD", "DOGE/USD", "ETH/USD", "LTC/USD", "SOL/USD", "XRP/USD")
#: A moment with full queues, in the second hour.
FRAGMENT = "#symbol=XRP/USD&at=1767360120000"
#: Name, width, height, scheme, and whether it is a phone.
PICTURES = (
    ("page.webp", 1280, 820, "light", False),
    ("page-dark.webp", 1280, 820, "dark", False),
    ("page-phone.webp", 390, 844, "light", True),
)


async def draw(archive: Path) -> None:
    """All pictures of one archive."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_page(archive, Address("127.0.0.1", 0), token="", stop=stop, ready=url.set_result)
    )
    for name, width, height, scheme, is_phone in PICTURES:
        async with Browser(width, height) as browser:
            await browser.resize(width, height, phone=is_phone)
            await browser.prefer(scheme)
            await browser.open(await url + FRAGMENT)
            await browser.until("document.getElementById('verdicts')?.textContent.includes('verified')")
            await browser.until("document.getElementById('heat').dataset.columns > 232")
            await browser.picture(HERE / name, whole=is_phone)
    stop.set()
    await serving


if __name__ == "__main__":
    if PATH is None:
        raise SystemExit("the pictures of the page need Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        kraken_l3.simulate(data, "85m", symbols=SYMBOLS, depth=100, rate=40, gaps=2)
        asyncio.run(draw(data))
