"""`kraken-l3 verify` as a user runs it: start to report, with the memory of all its processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.memory import anon_bytes

__all__ = ["CommandRun", "run_verify", "sealed_copy"]

POLL_S = 0.01
READ_BYTES = 8 << 20


@dataclass(frozen=True)
class CommandRun:
    """One run of the command.

    `cpu_seconds`: of all its threads and processes; over `seconds` it tells how much of the machine it got.
    `anon_bytes`: the most anonymous memory that its processes held together.
    """

    seconds: float
    cpu_seconds: float
    bytes: int
    messages: int
    ok: int
    exit_code: int
    anon_bytes: int


def run_verify(path: Path, jobs: int, engine: str = "native") -> CommandRun:
    """Verify a file, or a directory, that is in the page cache."""
    size = sum(map(_warm, path.glob("l3-*"))) if path.is_dir() else _warm(path)
    start, cpu_start = time.perf_counter(), _children_cpu_s()
    command = [
        sys.executable,
        "-m",
        "kraken_l3",
        "verify",
        str(path),
        "--json",
        "--jobs",
        str(jobs),
        "--engine",
        engine,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        anon = _peak_anon(process)
        out, _ = process.communicate()
    seconds = time.perf_counter() - start
    report = json.loads(out)
    report = report.get("result", report)  # older versions print it bare
    counts = report.get("total", report)
    cpu_seconds = _children_cpu_s() - cpu_start
    content = report.get("bytes", size)  # of a sealed file what it unpacks to
    return CommandRun(seconds, cpu_seconds, content, counts["messages"], counts["ok"], process.returncode, anon)


def sealed_copy(path: Path) -> Path:
    """The file as `kraken-l3 seal` leaves it; made once."""
    directory = path.parent / f"{path.name.split('.')[0]}-sealed"
    sealed = directory / f"{path.name}.zst"
    if not sealed.exists():
        directory.mkdir(exist_ok=True)
        shutil.copy(path, directory)
        subprocess.run(
            [sys.executable, "-m", "kraken_l3", "seal", str(directory / path.name)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return sealed


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _warm(path: Path) -> int:
    size = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(READ_BYTES):
            size += len(chunk)
    return size


def _peak_anon(process: subprocess.Popen[bytes]) -> int:
    """Follows the processes until the first ends; 0 where there is no /proc."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(anon_bytes(pid) for pid in _family(process.pid)))
        time.sleep(POLL_S)
    return peak


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in pids:
            yield from _family(int(child))
