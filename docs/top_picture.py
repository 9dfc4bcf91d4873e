"""Makes top.svg: `kraken-l3 top` of a recorder of an exchange on this machine. `make picture` runs it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from picture import FONTS, WEB_FONT

from kraken_l3.monitor.status_file import read_status
from kraken_l3.monitor.top import Top

COMMAND = [sys.executable, "-m", "kraken_l3"]
SECONDS = 40
SYMBOLS = 14


def record(place: Path) -> tuple[subprocess.Popen[str], subprocess.Popen[bytes]]:
    """An exchange and a recorder, both at work."""
    simulate = [*COMMAND, "simulate", "--port", "0", "--rate", "600", "--symbols", str(SYMBOLS)]
    exchange = subprocess.Popen(simulate, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    exports: dict[str, str] = {}
    while len(exports) < 5:
        found = re.match(r"export (\w+)='?([^'\n]*)'?$", exchange.stdout.readline().strip())
        if found:
            exports[found[1]] = found[2]
    environment = {**os.environ, **exports, "KRAKEN_L3_SYMBOLS": "all", "XDG_STATE_HOME": str(place)}
    return exchange, subprocess.Popen(
        [*COMMAND, "record", "-o", str(place / "data")], env=environment, stderr=subprocess.DEVNULL
    )


async def draw(data: Path) -> str:
    """The screen after a while."""
    app = Top(partial(read_status, data), time.time_ns, "data")
    async with app.run_test(size=(104, 24)) as pilot:
        await pilot.pause(SECONDS)
        return app.export_screenshot(title="kraken-l3 top")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        processes = record(Path(name))
        try:
            svg = asyncio.run(draw(Path(name) / "data"))
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()
    svg = WEB_FONT.sub("", svg).replace("Fira Code, monospace", FONTS)
    svg = svg.replace("font-family: Fira Code", f"font-family: {FONTS}")
    Path(__file__).with_name("top.svg").write_text(svg, encoding="utf-8")
