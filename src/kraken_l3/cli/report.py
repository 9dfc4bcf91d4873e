"""`kraken-l3 report`: one UTC day of an archive as a page, with its figures as JSON and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from kraken_l3.api import open_for_research
from kraken_l3.api.arguments import one_day
from kraken_l3.cli.console import Screen, Table, number, print_error, progress, stoppable
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import warn_of_engine
from kraken_l3.errors import DamageFound, DataMissing
from kraken_l3.report.figures import DayReport
from kraken_l3.report.reading import report_day

__all__ = ["report"]


def report(source: Path, date: Optional[str], out: str, engine: str, as_json: bool) -> int:
    """Run `kraken-l3 report`; gives its exit code back."""
    wanted = one_day(date, "--date") if date is not None else None
    open_for_research(source)  # says what is not installed, before the work
    from kraken_l3.report.files import write_report  # only now: matplotlib takes a second, which no mistake should

    warn_of_engine(engine)
    try:
        with progress("reading", None) as on_bytes, stoppable(on_bytes) as step:
            day = report_day(source, wanted, engine_name=engine, progress=step)
    except KeyboardInterrupt:
        print_error("kraken-l3: interrupted; nothing was written.")
        raise
    files = [f"{out}/{name}" for name in write_report(day, out)]
    code = _exit_code(day.report)
    if as_json:
        return print_result({"files": files, "report": day.report}, code)
    _print(day.report, files)
    return code


def _exit_code(report: DayReport) -> int:
    if report.damage or any(each.mismatched for each in report.symbols):
        return DamageFound.exit_code
    is_missing = report.gaps or not any(each.messages for each in report.symbols)
    return DataMissing.exit_code if is_missing else 0


def _print(report: DayReport, files: list[str]) -> None:
    screen = Screen()
    table = Table("symbol", "grade", ">usable", ">covered", ">gaps", ">messages", ">verified", ">lag, ms")
    for each in report.symbols:
        lag = f"{each.lag_ms.p50:.3g}" if each.lag_ms is not None else "–"
        verified = f"{each.verified:.2%}" if each.verified is not None else "–"
        shares = (f"{each.usable:.2%}", f"{each.covered:.2%}")
        table.add(each.symbol, each.grade, *shares, number(each.gaps), f"{each.messages:,}", verified, lag)
    screen.table(table)
    for text in report.damage:
        screen.line(f"Damaged: {text}", "red")
    screen.line(f"{report.day}: grade {report.grade}", "bold")
    for file in files:
        screen.line(file)
