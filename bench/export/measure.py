"""One measurement in a process of its own: python -m bench.export.measure WHAT ARCHIVE [JOBS]. Prints JSON.

`cpu` is that of this process, so of all the work only where there is one job.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_format, export_orders, export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.features import FeaturesTable
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.verify import verify

TABLES = {
    "grid": SnapshotsTable(grid_ns=1_000_000_000),
    "change": SnapshotsTable(),
    "events": EventsTable(),
    "features": FeaturesTable(),
}


#: Other tools' formats, with their options.
FORMATS: dict[str, dict[str, object]] = {"hftbacktest": {"resync": "diff"}, "nautilus": {}, "lobster": {}, "tardis": {}}


class PeakMemory:
    """Largest anonymous memory of this process, looked at every 5 ms; 0 where /proc does not tell."""

    def __init__(self) -> None:
        self.mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        path = Path("/proc/self/status")
        while path.exists() and not self._over.wait(0.005):
            line = next(line for line in path.read_text().splitlines() if line.startswith("RssAnon"))
            self.mb = max(self.mb, int(line.split()[1]) / 1e3)


def main() -> None:
    what, source = sys.argv[1], Path(sys.argv[2])
    jobs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if "pinned" in sys.argv:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as target, PeakMemory() as memory:
        start, cpu_start = time.perf_counter(), time.process_time()
        rows = bytes_ = 0
        if what == "verify":
            verify(source, jobs=jobs)
        else:
            if what == "orders":
                report = export_orders(str(source), target, jobs=jobs)
            elif what in FORMATS:
                symbols = sorted({told.symbol for told in metadata_in(open_archive(source))})
                report = export_format(str(source), target, what, symbols, options=FORMATS[what], jobs=jobs)
            else:
                report = export_table(str(source), target, TABLES[what], jobs=jobs)
            rows, bytes_ = sum(f.rows or 0 for f in report.files), sum(f.bytes for f in report.files)
            assert report.exit_code() == 0
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rows": rows, "bytes": bytes_, "anon_mb": memory.mb}))


if __name__ == "__main__":
    main()
