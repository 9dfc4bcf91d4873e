"""Connections that only remember what they were told."""

from __future__ import annotations

from typing import Any, Optional

from kraken_l3.capture.channel import Channel, instrument, level3
from kraken_l3.capture.open_connections import OpenConnections


class FakeConnection:
    def __init__(self, number: int, channel: Channel, last_recv_ns: int = 0) -> None:
        self.number = number
        self.channel = channel
        self.last_recv_ns = last_recv_ns
        self.told: list[Any] = []

    def end(self, cause: str, detail: str, *, kept_until_ns: int = 0) -> None:
        self.told.append(("end", cause, kept_until_ns))

    def deliver(self) -> None:
        self.told.append("deliver")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def resync(self, symbol: Optional[str]) -> bool:
        self.told.append(("resync", symbol))
        return True


def two_connections() -> tuple[OpenConnections, FakeConnection, FakeConnection]:
    """One of level3, one of the instrument list, both open."""
    connections = OpenConnections()
    data = FakeConnection(1, level3(["A/B", "C/D"], 10), last_recv_ns=77)
    public = FakeConnection(2, instrument(lambda *_: None))
    for connection in (data, public):
        connections.add(connection)  # type: ignore[arg-type]
    return connections, data, public
