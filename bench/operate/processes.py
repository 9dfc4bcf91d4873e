"""The processes that a measurement is about: an exchange and a recorder, each by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kraken_l3.monitor.status_file import read_status

__all__ = ["COMMAND", "exchange", "recorder", "until"]

COMMAND = [sys.executable, "-m", "kraken_l3"]
WAIT_S = 60.0


@contextmanager
def exchange(rate: float) -> Iterator[dict[str, str]]:
    """An exchange at work; the environment of its clients."""
    command = [*COMMAND, "simulate", "--port", "0", "--rate", str(rate), "--symbols", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        exports: dict[str, str] = {}
        while len(exports) < 5:
            found = re.match(r"export (\w+)='?([^'\n]*)'?$", process.stdout.readline().strip())
            if found:
                exports[found[1]] = found[2]
        try:
            yield exports
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def recorder(exports: dict[str, str], directory: Path, **more: str) -> Iterator[tuple[int, Path, Path]]:
    """A recorder at work: its pid, its archive and its log."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
    environment.update(exports, XDG_STATE_HOME=str(directory / "state"), KRAKEN_L3_SYMBOLS="all", **more)
    log = directory / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*COMMAND, "record", "-o", str(directory / "data")], env=environment, stderr=errors
        ) as process,
    ):
        try:
            until(lambda: is_whole(directory / "data"))
            yield process.pid, directory / "data", log
        finally:
            process.terminate()


def is_whole(archive: Path) -> bool:
    """Whether every symbol is being recorded."""
    status = read_status(archive)
    return status is not None and status.recording == len(status.rows) > 0


def until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the recorder did not come up")
        time.sleep(0.05)
