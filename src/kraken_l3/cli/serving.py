"""What the commands share that run an exchange on this machine: `simulate` and `replay`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shlex
import ssl
import sys
from pathlib import Path
from typing import Optional

import click

from kraken_l3.cli.signals import stop_on_signal
from kraken_l3.clock import Clock
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.address import is_loopback
from kraken_l3.telemetry import get_logger

__all__ = ["ClientLog", "given_keys", "must_be_loopback", "serve", "tls_context"]

log = get_logger("kraken_l3.exchange")


class ClientLog:
    """Logs when clients come and go; implements `Observer`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

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
            log.warning("token refused", key=api_key, error=error)
        else:
            log.info("token given", key=api_key)


def _endpoint(connection: Connection) -> str:
    return "level3" if connection.session.private else "public"


def given_keys(texts: tuple[str, ...]) -> dict[str, str]:
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


def must_be_loopback(host: str) -> None:
    """The key is public and the data made up: neither belongs on a network."""
    if not is_loopback(host):
        raise UsageError(
            f"--host must be a loopback address, got {host}",
            hint="Use 127.0.0.1, ::1 or localhost; from another machine, connect through an SSH tunnel (ssh -L)",
        )


def tls_context(cert: Optional[Path], key: Optional[Path]) -> Optional[ssl.SSLContext]:
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


async def serve(exchange: Exchange, duration: Optional[float]) -> None:
    """Run an exchange until SIGINT, SIGTERM or the end of `duration` (seconds), and print how to reach it.

    Raises:
        LocalFault: it cannot listen there.
    """
    stop = stop_on_signal()
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
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exchange.environment.items())
