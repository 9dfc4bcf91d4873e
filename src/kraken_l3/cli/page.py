"""`kraken-l3 page`: an archive, finished or growing, as a page in the browser."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from kraken_l3.cli.signals import stop_on_signal
from kraken_l3.clock import SystemClock
from kraken_l3.errors import UsageError
from kraken_l3.model.address import Address, parse_address
from kraken_l3.telemetry import configure_logging
from kraken_l3.web.page import serve_page
from kraken_l3.web.status_lines import StatusLines

__all__ = ["page"]


def page(path: Path, http: str, open_it: bool, recorder: bool) -> None:
    """Run `kraken-l3 page`."""
    try:
        address = parse_address(http)
    except ValueError as error:
        raise UsageError(str(error), where="--http") from error
    configure_logging()
    asyncio.run(_serve(path, address, open_it=open_it, recorder=recorder))


async def _serve(path: Path, address: Address, *, open_it: bool, recorder: bool) -> None:
    stop = stop_on_signal()
    status = None
    if recorder:
        status = StatusLines(SystemClock())
        status.listen(sys.stdin.fileno(), stop.set)

    def ready(url: str) -> None:
        click.echo(url)
        sys.stdout.flush()
        if open_it:
            click.launch(url)

    token = os.environ.get("KRAKEN_L3_HTTP_TOKEN", "")
    await serve_page(path, address, token=token, stop=stop, ready=ready, status=status)
