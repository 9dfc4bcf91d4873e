"""A recorder and an embedded exchange in one event loop, over real sockets and into real files."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from kraken_l3.app.recorder import Recorder
from kraken_l3.archive.journal import decode_record
from kraken_l3.archive.receipts import unpack_receipts
from kraken_l3.clock import SystemClock
from kraken_l3.config.settings import Settings
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.server import Exchange

#: Long enough for a machine that does much else meanwhile; nothing waits longer than it has to.
WAIT_S = 60.0


def flow(symbols: Any = ("BTC/USD", "ETH/USD"), rate: float = 500.0, clock: Any = None) -> OrderFlow:
    return OrderFlow(symbols, rate=rate, seed=1, now_ns=(clock or SystemClock()).wall_ns())


class JumpingClock:
    """The machine's clocks, with a wall clock that can be moved."""

    def __init__(self, offset_ns: int = 0) -> None:
        self.offset_ns = offset_ns
        self.advanced_ns = 0

    def wall_ns(self) -> int:
        return SystemClock.wall_ns() + self.offset_ns

    def mono_ns(self) -> int:
        return SystemClock.mono_ns() + self.advanced_ns

    def step_to(self, wall_ns: int) -> None:
        """Set the wall clock, as an operator or NTP does."""
        self.offset_ns = wall_ns - SystemClock.wall_ns()

    def advance(self, ns: int) -> None:
        """Let time pass, for both clocks."""
        self.offset_ns += ns
        self.advanced_ns += ns


class Delays(list):
    """Waits a twentieth of what it is told to, or another part, and lists what was waited for."""

    part = 20

    async def __call__(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.part)
        self.append(seconds)


class Recording:
    """Records while it is entered; afterwards the archive is whole and can be read.

    Args:
        directory: of the archive.
        exchange: a running one.
        clock: the recorder's (None: the machine's).
        options: more of the recorder's settings; `limits`, `open_writer`, `connect` and `take_over` go to the recorder
            itself.

    Attributes:
        delays: seconds that the recorder waited before another attempt; it waits a twentieth of them.
    """

    def __init__(self, directory: Path, exchange: Exchange, clock: Any = None, **options: Any) -> None:
        parts = {
            name: options.pop(name) for name in ("limits", "open_writer", "connect", "take_over") if name in options
        }
        self.directory = directory
        values: dict[str, Any] = {
            "symbols": ["BTC/USD", "ETH/USD"],
            "output_dir": directory,
            "rest_url": exchange.rest_url,
            "ws_url": exchange.ws_url,
            "public_ws_url": exchange.public_ws_url,
            "api_key": exchange.api_key,
            "api_secret": exchange.api_secret,
            "flush_interval_s": 0.02,
            "fsync_interval_s": 0.1,
            "verify": False,
            "redundancy": 1,
            **options,
        }
        self.delays = Delays()
        self.settings = Settings(**values)
        self.recorder = Recorder(self.settings, clock=clock, sleep=self.delays, **parts)
        self._stop = asyncio.Event()
        self.task: Optional[asyncio.Task] = None

    async def __aenter__(self) -> "Recording":
        self.task = asyncio.ensure_future(self.recorder.run(self._stop))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        assert self.task is not None
        await asyncio.wait_for(self.task, WAIT_S)

    def stop(self) -> None:
        """Ask it to end, as SIGTERM does."""
        self._stop.set()

    async def until(self, condition: Callable[["Recording"], bool]) -> None:
        """Wait for something in the files or in the recorder."""
        assert self.task is not None
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while not condition(self):
            if self.task.done():
                self.task.result()
            assert asyncio.get_running_loop().time() < deadline, self.explain()
            await asyncio.sleep(0.01)

    async def until_whole(self) -> None:
        """Wait until every symbol had its snapshot: how many messages that takes depends on the machine."""
        await self.until(lambda r: r.recorder.gaps is not None and r.recorder.gaps.recorded >= set(r.recorder.symbols))

    async def until_lines(self, count: int) -> None:
        """Wait until every symbol had its snapshot and so many level3 messages are in the archive."""
        await self.until_whole()
        await self.until(lambda r: len(r.lines()) >= count)

    async def until_acknowledged(self) -> None:
        """Wait until every symbol has its data and, a little later, its subscription in the journal."""
        await self.until_whole()
        await self.until_records("Acknowledged", len(self.recorder.symbols), channel="level3")

    async def until_records(self, kind: str, count: int = 1, **fields: Any) -> None:
        await self.until(lambda r: len(r.records(kind, **fields)) >= count)

    def explain(self) -> str:
        return "\n".join(str(record)[:200] for record in self.journal())

    # -- what is in the archive ----------------------------------------------------------------------------------------

    def journal(self) -> list:
        lines = [line for path in sorted(self.directory.glob("journal-*.ndjson")) for line in _whole_lines(path)]
        return [decode_record(line) for line in lines]

    def records(self, kind: str, **fields: Any) -> list:
        found = []
        for record in self.journal():
            if msgspec.structs.asdict(record).items() >= fields.items() and type(record).__name__ == kind:
                found.append(record)
        return [record for record in found if not record.restated]

    def lines(self, prefix: str = "l3") -> list[bytes]:
        return [line for path in sorted(self.directory.glob(f"{prefix}-*.ndjson")) for line in _whole_lines(path)]

    def receipts(self, prefix: str = "l3") -> list[tuple[int, int, int, int, int]]:
        paths = sorted(self.directory.glob(f"{prefix}-*.receipts"))
        return [receipt for path in paths for receipt in unpack_receipts(path.read_bytes())]

    def by_connection(self, prefix: str = "l3") -> dict[int, list[bytes]]:
        """Connection number -> its lines, in order."""
        found: dict[int, list[bytes]] = defaultdict(list)
        lines, receipts = self.lines(prefix), self.receipts(prefix)
        assert len(lines) == len(receipts)
        for line, (_, _, _, connection, _) in zip(lines, receipts):
            found[connection].append(line)
        return dict(found)


def _whole_lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].splitlines()


def run(main: Any) -> Any:
    """Run an async test; a time-out of the whole stands in pyproject.toml."""
    return asyncio.run(main)
