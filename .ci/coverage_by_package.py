"""Prints a coverage.json by package and the weakest modules, and fails below the gates.

coverage_by_package.py FILE [PACKAGE ...]: only these packages count, where some are named.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

# Below what is reached. Raise them with the tests; never lower them.
LINES_GATE = 95.0
BRANCHES_GATE = 90.0
WEAK = 90.0


def shares(summaries: list) -> tuple[float, float]:
    """Per cent of the lines and of the branches; of nothing, all."""

    def share(covered: str, total: str) -> float:
        whole = sum(each[total] for each in summaries)
        return 100.0 * sum(each[covered] for each in summaries) / whole if whole else 100.0

    return share("covered_lines", "num_statements"), share("covered_branches", "num_branches")


def package_of(name: str) -> str:
    """The package that a file is in."""
    parts = Path(name.partition("kraken_l3/")[2]).parts
    return parts[0] if len(parts) > 1 else "(top)"


def main(path: Path, wanted: list) -> int:
    """Print the report; 1 below the gates, else 0."""
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    files = {name: file for name, file in files.items() if not wanted or package_of(name) in wanted}
    packages = defaultdict(list)
    for name, file in files.items():
        packages[package_of(name)].append(file["summary"])
    print(f"{'package':<12} {'lines':>7} {'branches':>9}")
    for package, summaries in sorted(packages.items()):
        print("{:<12} {:>6.1f}% {:>8.1f}%".format(package, *shares(summaries)))
    lines, branches = shares([file["summary"] for file in files.values()])
    print(f"{'all':<12} {lines:>6.1f}% {branches:>8.1f}%")
    weak = [(*shares([file["summary"]]), name.partition("src/")[2]) for name, file in files.items()]
    print(f"modules with less than {WEAK:.0f} % of lines or branches:")
    for of_lines, of_branches, name in sorted(weak):
        if min(of_lines, of_branches) < WEAK:
            print(f"  {name}: {of_lines:.0f} % of lines, {of_branches:.0f} % of branches")
    if lines < LINES_GATE or branches < BRANCHES_GATE:
        print(f"coverage must be at least {LINES_GATE} % of lines and {BRANCHES_GATE} % of branches")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
