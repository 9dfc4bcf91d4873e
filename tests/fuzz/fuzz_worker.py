"""A process that runs cases one after another, with bounds on the time and the memory of each.

fuzz_worker.py BASES PLACE FIRST COUNT SECONDS: for each seed prints [seed, "begins", ""], then [seed, "ok", what was
done] or [seed, "broken", why].
"""

from __future__ import annotations

import faulthandler
import json
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from fuzz_case import run_case

__all__: list[str] = []

#: For all the commands of a case together, each on less than 100 kB of data or on a bomb of 70 MB: of the processor,
#: and by the clock, which runs on while others have the processor.
CPU_SECONDS = 60
CLOCK_SECONDS = 300
#: Above what the process holds before the first case.
MOST_MIB = 1_500
MOST_ADDRESSES = 4 << 30


def main(bases: Path, place: Path, first: int, count: int, seconds: float) -> None:
    """Run the cases whose seeds begin with `first`, for so long at most."""
    end = time.monotonic() + seconds
    used = _address_bytes() + MOST_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    faulthandler.register(signal.SIGPROF, chain=True)  # and then the signal ends the process
    for seed in range(first, first + count):
        if time.monotonic() > end:
            break
        say(seed, "begins", "")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        faulthandler.dump_traceback_later(CLOCK_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        peak = _peak_bytes()
        try:
            told = run_case(bases, place, seed)
        except Exception:
            say(seed, "broken", traceback.format_exc())
        else:
            grown = (_peak_bytes() - peak) >> 20
            say(seed, *("ok", told) if grown <= MOST_MIB else ("broken", f"seed {seed}: {told}: took {grown} MiB"))
        faulthandler.cancel_dump_traceback_later()
    shutil.rmtree(place, ignore_errors=True)


def say(seed: int, what: str, detail: str) -> None:
    print(json.dumps([seed, what, detail]), flush=True)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
