"""What the commands share that run an exchange on this machine: `simulate` and `replay`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shlex
import ssl
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import click
from click.core import ParameterSource

from kraken_l3.cli.signals import stop_on_signal
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.fault_log import FaultLog
from kraken_l3.exchange.faults import load_script
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import Exchange, made_up_keys
from kraken_l3.model.address import is_loopback
from kraken_l3.telemetry import get_logger

__all__ = ["ServerOptions", "refuse_options", "serve"]

log = get_logger("kraken_l3.exchange")


class ClientLog:
    """Logs when clients come and go; implements `Observer`.

    Of keys it names only these: another one may open something at Kraken.
    """

    def __init__(self, clock: Clock, keys: Collection[str]) -> None:
        self._clock = clock
        self._keys = keys

    def opened(self, connection: Connection) -> None:
        """See `Observer.opened`."""
        log.info("connection opened", endpoint=_endpoint(connection), connection=connection.number)

    def closed(self, connection: Connection) -> None:
        """See `Observer.closed`."""
        log.info(
            "connection closed",
            endpoint=_endpoint(connection),
            connection=connection.number,
            seconds=round((self._clock.mono_ns() - connection.opened_ns) / 1e9, 1),
            messages=connection.messages,
        )

    def asked_for_token(self, api_key: str, error: str) -> None:
        """See `Observer.asked_for_token`."""
        if error:
            key = api_key if api_key in self._keys else "none of this server's"
            log.warning("token refused", key=key, error=error)
        else:
            log.info("token given", key=api_key)


def _endpoint(connection: Connection) -> str:
    return "level3" if connection.session.private else "public"


def _given_keys(texts: tuple[str, ...]) -> dict[str, str]:
    """API keys and their secrets, each given as KEY:SECRET.

    Raises:
        UsageError: one is not of that form, or the secret no base64.
    """
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
    if not is_loopback(host):
        raise UsageError(
            f"--host must be a loopback address, got {host}",
            hint="Use 127.0.0.1, ::1 or localhost; from another machine, connect through an SSH tunnel (ssh -L)",
        )


def _tls_context(cert: Optional[Path], key: Optional[Path]) -> Optional[ssl.SSLContext]:
    """For https and wss; None where neither file is given.

    Raises:
        UsageError: one is missing, or cannot be used.
    """
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


class ServerOptions(NamedTuple):
    """The options that these commands share (`cli.exchange_commands` declares them)."""

    host: str
    port: int
    keys: int
    api_key: tuple[str, ...]
    faults: Optional[Path]
    fault_log: Optional[Path]
    fault_seed: int
    tls_cert: Optional[Path]
    tls_key: Optional[Path]
    sent_log: Optional[Path]

    def arguments(self) -> dict[str, Any]:
        """What `Exchange` takes of them.

        Raises:
            UsageError: one of them cannot be used.
            ConfigError: the fault script cannot be read.
        """
        _must_be_loopback(self.host)
        clock = SystemClock()
        keys = _given_keys(self.api_key) if self.api_key else made_up_keys(self.keys)
        return {
            "faults": load_script(self.faults) if self.faults is not None else (),
            "fault_log": FaultLog(self.fault_log) if self.fault_log is not None else None,
            "fault_seed": self.fault_seed,
            "host": self.host,
            "port": self.port,
            "tls": _tls_context(self.tls_cert, self.tls_key),
            "clock": clock,
            "keys": keys,
            "sent": SentLog(keep=False, path=self.sent_log),
            "observer": ClientLog(clock, keys),
        }


def refuse_options(names: Iterable[str], how: str) -> None:
    """Options on the command line that would do nothing.

    Raises:
        UsageError: one is there.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise UsageError(f"{parameter.opts[0]} has no meaning {how}")


async def serve(
    exchange: Exchange,
    duration: Optional[float] = None,
    *,
    stop: Optional[asyncio.Event] = None,
    say: Optional[Callable[[Exchange], str]] = None,
    port_hint: str = "Choose another --port; 0 takes a free one",
) -> None:
    """Run an exchange until SIGINT, SIGTERM, `stop` or the end of `duration` (seconds).

    It prints what `say` says when it can be reached; by default lines to paste into a shell. `port_hint` says what to
    do where it cannot listen.

    Raises:
        LocalFault: it cannot listen there.
        KrakenL3Error: its feed cannot be read any more.
    """
    stopped = asyncio.ensure_future((stop or stop_on_signal()).wait())
    serving = asyncio.ensure_future(_serve(exchange, say or _exports, port_hint))
    try:
        await asyncio.wait([stopped, serving], timeout=duration, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _serve(exchange: Exchange, say: Callable[[Exchange], str], port_hint: str) -> None:
    try:
        await exchange.__aenter__()
    except OSError as error:
        raise LocalFault(f"cannot listen: {error.strerror}", hint=port_hint) from error
    try:
        click.echo(say(exchange))
        sys.stdout.flush()
        await exchange.run_until_failure()
    finally:
        await exchange.__aexit__(None, None, None)


def _exports(exchange: Exchange) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exchange.environment.items())
