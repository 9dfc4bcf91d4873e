"""Makes report.webp: the report of a day of made-up trading, as a browser shows it.

`make picture` runs it where Chromium is installed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
import tempfile
from pathlib import Path

import kraken_l3
from kraken_l3.report import report_day
from kraken_l3.report.files import write_report

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "web"))

from browser import PATH, Browser  # noqa: E402  # the tests' driver of a browser

DAY = dt.date(2026, 1, 2)
SYMBOLS = ["ETH/USD", "SOL/USD", "XRP/USD"]


async def draw(page: Path) -> None:
    """The top of the page, to below the first pictures."""
    async with Browser(1100, 1720) as browser:
        await browser.prefer("light")
        await browser.open(page.as_uri())
        await browser.until("document.querySelectorAll('svg').length == 6")
        await browser.picture(HERE / "report.webp")


if __name__ == "__main__":
    if PATH is None:
        raise SystemExit("the picture of the report needs Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # the page names the directory as it was given
        data = Path("data")
        kraken_l3.simulate(data, "24h", symbols=SYMBOLS, rate=3, gaps=3, start=DAY.isoformat())
        page, *_ = write_report(report_day(data, DAY), place)
        asyncio.run(draw(Path(place) / page))
