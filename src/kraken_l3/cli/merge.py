"""`kraken-l3 merge`: several archives of the same stream become one."""

from __future__ import annotations

from pathlib import Path

from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.cli.console import Screen, Table, number, print_error, progress, stoppable
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import warn_of_engine
from kraken_l3.errors import DiskFull
from kraken_l3.merge.job import MergeReport
from kraken_l3.merge.job import merge as run_merge

__all__ = ["merge"]

_NS_PER_MS = 1_000_000


def merge(paths: tuple[Path, ...], out: Path, engine: str, as_json: bool) -> int:
    """Run `kraken-l3 merge`; gives its exit code back."""
    warn_of_engine(engine)
    total = sum(content_size(file) for path in paths for file in open_archive(path).files())
    try:
        with progress("merging", total) as on_bytes, stoppable(on_bytes) as step:
            report = run_merge(paths, out, engine_name=engine, progress=step)
    except KeyboardInterrupt:
        print_error("kraken-l3: interrupted. The same command goes on from here.")
        raise
    except DiskFull as error:
        hint = "The same command goes on from here, once there is room"
        raise DiskFull(error.what, where=error.where, hint=hint) from error
    if as_json:
        return print_result(report, report.exit_code())
    _print(report)
    return report.exit_code()


def _print(report: MergeReport) -> None:
    screen = Screen()
    table = Table(">source", "name", ">lines", ">taken from it", ">left out", ">clock ahead, ms")
    for source in report.sources:
        ahead = f"{source.clock_ahead_ns / _NS_PER_MS:,.3f}" if source.clock_ahead_ns is not None else "not known"
        counts = (f"{source.read:,}", f"{source.lines:,}", number(source.left_out), ahead)
        table.add(str(source.source), source.name, *counts)
    screen.table(table)
    for text in report.hidden:
        screen.line(f"Unreadable from here to the end of the file: {text}", "red")
    verdicts = f"{report.verified:,} messages verified, {report.mismatched:,} mismatched"
    screen.line(f"{report.lines:,} lines in {report.out}: {verdicts}")
    if report.repairs:
        screen.line(
            f"{report.repairs:,} losses of one source repaired from another; `repaired` in the journal has each"
        )
    if report.not_spliced:
        screen.line(f"{report.not_spliced:,} times a source could not be put beside another (`not_spliced`)", "yellow")
    if report.conflicts:
        screen.line(f"{report.conflicts:,} conflicts: sources differ at one place (l3-*.conflicts)", "red")
    if report.gaps:
        screen.line(f"{report.gaps:,} gaps remain; `kraken-l3 info` lists them", "yellow")
    elif not report.exit_code():
        screen.line("Nothing is missing.", "bold green")
