"""What is done with whole days: the report of one, and sealing one beside a recorder at work."""

from __future__ import annotations

import shutil
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.operate.processes import COMMAND, exchange, recorder
from kraken_l3.archive.receipts import RECEIPT_BYTES

__all__ = ["report_of_a_day", "sealing_beside_a_recorder"]

#: The recorder hands over its lines so often, so that what sealing adds is seen and not the interval.
FLUSH_S = 0.005


def report_of_a_day(archive: Path) -> dict[str, float]:
    """Seconds of `kraken-l3 report`, start and pictures included."""
    size = max(archive.glob("l3-*.ndjson")).stat().st_size  # of the last day
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        done = subprocess.run([*COMMAND, "report", str(archive), "--out", out], capture_output=True, check=False)
        took = time.perf_counter() - began
        if done.returncode not in (0, 3):
            raise SystemExit(done.stderr.decode())
    return {"bytes": size, "seconds": took}


def sealing_beside_a_recorder(rate: float, seconds: float, archive: Path) -> dict[str, float]:
    """Milliseconds from the receipt of a message until it can be read in the file: at rest, and beside `seal`; and how
    much of a day is sealed in a second meanwhile."""
    with tempfile.TemporaryDirectory() as name, exchange(rate) as exports:
        more = {"KRAKEN_L3_FLUSH_INTERVAL_S": str(FLUSH_S)}
        with recorder(exports, Path(name), **more) as (_, data, _log):
            alone = delays(data, seconds)
            with sealing(archive, Path(name) / "day") as speeds:
                beside = delays(data, seconds)
    return {
        "p99_alone_ms": percentile(alone),
        "p99_beside_ms": percentile(beside),
        "sealed_mb_s": statistics.median(speeds),
    }


@contextmanager
def sealing(archive: Path, place: Path) -> Iterator[list[float]]:
    """A day that is sealed again and again, at the lowest priority; gives the megabytes a second of each time."""
    is_over = threading.Event()
    speeds: list[float] = []

    def work() -> None:
        while not is_over.is_set():
            shutil.copytree(archive, place)
            size = sum(path.stat().st_size for path in place.glob("*.ndjson"))
            began = time.perf_counter()
            subprocess.run([*COMMAND, "seal", "--low-priority", str(place)], capture_output=True, check=True)
            speeds.append(size / 1e6 / (time.perf_counter() - began))
            shutil.rmtree(place)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield speeds
    finally:
        is_over.set()
        worker.join()


def delays(data: Path, seconds: float) -> list[float]:
    """Milliseconds from the receipt of each message until it stands in the file, looked at every millisecond."""
    path = next(data.glob("l3-*.receipts"))
    found: list[float] = []
    with path.open("rb") as file:
        file.seek(0, 2)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            new = file.read()
            now_ns = time.time_ns()
            found += ((now_ns - recv_ns) / 1e6 for recv_ns in receive_times(new))
            if len(new) % RECEIPT_BYTES:
                file.seek(-(len(new) % RECEIPT_BYTES), 1)
            time.sleep(0.001)
    return found


def receive_times(receipts: bytes) -> Iterator[int]:
    for at in range(0, len(receipts) - RECEIPT_BYTES + 1, RECEIPT_BYTES):
        yield struct.unpack_from("<q", receipts, at)[0]


def percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
