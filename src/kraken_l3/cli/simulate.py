"""`kraken-l3 simulate`: a Kraken on this machine, for trying things out and for tests in any language."""

import asyncio
import contextlib
import ipaddress
import signal
import ssl
import sys
from pathlib import Path
from typing import Annotated, Optional, Union

import typer

from kraken_l3.clock import SystemClock
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.faults import load_script
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import Exchange

__all__ = ["simulate"]


def simulate(
    host: Annotated[str, typer.Option("--host", help="Address to listen on; a loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    symbols: Annotated[
        str, typer.Option("--symbols", help="Pairs, comma separated, or how many (made-up ones follow the real ones).")
    ] = "BTC/USD,ETH/USD",
    rate: Annotated[
        float,
        typer.Option("--rate", help="level3 messages a second over all pairs; inf: as fast as they are read."),
    ] = 50.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same trading.")] = 0,
    tier: Annotated[str, typer.Option("--tier", help="Account tier whose limits hold: standard or pro.")] = "standard",
    faults: Annotated[
        Optional[Path], typer.Option("--faults", help="Fault script (YAML), see docs/exchange.md.")
    ] = None,
    tls_cert: Annotated[
        Optional[Path], typer.Option("--tls-cert", help="Certificate chain (PEM) for https and wss.")
    ] = None,
    tls_key: Annotated[Optional[Path], typer.Option("--tls-key", help="Its private key (PEM).")] = None,
    sent_log: Annotated[
        Optional[Path],
        typer.Option("--sent-log", help="Write every level3 message handed to a socket to this file, one a line."),
    ] = None,
    odd_numbers: Annotated[
        float, typer.Option("--odd-numbers", min=0.0, max=1.0, help="Share of numbers written as 1e-05 or in quotes.")
    ] = 0.0,
    duration: Annotated[
        Optional[float], typer.Option("--duration", min=0.1, help="Stop after so many seconds.")
    ] = None,
) -> None:
    """Run an exchange on this machine that speaks Kraken's protocol: token, level3, instruments, trades.

    Prints lines to paste into a shell, after which `kraken-l3 record` (or any Kraken client) talks to it. Ctrl+C or
    SIGTERM end it with exit code 0.
    """
    _must_be_loopback(host)
    if not rate >= 0:  # typer overlooks a least value of 0 for floats on Python 3.9, and nan everywhere
        raise UsageError(f"--rate {rate}: messages a second, 0 or more")
    clock = SystemClock()
    exchange = Exchange(
        OrderFlow(_symbols(symbols), rate=rate, seed=seed, odd_numbers=odd_numbers, now_ns=clock.wall_ns()),
        limits=_limits(tier),
        faults=load_script(faults) if faults is not None else (),
        host=host,
        port=port,
        tls=_tls(tls_cert, tls_key),
        clock=clock,
        sent=SentLog(keep=False, path=sent_log),
    )
    asyncio.run(_serve(exchange, duration))


def _must_be_loopback(host: str) -> None:
    """The key is public and the data made up: neither belongs on a network."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise UsageError(
            f"--host {host}: the exchange listens on loopback only",
            hint="Use 127.0.0.1, ::1 or localhost; an SSH tunnel (ssh -L) reaches it from elsewhere",
        )


def _symbols(text: str) -> Union[int, list[str]]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or text == "0":
        raise UsageError(f"--symbols {text}: there would be nothing to trade")
    if text.isdigit():
        return int(text)
    try:
        listing(names)
    except KeyError as error:
        known = ", ".join(pair.symbol for pair in listing())
        raise UsageError(
            f"--symbols: {error.args[0]} is not traded here",
            hint=f"Known: {known}, S001/USD, S002/USD ..., or a number",
        ) from error
    return names


def _limits(tier: str) -> Limits:
    try:
        return Limits.of_tier(tier)
    except KeyError as error:
        raise UsageError(f"--tier {tier}: there is no such tier", hint="It is standard or pro") from error


def _tls(cert: Optional[Path], key: Optional[Path]) -> Optional[ssl.SSLContext]:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--tls-cert and --tls-key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"cannot use the certificate: {error}", where=str(cert)) from error
    return context


async def _serve(exchange: Exchange, duration: Optional[float]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    try:
        await exchange.__aenter__()
    except OSError as error:
        raise LocalFault(f"cannot listen: {error.strerror}", hint="Another --port? 0 takes a free one") from error
    try:
        typer.echo(_exports(exchange))
        sys.stdout.flush()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), duration)
    finally:
        await exchange.__aexit__(None, None, None)


def _exports(exchange: Exchange) -> str:
    return "\n".join(
        f"export {name}={value}"
        for name, value in (
            ("KRAKEN_L3_REST_URL", exchange.rest_url),
            ("KRAKEN_L3_WS_URL", exchange.ws_url),
            ("KRAKEN_L3_PUBLIC_WS_URL", exchange.public_ws_url),
            ("KRAKEN_API_KEY", exchange.api_key),
            ("KRAKEN_API_SECRET", exchange.api_secret),
        )
    )
