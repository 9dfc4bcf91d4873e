"""Prints how fast archives are rebuilt and verified; `--json` for programs.

python -m bench.rebuild [--messages 1000000] [--verify-messages 6000000] [--json]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.rebuild.command import CommandRun, run_verify, sealed_copy
from bench.rebuild.data import WORKLOADS, archive_of
from bench.rebuild.division import division_runs
from bench.rebuild.engines import VARIANTS, Speed, measure, split_speed
from kraken_l3.errors import UsageError

#: From the issue: native messages a second at a, b, c; Python engine anywhere; cost at depth 1000 against depth 10.
NATIVE_GOALS = {"a": 3.5e6, "b": 3e6, "c": 2e6}
PYTHON_GOAL = 50e3
DEPTH_GOAL = 1.6
ANON_GOAL = 400e6
GOAL_RUN = "2 jobs"
SEALED_RUN = "1 job, sealed (.zst)"
#: Bytes of NDJSON a second.
SPEED_GOALS = {GOAL_RUN: 800e6, SEALED_RUN: 400e6}

Speeds = dict[str, dict[str, Speed]]


def measure_all(messages: int, console: Console) -> Speeds:
    """Speeds by variant and workload; variants whose engine is not installed are left out."""
    paths = {}
    for workload in WORKLOADS:
        console.print(f"data {workload.name}: {workload.title}, {messages:,} messages", style="dim")
        paths[workload.name] = archive_of(workload, messages)
    speeds: Speeds = {"line splitting alone": {name: split_speed(path) for name, path in paths.items()}}
    for variant in VARIANTS:
        console.print(variant.title, style="dim")
        try:
            speeds[variant.title] = {name: measure(variant, path) for name, path in paths.items()}
        except UsageError as error:
            console.print(f"left out: {error}")
    return speeds


def engine_table(speeds: Speeds) -> Table:
    """One row a variant: for each workload messages/s, MB/s and the share of line splitting's speed."""
    table = Table(
        title="Rebuild and verify every checksum, one core, from memory (CPU time, medians)", header_style="bold"
    )
    table.add_column("messages/s (MB/s; times the cost of line splitting)")
    for workload in WORKLOADS:
        table.add_column(f"{workload.name}: {workload.title}", justify="right")
    table.add_column("cost b/a", justify="right")
    floors = speeds["line splitting alone"]
    for title, by_workload in speeds.items():
        cells = [_cell(speed, floors[name]) for name, speed in by_workload.items()]
        ratio = by_workload["b"].ns_a_message / by_workload["a"].ns_a_message
        table.add_row(title, *cells, f"{ratio:.2f}")
    goals = [f"{NATIVE_GOALS[w.name] / 1e6:.1f}M" if w.name in NATIVE_GOALS else "" for w in WORKLOADS]
    table.add_section()
    table.add_row("goal: native", *goals, f"{DEPTH_GOAL}", style="dim")
    table.add_row("goal: python", *[f"{PYTHON_GOAL / 1e3:.0f}k"] * len(WORKLOADS), f"{DEPTH_GOAL}", style="dim")
    return table


def _cell(speed: Speed, floor: Speed) -> str:
    number = f"{speed.messages / 1e6:.2f}M" if speed.messages >= 1e6 else f"{speed.messages / 1e3:.0f}k"
    wrong = "" if speed.checked else " MISMATCHES"
    return f"{number} ({speed.bytes / 1e6:,.0f}; x{floor.bytes / speed.bytes:.1f}){wrong}"


def command_table(runs: dict[str, CommandRun]) -> Table:
    """`kraken-l3 verify` from start to report."""
    table = Table(title="kraken-l3 verify, start to report, file in the page cache", header_style="bold")
    for heading in ("", "GB", "messages", "verified", "s", "CPU s", "x 1 job", "MB/s", "goal", "anonymous MB", "goal"):
        table.add_column(heading, justify="right")
    for title, run in runs.items():
        one_job = title.replace("2 jobs", "1 job")
        table.add_row(
            title,
            f"{run.bytes / 1e9:.2f}",
            f"{run.messages:,}",
            f"{run.ok:,}",
            f"{run.seconds:.2f}",
            f"{run.cpu_seconds:.2f}",
            f"{runs[one_job].seconds / run.seconds:.2f}" if one_job != title and one_job in runs else "",
            f"{run.bytes / run.seconds / 1e6:,.0f}",
            f"{SPEED_GOALS[title] / 1e6:.0f}" if title in SPEED_GOALS else "",
            f"{run.anon_bytes / 1e6:.0f}",
            f"{ANON_GOAL / 1e6:.0f}" if title == GOAL_RUN else "",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rebuild", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of each of the archives")
    parser.add_argument(
        "--verify-messages", type=int, default=6_000_000, help="messages verified by the command; 0: none"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    speeds = measure_all(arguments.messages, console)
    runs = {}
    if arguments.verify_messages:
        console.print(
            f"data for the command: {WORKLOADS[-1].title}, {arguments.verify_messages:,} messages", style="dim"
        )
        path = archive_of(WORKLOADS[-1], arguments.verify_messages)
        for jobs in (1, 2):
            runs[f"{jobs} job{'s' if jobs > 1 else ''}"] = run_verify(path, jobs)
        runs[SEALED_RUN] = run_verify(sealed_copy(path), 1)
        for workload in WORKLOADS[:-1]:  # those of one pair
            console.print(f"one pair, divided by time: {workload.title}, {arguments.messages:,} messages", style="dim")
            runs.update(division_runs(workload, arguments.messages))
    if arguments.json:
        print(json.dumps(_as_dict(speeds, runs)))
        return
    out = Console(width=None if Console().is_terminal else 160)
    out.print(describe_machine(), style="dim")
    out.print(engine_table(speeds))
    if runs:
        out.print(command_table(runs))


def _as_dict(speeds: Speeds, runs: dict[str, CommandRun]) -> dict[str, Any]:
    engines = {title: {name: asdict(speed) for name, speed in row.items()} for title, row in speeds.items()}
    return {"engines": engines, "verify": {title: asdict(run) for title, run in runs.items()}}


if __name__ == "__main__":
    main()
