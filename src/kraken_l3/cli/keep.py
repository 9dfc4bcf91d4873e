"""`kraken-l3 keep`: sealed days go to a store elsewhere, and old ones are removed here once they are proved there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

from kraken_l3.cli.console import Screen, print_error, progress, size, stoppable
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import lower_priority
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.keeping.job import KeepReport
from kraken_l3.keeping.job import keep as run_keep
from kraken_l3.keeping.rules import Limits

__all__ = ["keep"]

_GB = 10**9


def keep(
    path: Path, to: str, keep_days: Optional[int], keep_gb: Optional[float], as_json: bool, low_priority: bool
) -> int:
    """Run `kraken-l3 keep`; gives its exit code back."""
    if low_priority:
        lower_priority()
    limits = Limits(keep_days, None if keep_gb is None else int(keep_gb * _GB))
    try:
        with progress("uploading", None) as on_bytes, stoppable(on_bytes) as step:
            report = run_keep(path, to, SystemClock(), limits, progress=step)
    except KeyboardInterrupt:
        print_error("kraken-l3: interrupted. The same command goes on from here.")
        raise
    code = _exit_code(report)
    if as_json:
        return print_result(report, code)
    _print(report)
    return code


def _exit_code(report: KeepReport) -> int:
    if report.damaged:
        return DamageFound.exit_code
    return DataMissing.exit_code if report.failed or report.held_back else 0


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number:,} days"


def _print(report: KeepReport) -> None:
    screen, problems = Screen(), Screen(sys.stderr)  # the recorder logs what its child complains of
    screen.line(f"{report.uploaded:,} files uploaded and read back, {size(report.uploaded_bytes)}")
    screen.line(f"{_days(report.days_elsewhere)} whole in {report.url}")
    if report.removed:
        screen.line(f"{_days(len(report.removed))} removed here, {size(report.removed_bytes)}")
    for day, why in report.held_back.items():
        problems.line(f"{day} stays: it {why}", "yellow")
    for text in report.failed:
        problems.line(f"Not uploaded: {text}", "yellow")
    for text in report.damaged:
        problems.line(text, "red")
