"""`kraken-l3 doctor`: is everything ready for a recorder that is left alone?"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Optional

from kraken_l3.app.doctor.examination import examine
from kraken_l3.app.doctor.finding import exit_code_of
from kraken_l3.cli.console import Screen, Table
from kraken_l3.cli.json_output import print_result

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warning": "yellow", "bad": "red", "skipped": "dim"}


def doctor(config: Optional[Path], as_json: bool) -> int:
    """Run `kraken-l3 doctor`."""
    findings = asyncio.run(examine(config))
    code = exit_code_of(findings)
    counts = Counter(finding.state for finding in findings)
    if as_json:
        return print_result({"findings": [finding._asdict() for finding in findings], "counts": counts}, code)
    table = Table("state", "check", "what was found", "what to do")
    for finding in findings:
        table.add(finding.state, finding.check, finding.what, finding.remedy, style=_STYLES[finding.state])
    screen = Screen()
    screen.table(table)
    screen.line(", ".join(f"{counts[state]} {state}" for state in _STYLES if counts[state]), "bold")
    return code
