"""Where a server listens: HOST:PORT as text, and whether only this machine can reach it."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

__all__ = ["Address", "is_loopback", "parse_address"]


class Address(NamedTuple):
    """A host (name or IP address, without brackets) and a TCP port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in a text: `127.0.0.1:9464`, `localhost:9464`, `[::1]:9464`.

    Raises:
        ValueError: it is none; the text says what an address is.
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16
    if not (colon and bare and is_port) or (":" in host) != is_bracketed:
        raise ValueError(f"an address is HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464, got {text!r}")
    return Address(bare, int(port))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as nothing else can reach it: 127.0.0.0/8, ::1 or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
