"""`kraken-l3 demo`: record from the embedded exchange for a few seconds and show the result."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

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
from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Disconnected,
    GapClosed,
    HandedOver,
    Record,
    Started,
    Stopped,
)
from kraken_l3.archive.reader import open_archive
from kraken_l3.cli.console import plain
from kraken_l3.errors import UsageError
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339

__all__ = ["demo"]

_RAW_LINES = 4
#: Says that a directory is a demo's, which the next demo may delete.
_MARK = ".kraken-l3-demo"


def demo(out: Path, redundancy: int) -> None:
    """Run `kraken-l3 demo`."""
    console = Console(highlight=False)
    _make_room(out)
    archive = out / ARCHIVE
    _record(console, out.resolve(), redundancy)
    _print_story(console, archive)
    _print_lines(console, archive)
    _print_comparison(console, out)
    _run(console, out, "info", str(archive))
    _run(console, out, "verify", str(archive))
    _export(console, out)
    _print_next(console, archive)


def _make_room(out: Path) -> None:
    """A new directory, in place of one that an earlier demo made."""
    if out.is_dir() and (out / _MARK).is_file():
        shutil.rmtree(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "It is no demo's: choose another with --out"
        raise UsageError("the directory exists and is not empty", where=str(out), hint=hint)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


def _record(console: Console, directory: Path, redundancy: int) -> None:
    _heading(console, "Recording from a simulated exchange on this machine")
    cut = "the first of two connections" if redundancy > 1 else "the connection"
    console.print(
        f"{', '.join(SYMBOLS)} at {MESSAGES_PER_S} messages a second; "
        f"after {CUT_AFTER_MESSAGES:,} messages the exchange cuts {cut}."
    )
    progress = Console(stderr=True)
    if not progress.is_terminal:
        record_with_a_cut(directory, lambda _: None, redundancy)
        return
    with progress.status("starting") as status:
        record_with_a_cut(directory, lambda count: status.update(f"{count:,} messages recorded"), redundancy)


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
    for same in sorted(told.values(), key=_place):
        sentence = _sentence(same)
        if sentence:
            yield same[-1].at_ns, sentence


def _place(same: list[Record]) -> int:
    """A hand-over is done before the lost connection is journalled; for people the cause comes first."""
    return same[-1].at_ns + (NS_PER_S // 10 if isinstance(same[-1], HandedOver) else 0)


def _sentence(same: list[Record]) -> str:
    last, count = same[-1], len(same)
    if isinstance(last, Started):
        return f"recorder started, version {last.version}"
    if isinstance(last, Connected):
        return f"connection {last.connection} opened"
    if isinstance(last, Acknowledged):
        return f"{count} symbols acknowledged"
    if isinstance(last, Disconnected):
        reason = "closed" if last.cause == "stop" else f"lost: {last.detail or last.cause}"
        return f"connection {last.connection} {reason}"
    if isinstance(last, HandedOver):
        bridged = sum(record.bridged for record in same if isinstance(record, HandedOver))
        ahead = f", which was {bridged} message{'' if bridged == 1 else 's'} ahead" if bridged else ""
        return f"{count} symbols go on over connection {last.connection}{ahead}"
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
    closed = [record for record in journal_of(directory / ARCHIVE) if isinstance(record, GapClosed)]
    seconds = max(((record.right_ns - record.left_ns) / NS_PER_S for record in closed), default=0.0)
    if closed:
        console.print(f"[bold yellow]About {seconds * MESSAGES_PER_S:,.0f} are missing: the gap of {seconds:.2f} s.[/]")
    elif result.missing:
        raise DemoFailed(f"{result.missing:,} messages are missing, and no gap says so", where=ARCHIVE)
    else:
        console.print("[bold green]0 are missing: the second connection delivered what the first one lost.[/]")
    if closed and result.under_way:
        console.print(f"{result.under_way:,} more were in flight when the connection was cut; they lie in the gap.")


def _export(console: Console, out: Path) -> None:
    if find_spec("pyarrow") is None or find_spec("numpy") is None:
        console.print("\nNo export: it needs numpy and pyarrow (pip install numpy pyarrow).")
        return
    _run(console, out, "export", "snapshots", str(out / ARCHIVE), "--out", str(out / "tables"))


def _print_next(console: Console, archive: Path) -> None:
    _heading(console, "All of it stays here until the next demo")
    for what, words in (
        ("look at a book", ("book", str(archive), "--symbol", SYMBOLS[0])),
        ("open its page", ("page", str(archive), "--open")),
        ("record for real", ("init",)),
    ):
        console.print(Text(f"{what + ':':20}{plain(shlex.join([_our_name(), *words]))}"), soft_wrap=True)


def _our_name() -> str:
    """What starts this program here; an environment that make made is not on the path."""
    return "kraken-l3" if shutil.which("kraken-l3") else os.path.relpath(sys.argv[0])


def _run(console: Console, out: Path, *arguments: str) -> None:
    """A command as the user would type it; its output goes where ours goes."""
    _heading(console, f"$ kraken-l3 {' '.join(arguments)}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "kraken_l3", *arguments]
    done = subprocess.run(command, env=clean_environment(out.resolve()), check=False)
    if done.returncode != 0:
        raise DemoFailed(f"exited with code {done.returncode}", where=f"kraken-l3 {' '.join(arguments)}")
