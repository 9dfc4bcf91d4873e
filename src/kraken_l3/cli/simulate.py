"""`kraken-l3 simulate`: an exchange on this machine that speaks Kraken's protocol, for any client in any language; or,
with `--write`, an archive of its trading.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import shlex
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Optional, Union

import click
from click.core import ParameterSource

from kraken_l3.api.arguments import moment_ns
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.faults import load_script
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.flow.market import UNSORTED_ADDS
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import Exchange, made_up_keys
from kraken_l3.exchange.written import DEFAULT_START_NS, write_archive
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339
from kraken_l3.telemetry import configure_logging, get_logger

__all__ = ["simulate"]

log = get_logger("kraken_l3.exchange")


#: What only one of the two ways of simulating knows.
_OF_SERVER = ("host", "port", "tier", "keys", "api_key", "faults", "tls_cert", "tls_key", "sent_log")
_OF_ARCHIVE = ("depth", "start", "gaps")
_DEFAULT_WRITE_S = 3_600.0


def simulate(
    write: Optional[Path],
    depth: Optional[int],
    start: Optional[str],
    gaps: Optional[int],
    host: str,
    port: int,
    symbols: str,
    rate: float,
    seed: int,
    tier: str,
    keys: int,
    api_key: tuple[str, ...],
    faults: Optional[Path],
    tls_cert: Optional[Path],
    tls_key: Optional[Path],
    sent_log: Optional[Path],
    odd_numbers: float,
    unsorted_adds: Optional[float],
    duration: Optional[float],
) -> None:
    """Run `kraken-l3 simulate`."""
    _refuse(_OF_SERVER if write is not None else _OF_ARCHIVE, "with" if write is not None else "without")
    unsorted_adds = UNSORTED_ADDS if unsorted_adds is None else unsorted_adds
    if write is not None:
        start_ns = DEFAULT_START_NS if start is None else moment_ns(start, "--start")
        duration_ns = int((duration or _DEFAULT_WRITE_S) * NS_PER_S)
        _write(
            write,
            duration_ns=duration_ns,
            symbols=_symbols(symbols),
            depth=10 if depth is None else depth,
            rate=rate,
            seed=seed,
            start_ns=start_ns,
            gaps=gaps or 0,
            odd_numbers=odd_numbers,
            unsorted_adds=unsorted_adds,
        )
        return
    _must_be_loopback(host)
    if not rate >= 0:  # nan too
        raise UsageError(f"--rate must be 0 or more, got {rate}")
    try:
        limits = Limits.of_tier(tier)
    except KeyError as error:
        raise UsageError(f"--tier must be standard or pro, got {tier}") from error
    configure_logging()
    clock = SystemClock()
    flow = OrderFlow(
        _symbols(symbols),
        rate=rate,
        seed=seed,
        odd_numbers=odd_numbers,
        unsorted_adds=unsorted_adds,
        now_ns=clock.wall_ns(),
    )
    exchange = Exchange(
        flow,
        limits=limits,
        faults=load_script(faults) if faults is not None else (),
        host=host,
        port=port,
        tls=_tls(tls_cert, tls_key),
        clock=clock,
        keys=_given_keys(api_key) if api_key else made_up_keys(keys),
        sent=SentLog(keep=False, path=sent_log),
        observer=_ClientLog(clock),
    )
    asyncio.run(_serve(exchange, duration))


def _refuse(options: tuple[str, ...], how: str) -> None:
    """Options that would do nothing."""
    context = click.get_current_context()
    for name in options:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} has no meaning {how} --write")


def _write(directory: Path, **how: Any) -> None:
    began, cpu_began = time.perf_counter(), time.process_time()
    written = write_archive(directory, **how)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    lines = written.level3 + written.trade
    click.echo(
        f"{directory}: {written.level3:,} level3 messages and {written.trade:,} trade messages, "
        f"{format_rfc3339(written.start_ns)[:19]} to {format_rfc3339(written.end_ns)[:19]} UTC"
    )
    click.echo(f"{lines / max(cpu_s, 1e-9):,.0f} lines/s of CPU time, {seconds:.1f} s in all", err=True)


class _ClientLog:
    """Logs when clients come and go; implements `Observer`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def opened(self, connection: Connection) -> None:
        log.info("connection opened", endpoint=_endpoint(connection), connection=connection.number)

    def closed(self, connection: Connection) -> None:
        log.info(
            "connection closed",
            endpoint=_endpoint(connection),
            connection=connection.number,
            seconds=round((self._clock.mono_ns() - connection.opened_ns) / 1e9, 1),
            messages=connection.messages,
        )

    def asked_for_token(self, api_key: str, error: str) -> None:
        if error:
            log.warning("token refused", key=api_key, error=error)
        else:
            log.info("token given", key=api_key)


def _endpoint(connection: Connection) -> str:
    return "level3" if connection.session.private else "public"


def _given_keys(texts: tuple[str, ...]) -> dict[str, str]:
    keys = {}
    for text in texts:
        key, _, secret = text.partition(":")
        try:
            # Nothing is shown of the text: somebody might pass a key that opens something
            if not key or not base64.b64decode(secret, validate=True):
                raise UsageError("--api-key must be KEY:SECRET")
        except ValueError as error:
            raise UsageError("--api-key must be KEY:SECRET, with the secret in base64") from error
        keys[key] = secret
    return keys


def _must_be_loopback(host: str) -> None:
    """The key is public and the data made up: neither belongs on a network."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise UsageError(
            f"--host must be a loopback address, got {host}",
            hint="Use 127.0.0.1, ::1 or localhost; from another machine, connect through an SSH tunnel (ssh -L)",
        )


def _symbols(text: str) -> Union[int, list[str]]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or text == "0":
        raise UsageError(f"--symbols must name at least one pair, got {text!r}")
    if text.isdigit():
        return int(text)
    try:
        listing(names)
    except KeyError as error:
        known = ", ".join(pair.symbol for pair in listing())
        raise UsageError(
            f"--symbols: unknown pair {error.args[0]}",
            hint=f"Known pairs: {known}, S001/USD, S002/USD ...; or give a number of pairs",
        ) from error
    return names


def _tls(cert: Optional[Path], key: Optional[Path]) -> Optional[ssl.SSLContext]:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--tls-cert and --tls-key must be given together")
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
        raise LocalFault(
            f"cannot listen: {error.strerror}", hint="Choose another --port; 0 takes a free one"
        ) from error
    try:
        click.echo(_exports(exchange))
        sys.stdout.flush()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), duration)
    finally:
        await exchange.__aexit__(None, None, None)


def _exports(exchange: Exchange) -> str:
    values = {
        "KRAKEN_L3_REST_URL": exchange.rest_url,
        "KRAKEN_L3_WS_URL": exchange.ws_url,
        "KRAKEN_L3_PUBLIC_WS_URL": exchange.public_ws_url,
    }
    for number, (key, secret) in enumerate(exchange.keys.items(), 1):
        suffix = f"_{number}" if number > 1 else ""
        values[f"KRAKEN_API_KEY{suffix}"] = key
        values[f"KRAKEN_API_SECRET{suffix}"] = secret
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())
