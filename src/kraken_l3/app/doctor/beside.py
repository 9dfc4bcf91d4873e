"""What the configuration has run beside the recording: the ports of `http` and `relay`, and the store of `upload`."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import aiohttp

from kraken_l3.app.doctor.finding import Finding, bad, good
from kraken_l3.archive.lock import holder_of
from kraken_l3.errors import ArchiveLocked
from kraken_l3.keeping.upload import Store
from kraken_l3.model.address import Address

__all__ = ["check_port", "check_upload"]


async def check_port(key: str, address: Address, output_dir: Path, *, answer_s: float = 3.0) -> list[Finding]:
    """Whether a server can listen there, or the recorder's own one does.

    Args:
        key: of the configuration: "http" or "relay".
        address: what it says.
        output_dir: tells whether the recorder runs.
        answer_s: how long whoever has the port may take to say who it is.
    """
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, address.host, address.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return [bad(key, f"cannot listen on {address}: {error.strerror}", _remedy(error))]
        if _is_recording(output_dir) and await _is_ours(address, answer_s):
            return [good(key, f"{address}: the recorder serves there")]
        return [
            bad(key, f"another program listens on {address}", "Stop it (ss -ltnp shows it), or choose another port")
        ]
    server.close()
    return [good(key, f"{address} is free")]


def _remedy(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "Choose a port of 1024 or more: those below are the administrator's"
    return "Name an address of this machine, such as 127.0.0.1"


def _is_recording(output_dir: Path) -> bool:
    try:
        return holder_of(output_dir) is not None
    except ArchiveLocked:
        return True


async def _is_ours(address: Address, answer_s: float) -> bool:
    """The page says in every answer what it is; only a relay knows this path."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=answer_s)) as session,
            session.get(f"http://{address}/replay", allow_redirects=False) as answer,
        ):
            is_relay = answer.status == 200 and b'"live": true' in await answer.content.read(4096)
            return is_relay or answer.headers.get("Server") == "kraken-l3"
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        return False


def check_upload(url: str, output_dir: Path) -> list[Finding]:
    """Whether a file can be written there and comes back; it is removed again.

    Raises:
        KrakenL3Error: it cannot, and why.
    """
    store = Store(url)
    if store.is_at(output_dir):
        return [bad("upload", f"{url} is output_dir itself", "Name a directory on another disk, or an object store", 1)]
    left = store.try_out()
    told = f"; {left} stays there, since this key may not remove it" if left else ""
    return [good("upload", f"{url}: what is written there comes back{told}")]
