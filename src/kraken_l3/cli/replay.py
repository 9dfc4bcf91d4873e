"""`kraken-l3 replay`: an archive, finished or growing, as a live feed that speaks Kraken's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any, Optional

import click

from kraken_l3.api.arguments import moment_ns
from kraken_l3.cli.console import print_error
from kraken_l3.cli.serving import ServerOptions, refuse_options, serve
from kraken_l3.cli.signals import stop_on_signal
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.replay.relay import RELAY_LIMITS, Relay
from kraken_l3.exchange.replay.server import NO_LIMITS, Replay
from kraken_l3.model.relay import encode_relay
from kraken_l3.telemetry import configure_logging

__all__ = ["replay"]

#: Between two lines for the recorder.
_PROGRESS_S = 1.0
#: What a relay has no use for.
_OF_RECORDINGS = ("speed", "start", "end", "loop", "retime", "faithful_gaps")


def replay(
    path: Path,
    live: bool,
    speed: str,
    start: Optional[str],
    end: Optional[str],
    loop: bool,
    retime: Optional[str],
    faithful_gaps: bool,
    engine: str,
    tier: Optional[str],
    duration: Optional[float],
    recorder: bool,
    **server: Any,
) -> None:
    """Run `kraken-l3 replay`."""
    arguments = ServerOptions(**server).arguments()
    if live:
        refuse_options(_OF_RECORDINGS, "with --live")
    configure_logging()
    if live:
        limits = Limits.of_tier(tier) if tier is not None else RELAY_LIMITS
        relay = Relay(path, engine_name=engine, limits=limits, **arguments)
        asyncio.run(_relay(relay, duration, recorder=recorder))
        return
    exchange = Replay(
        path,
        speed=speed,
        start_ns=moment_ns(start, "--from") if start is not None else None,
        end_ns=moment_ns(end, "--to") if end is not None else None,
        loop=loop,
        retime=retime is not None,
        faithful_gaps=faithful_gaps,
        engine_name=engine,
        limits=Limits.of_tier(tier) if tier is not None else NO_LIMITS,
        **arguments,
    )
    asyncio.run(serve(exchange, duration))
    for error in exchange.recording.hidden:
        print_error(f"kraken-l3: not replayed: {error}")


async def _relay(relay: Relay, duration: Optional[float], *, recorder: bool) -> None:
    stop = stop_on_signal()
    if not recorder:
        await serve(relay, duration, stop=stop)
        return
    _set_at_end_of_stdin(stop)
    telling = asyncio.ensure_future(_tell_progress(relay))
    hint = "Write another address for `relay` in the recorder's configuration"
    try:
        await serve(relay, duration, stop=stop, say=lambda _: encode_relay(relay.progress()).decode(), port_hint=hint)
    finally:
        telling.cancel()


async def _tell_progress(relay: Relay) -> None:
    """By the event loop that serves: a relay that hangs says nothing."""
    with contextlib.suppress(BrokenPipeError):  # the recorder has ended, and so will this
        while True:
            click.echo(encode_relay(relay.progress()))
            await asyncio.sleep(_PROGRESS_S)


def _set_at_end_of_stdin(stop: asyncio.Event) -> None:
    """The recorder that runs this has ended, however it did."""
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()

    def wait() -> None:
        # the file itself: Python cannot end while such a thread holds the lock of sys.stdin
        while os.read(fd, 1024):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="end-of-recorder", daemon=True).start()
