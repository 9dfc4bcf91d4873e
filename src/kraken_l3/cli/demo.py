"""`kraken-l3 demo`: record from the embedded exchange for a few seconds and show the result."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Optional

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kraken_l3.app.demo import (
    ARCHIVE,
    CUT_AFTER_MESSAGES,
    MESSAGES_PER_S,
    SYMBOLS,
    DemoFailed,
    clean_environment,
    compare,
    journal_of,
    record_with_a_cut,
)
from kraken_l3.archive.journal import Acknowledged, Connected, Disconnected, GapClosed, Record, Started, Stopped
from kraken_l3.archive.reader import open_archive
from kraken_l3.cli.console import plain
from kraken_l3.errors import UsageError
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339

__all__ = ["demo"]

_RAW_LINES = 4


def demo(keep: Optional[Path]) -> None:
    """Run `kraken-l3 demo`."""
    console = Console(highlight=False)
    with ExitStack() as stack:
        directory = _directory(stack, keep)
        _record(console, directory)
        _print_story(console, directory / ARCHIVE)
        _print_lines(console, directory / ARCHIVE)
        _print_comparison(console, directory)
        _run(console, directory, "info", ARCHIVE)
        _run(console, directory, "verify", ARCHIVE)
        _export(console, directory)
    if keep is not None:
        console.print(Text(f"\nThe archive is in {plain(str(keep / ARCHIVE))}"), soft_wrap=True)


def _directory(stack: ExitStack, keep: Optional[Path]) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kraken-l3-demo-")))
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UsageError("the directory exists and is not empty", where=str(keep), hint="Use a new or empty one")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


def _record(console: Console, directory: Path) -> None:
    _heading(console, "Recording from a simulated exchange on this machine")
    console.print(
        f"{', '.join(SYMBOLS)} at {MESSAGES_PER_S} messages a second; "
        f"after {CUT_AFTER_MESSAGES} messages the exchange cuts the connection."
    )
    progress = Console(stderr=True)
    if not progress.is_terminal:
        record_with_a_cut(directory, lambda _: None)
        return
    with progress.status("starting") as status:
        record_with_a_cut(directory, lambda count: status.update(f"{count:,} messages recorded"))


def _print_story(console: Console, archive: Path) -> None:
    """The journal of the level3 channel, in sentences."""
    records = journal_of(archive)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim")
    for at_ns, text in _story(records):
        table.add_row(f"{(at_ns - records[0].at_ns) / NS_PER_S:.3f} s", text)
    console.print(table)


def _story(records: list[Record]) -> Iterator[tuple[int, str]]:
    """Times and sentences; the records of one connection that differ only in their symbol make one sentence."""
    level3 = {record.connection for record in records if isinstance(record, Connected) and record.channel == "level3"}
    told: dict[tuple[type, int], list[Record]] = {}
    for record in records:
        if getattr(record, "connection", None) in {*level3, None}:
            told.setdefault((type(record), getattr(record, "connection", 0)), []).append(record)
    for same in told.values():
        sentence = _sentence(same[-1], len(same))
        if sentence:
            yield same[-1].at_ns, sentence


def _sentence(last: Record, count: int) -> str:
    if isinstance(last, Started):
        return f"recorder started, version {last.version}"
    if isinstance(last, Connected):
        return f"connection {last.connection} opened"
    if isinstance(last, Acknowledged):
        return f"{count} symbols acknowledged"
    if isinstance(last, Disconnected):
        reason = "closed" if last.cause == "stop" else f"lost: {last.detail or last.cause}"
        return f"connection {last.connection} {reason}"
    if isinstance(last, GapClosed):
        return f"{count} symbols recording again after a gap of {(last.right_ns - last.left_ns) / NS_PER_S:.2f} s"
    return "recorder stopped cleanly" if isinstance(last, Stopped) else ""


def _print_lines(console: Console, archive: Path) -> None:
    """The first lines of the archive, shortened, each with its receive time."""
    _heading(console, "First lines of the archive, with their receive times")
    for line in islice(open_archive(archive).lines(), _RAW_LINES):
        received = format_rfc3339(line.receipt.recv_ns)[11:-1] if line.receipt else ""
        size = f" {len(line.payload):,} bytes"
        text = Text.assemble((f"{received}  ", "dim"), line.payload.decode())
        text.truncate(console.width - len(size), overflow="ellipsis")
        console.print(text.append(size, "dim"), soft_wrap=True)


def _print_comparison(console: Console, directory: Path) -> None:
    result = compare(directory)
    if result.identical < result.recorded:
        raise DemoFailed(f"{result.recorded - result.identical:,} messages differ from those sent", where=ARCHIVE)
    console.print(
        f"[bold green]{result.identical:,} of {result.recorded:,} messages are byte for byte what the exchange sent.[/]"
    )
    if result.under_way:
        console.print(f"{result.under_way:,} more were in flight when the connection was cut; they lie in the gap.")


def _export(console: Console, directory: Path) -> None:
    if find_spec("pyarrow") is None or find_spec("numpy") is None:
        console.print("\nNo export: it needs numpy and pyarrow (pip install numpy pyarrow).")
        return
    _run(console, directory, "export", "snapshots", ARCHIVE, "--out", "tables")


def _run(console: Console, directory: Path, *arguments: str) -> None:
    """A command as the user would type it; its output goes where ours goes."""
    _heading(console, f"$ kraken-l3 {' '.join(arguments)}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "kraken_l3", *arguments]
    done = subprocess.run(command, cwd=directory, env=clean_environment(directory), check=False)
    if done.returncode != 0:
        raise DemoFailed(f"exited with code {done.returncode}", where=f"kraken-l3 {' '.join(arguments)}")
