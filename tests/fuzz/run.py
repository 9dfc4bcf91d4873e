"""The archive fuzzer: run.py [SEED [COUNT]] runs again what a failure named, or goes on from a seed.

Without a seed it goes on from a new one for `--seconds`, and tells the seeds and counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fuzz_bases import make_bases

__all__ = ["Outcome", "run_cases"]

#: Where `plan` would ask Kraken.
NOBODY_THERE = {"KRAKEN_L3_PUBLIC_WS_URL": "ws://127.0.0.1:9", "KRAKEN_L3_REST_URL": "http://127.0.0.1:9"}
_TELL_EVERY_S = 300

WORKER = Path(__file__).with_name("fuzz_worker.py")


class Outcome(NamedTuple):
    """What became of a case: `broken` is empty, or what went wrong."""

    seed: int
    told: str
    broken: str


def run_cases(root: Path, first: int, count: int, seconds: float = float("inf")) -> Iterator[Outcome]:
    """Run cases in processes of their own; one that does not come back is told, and the next begins another process."""
    bases = root / "bases"
    if not bases.exists():
        bases.mkdir(parents=True)
        make_bases(bases)
    end, last = time.monotonic() + seconds, first + count
    while first < last and time.monotonic() < end:
        with tempfile.TemporaryFile() as errors:
            arguments = [bases, root / "case", first, last - first, end - time.monotonic()]
            with subprocess.Popen(
                [sys.executable, WORKER, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **NOBODY_THERE},
            ) as worker:
                assert worker.stdout is not None
                running = None
                for line in worker.stdout:
                    seed, what, detail = json.loads(line)
                    running = seed if what == "begins" else None
                    if what != "begins":
                        first = seed + 1
                        yield Outcome(seed, detail, detail if what == "broken" else "")
            if running is None and worker.returncode == 0:
                return
            errors.seek(0)
            why = errors.read().decode(errors="replace")[-6000:]
            first = running + 1 if running is not None else last
            yield Outcome(first - 1, "", f"seed {first - 1}: the process ended with {worker.returncode}\n{why}")


def main() -> int:
    """As the module says; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("count", nargs="?", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3_600.0, help="for how long, without a seed")
    options = parser.parse_args()
    is_again = options.seed is not None
    first = options.seed if is_again else int(time.time()) * 1_000
    count, seconds = (options.count, float("inf")) if is_again else (10**9, options.seconds)
    begin, done, found = time.monotonic(), 0, []
    told = begin
    print(f"seeds from {first}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kraken-l3-fuzz-") as root:
        for outcome in run_cases(Path(root), first, count, seconds):
            done += 1
            now = time.monotonic()
            if outcome.broken:
                found.append(outcome.seed)
                print(f"\n== seed {outcome.seed}\n{outcome.broken}", flush=True)
            elif is_again:
                print(f"seed {outcome.seed}: {outcome.told}", flush=True)
            elif now - told > _TELL_EVERY_S:
                told = now
                print(f"{done} cases in {now - begin:.0f} s, {len(found)} findings", flush=True)
    print(
        f"{done} cases from seed {first} in {time.monotonic() - begin:.0f} s, findings: {found or 'none'}", flush=True
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
