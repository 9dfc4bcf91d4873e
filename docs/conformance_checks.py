"""Writes the list of checks in docs/conformance.md: python docs/conformance_checks.py

With --check it writes nothing, and fails where the page is not up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kraken_l3.conformance.check import Check
from kraken_l3.conformance.checks import CHECKS

PAGE = Path(__file__).parent / "conformance.md"
BEGIN = "<!-- written by docs/conformance_checks.py -->\n"


def page() -> str:
    """The page with the list as it is to be."""
    head = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    parts: dict[str, list[Check]] = {}
    for each in CHECKS:
        parts.setdefault(each.id.partition(".")[0], []).append(each)
    return head + BEGIN + "".join(_table(part, checks) for part, checks in parts.items())


def _table(part: str, checks: list[Check]) -> str:
    rows = [f"| `{each.id}` | {each.says} | [{each.certainty.value}]({each.source}) |" for each in checks]
    return "\n".join(["", f"### {part}", "", "| check | what is to hold | |", "| --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != wanted:
        raise SystemExit("docs/conformance.md is not up to date: run python docs/conformance_checks.py")
