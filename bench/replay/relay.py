"""The live relay's delay: from the receipt of a message to its arrival at a client, all processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from kraken_l3.archive.reader import open_archive

__all__ = ["relay_delays"]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "kraken_l3"]


@contextlib.contextmanager
def _running(*options: str, env: dict[str, str], lines: int = 0) -> Iterator[list[str]]:
    """A command while the block lasts, and the first lines that it writes."""
    process = subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def relay_delays(scratch: Path, *, rate: int, clients: int, seconds: int) -> list[float]:
    """Delays in ms of all messages to all clients, shortest first."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
    with _running("simulate", "--port", "0", "--symbols", "BTC/USD", "--rate", str(rate), env=env, lines=5) as exports:
        pairs = (line.removeprefix("export ").partition("=") for line in exports)
        env.update({name: value.strip("'") for name, _, value in pairs})
        relay = {"KRAKEN_L3_RELAY": f"127.0.0.1:{port}", "XDG_STATE_HOME": str(scratch / "state")}
        options = ("--symbols", "BTC/USD", "--output-dir", str(scratch / "data"))
        with _running("record", *options, env={**env, **relay}):
            _wait_until_it_answers(port)
            urls = {"KRAKEN_L3_REST_URL": f"http://127.0.0.1:{port}", "KRAKEN_L3_WS_URL": f"ws://127.0.0.1:{port}/v2"}
            command = [sys.executable, "-m", "bench.replay.client", str(rate * seconds), str(max(1, clients // 2))]
            readers = [
                subprocess.Popen(command, cwd=ROOT, env={**env, **urls}, stdout=subprocess.PIPE, text=True)
                for _ in range(2)
            ]
            outputs = [line for reader in readers for line in reader.communicate()[0].splitlines()]
    return sorted(_delays(scratch / "data", outputs))


def _wait_until_it_answers(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/replay") as answer:
            if json.load(answer)["at"]:
                return
        time.sleep(0.05)


def _delays(directory: Path, outputs: list[str]) -> Iterator[float]:
    lines = list(open_archive(directory).lines("level3"))
    places = {crc32(line.payload): number for number, line in enumerate(lines)}
    for output in outputs:
        first, *times = map(int, output.split())
        begin = places[first]
        for line, at_ns in zip(lines[begin:], times):
            assert line.receipt is not None
            yield (at_ns - line.receipt.mono_ns) / 1e6
