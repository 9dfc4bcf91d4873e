"""Prints what commands cost: start-up against a bare Python, `info` against `verify`, `check` against SHA-256.

python -m bench.cli [--repeat 20] [--megabytes 200] [--json]

All in CPU seconds of whole processes, run in turns; the median of each. Start-up depends on the packages that are
installed (msgspec imports typing_extensions where it finds it) and on compiled files being there, which the first run
sees to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from kraken_l3.archive.manifest import Description, Manifest, SealedFile, encode_manifest
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339

START_NS = parse_rfc3339("2026-03-01T12:00:00Z")
COMMAND = [sys.executable, "-m", "kraken_l3"]
HASHING = """
import hashlib, sys
for name in sys.argv[1:]:
    digest, buffer = hashlib.sha256(), bytearray(1 << 20)
    with open(name, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
"""


class _Clock:
    now_ns = START_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def made(directory: Path, megabytes: int) -> dict[str, Path]:
    """A small archive of ours, a large file of others, and two sealed files with their manifest."""
    lines = list(generate(symbols=["BTC/USD"], messages=20_000, seed=1, start_ns=START_NS))
    clock = _Clock()
    writer = ArchiveWriter.open(directory / "small", clock=clock)
    for line in lines[:2_000]:
        clock.now_ns += NS_PER_S // 50
        writer.append("level3", [Frame(line, clock.now_ns, clock.now_ns, 1)])
    writer.close()
    once = b"".join(line + b"\n" for line in lines)  # begins with a snapshot, so it can follow itself
    data = once * (megabytes * 1_000_000 // len(once) + 1)
    large, sealed = directory / "large.ndjson", directory / "sealed"
    large.write_bytes(data)
    sealed.mkdir()
    names = ("l3-2026-03-01.ndjson.zst", "l3-2026-03-01.receipts")
    digest = hashlib.sha256(data).hexdigest()
    for name in names:
        os.link(large, sealed / name)
    files = [SealedFile(name=name, bytes=len(data), sha256=digest) for name in names]
    manifest = Manifest(day="2026-03-01", sealed_ns=0, program="bench", files=files, contains=Description())
    (sealed / "l3-2026-03-01.manifest.json").write_bytes(encode_manifest(manifest))
    return {"small": directory / "small", "large": large, "sealed": sealed}


def cpu_seconds(commands: dict[str, list[str]], repeat: int) -> dict[str, float]:
    """The median of each, run in turns; a first run of all does not count."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for turn in range(repeat + 1):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, env=environment, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if turn:
                found[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def measured(paths: dict[str, Path], repeat: int) -> list[dict[str, Any]]:
    """One row a command, with what it is compared to."""
    bare = [sys.executable, "-c", "pass"]
    starts = {
        "python -c pass": bare,
        "--help": [*COMMAND, "--help"],
        "verify --help": [*COMMAND, "verify", "--help"],
        "export snapshots --help": [*COMMAND, "export", "snapshots", "--help"],
        "info, small archive": [*COMMAND, "info", str(paths["small"])],
    }
    verify = [*COMMAND, "verify", "--jobs", "1", str(paths["large"])]
    reads = {"verify, one job": verify, "info, no receipts": [*COMMAND, "info", str(paths["large"])]}
    hashed = [str(path) for path in paths["sealed"].iterdir() if not path.name.endswith(".json")]
    checks = {
        "hashlib.sha256": [sys.executable, "-c", HASHING, *hashed],
        "check": [*COMMAND, "check", str(paths["sealed"])],
    }
    rows = []
    for commands, turns, goal in ((starts, repeat, 6.0), (reads, 3, 1.2), (checks, 3, 1.2)):
        seconds = cpu_seconds(commands, turns)
        base = next(iter(commands))
        for name, spent in seconds.items():
            rows.append(
                {
                    "command": name,
                    "cpu_seconds": round(spent, 4),
                    "against": base,
                    "ratio": round(spent / seconds[base], 2),
                    "goal": None if name == base else goal,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.cli")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rows = measured(made(Path(directory), options.megabytes), options.repeat)
    if options.json:
        print(json.dumps({"machine": describe_machine(), "rows": rows}))
        return
    table = Table("command", "CPU s", "against", "ratio", "goal", title=describe_machine(), title_justify="left")
    for row in rows:
        goal = "" if row["goal"] is None else f"{row['goal']:.1f}"
        table.add_row(row["command"], f"{row['cpu_seconds']:.3f}", row["against"], f"{row['ratio']:.2f}", goal)
    Console().print(table)


if __name__ == "__main__":
    main()
