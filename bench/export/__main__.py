"""python -m bench.export: the export's speed and memory in one run, as ratios to `verify` of the same file.

Data are simulated, with right checksums. Every figure is the best of `--repeat` runs, each in a process of its own;
what is compared runs in turns. CPU seconds are those of all threads, without start-up.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from kraken_l3.archive.journal import Acknowledged, Instruments
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import listing
from kraken_l3.exchange.flow.generate import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import parse_rfc3339

ROOT = Path(__file__).resolve().parents[2]
START_NS = parse_rfc3339("2026-11-22T00:00:01Z")
NAIVE_LINES = 20_000
NAUTILUS_LINES = 50_000


class _SetClock:
    def __init__(self) -> None:
        self.now_ns = START_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def record(directory: Path, symbols: Any, messages: int, depth: int = 10, rate: float = 50.0) -> Path:
    """An archive of simulated messages, evenly received."""
    clock = _SetClock()
    writer = ArchiveWriter.open(directory, clock=clock)
    pairs = listing(symbols)
    writer.journal(
        Instruments(
            at_ns=START_NS,
            instruments=[
                Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
                for p in pairs
            ],
        )
    )
    for pair in pairs:
        writer.journal(Acknowledged(at_ns=START_NS, connection=1, channel="level3", symbol=pair.symbol, depth=depth))
    lines = generate(symbols=symbols, messages=messages, depth=depth, start_ns=START_NS, rate=rate)
    step_ns = int(1e9 / rate)
    while batch := list(itertools.islice(lines, 2_000)):
        frames = [Frame(line, clock.now_ns + step_ns * n, clock.now_ns, 1) for n, line in enumerate(batch, 1)]
        clock.now_ns = frames[-1].recv_ns
        writer.append("level3", frames)
    writer.close()
    return directory


def two_days(source: Path, directory: Path) -> Path:
    """The same day under two names, a day apart, so that two jobs have one each."""
    directory.mkdir()
    for path in source.iterdir():
        if "2026-11-22" in path.name:
            shutil.copy(path, directory / path.name)
            shutil.copy(path, directory / path.name.replace("2026-11-22", "2026-11-24"))
    return directory


def measure(repeat: int, *arguments: object) -> dict[str, float]:
    """The best of some runs."""
    return in_turns(repeat, arguments)[0]


def in_turns(repeat: int, *runs: Sequence[object]) -> list[dict[str, float]]:
    """The best time, the least CPU and the most memory of each, run one after the other and again."""
    found: list[list[dict[str, float]]] = [[] for _ in runs]
    for _ in range(repeat):
        for arguments, results in zip(runs, found):
            results.append(_run([sys.executable, "-m", "bench.export.measure", *map(str, arguments)]))
    return [
        {
            **min(results, key=lambda result: result["seconds"]),
            "cpu": min(result["cpu"] for result in results),
            "anon_mb": max(result["anon_mb"] for result in results),
        }
        for results in found
    ]


def _run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def naive(data: Path) -> Optional[dict[str, float]]:
    """The usual way, where pandas is installed."""
    try:
        import pandas  # noqa: F401 - only whether it is there
    except ImportError:
        return None
    return _run([sys.executable, "-m", "bench.export.naive", str(data), str(NAIVE_LINES)])


def nautilus(scratch: Path) -> Optional[dict[str, float]]:
    """NautilusTrader's book, where it is installed."""
    python = ROOT / ".venv-nautilus/bin/python"
    if not python.exists():
        return None
    source = record(scratch / "few", ["BTC/USD"], NAUTILUS_LINES)
    export = [str(python), "-m", "kraken_l3", "export", "nautilus", str(source), "--out", str(scratch / "catalog")]
    subprocess.run(export, check=True, capture_output=True)
    return _run([str(python), "bench/export/nautilus_book.py", str(scratch / "catalog/nautilus"), "BTC/USD.KRAKEN"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as scratch:
        rows = list(_rows(Path(scratch), arguments.messages, arguments.repeat))
    if arguments.json:
        print(json.dumps([dict(zip(("what", "measured", "wanted", "met"), row)) for row in rows]))
        return
    title = f"export, {arguments.messages:,} messages of BTC/USD at depth 10; {describe_machine()}"
    table = Table(title=title, header_style="bold")
    for heading in ("", "measured", "wanted", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for what, measured, wanted, met in rows:
        table.add_row(what, measured, wanted, "" if met is None else "[green]yes" if met else "[red]no")
    console = Console(width=110)
    console.print(describe_machine(), style="dim")
    console.print(table)


#: What is exported, with the most that it may take against `verify`.
EXPORTS = {
    "events": ("events: NDJSON -> verified -> Parquet", 1.5),
    "change": ("snapshots at every change, 10 levels", 1.4),
    "grid": ("snapshots every 1 s", 1.1),
}

Row = tuple[str, str, str, Optional[bool]]


def _rows(scratch: Path, messages: int, repeat: int) -> Iterator[Row]:
    source = record(scratch / "one", ["BTC/USD"], messages)
    data = next(source.glob("l3-*.ndjson"))
    mb = data.stat().st_size / 1e6
    names = ("verify", "orders", "features", *EXPORTS)
    verified, orders, features, *exported = in_turns(repeat, *((name, source) for name in names))
    yield "verify, one job", f"{mb / verified['seconds']:,.0f} MB/s", "", None
    for run, (what, most) in zip(exported, EXPORTS.values()):
        ratio = run["seconds"] / verified["seconds"]
        yield f"{what}: time against verify", f"{ratio:.2f} x", f"<= {most}", ratio <= most
        yield "  CPU against verify", f"{run['cpu'] / verified['cpu']:.2f} x", "", None
        yield (
            "  rows, bytes a row",
            f"{run['rows'] / run['seconds']:,.0f}/s, {run['bytes'] / run['rows']:.1f}",
            "",
            None,
        )
    ratio = orders["seconds"] / exported[list(EXPORTS).index("events")]["seconds"]
    yield "orders, lives over midnight: time against events", f"{ratio:.2f} x", "<= 3", ratio <= 3
    yield (
        "  rows, bytes a row",
        f"{orders['rows'] / orders['seconds']:,.0f}/s, {orders['bytes'] / orders['rows']:.1f}",
        "",
        None,
    )
    ratio = features["cpu"] / exported[list(EXPORTS).index("grid")]["cpu"]
    yield "features every 1 s: CPU against snapshots every 1 s", f"{ratio:.2f} x", "<= 3", ratio <= 3
    most_mb = max(run["anon_mb"] for run in (orders, features, *exported))
    yield "anonymous memory, one pair", f"{most_mb:,.0f} MB", "< 600", most_mb < 600
    many = record(scratch / "many", 700, messages // 2, rate=500.0)
    for name in ("events", "change", "orders", "features"):
        run = measure(1, name, many)
        yield f"anonymous memory, 700 pairs, {name}", f"{run['anon_mb']:,.0f} MB", "< 600", run["anon_mb"] < 600
    yield from _other_tools(scratch, messages, repeat)
    yield from _jobs(scratch, source, repeat)
    yield from _against_the_usual(scratch, data, exported[list(EXPORTS).index("change")], messages)


#: The most that each may take of two million messages at depth 100, in seconds.
FORMATS = {"hftbacktest": 6, "nautilus": 6, "lobster": 15, "tardis": 15}


def _other_tools(scratch: Path, messages: int, repeat: int) -> Iterator[Row]:
    """Beside `events` of the same data; nautilus where it is installed for this Python."""
    names = [name for name in FORMATS if name != "nautilus" or importlib.util.find_spec("nautilus_trader") is not None]
    deep = record(scratch / "deep", ["BTC/USD"], messages, depth=100)
    events, *made = in_turns(repeat, *((name, deep) for name in ("events", *names)))
    yield "events at depth 100", f"{events['seconds']:.1f} s, {events['anon_mb']:,.0f} MB", "", None
    for name, run in zip(names, made):
        most = FORMATS[name] * messages / 2_000_000
        yield f"{name} at depth 100", f"{run['seconds']:.1f} s", f"<= {most:.1f} s", run["seconds"] <= most
        yield "  anonymous memory", f"{run['anon_mb']:,.0f} MB", "< 600", run["anon_mb"] < 600
        yield (
            "  time, CPU against events",
            "{:.1f} x, {:.1f} x".format(run["seconds"] / events["seconds"], run["cpu"] / events["cpu"]),
            "",
            None,
        )


def _jobs(scratch: Path, source: Path, repeat: int) -> Iterator[Row]:
    """One job rebuilds, encodes and reads at once: so two of them gain less than one pinned to a core lets expect."""
    days = two_days(source, scratch / "two")
    runs = (source, 1), (source, 2), (days, 1), (days, 2), (days, 1, "pinned")
    one, both, alone, together, pinned = (
        run["seconds"] for run in in_turns(repeat, *(("events", *arguments) for arguments in runs))
    )
    yield "events, one day of one pair: two jobs against one", f"{one / both:.2f} x", ">= 0.95", one / both >= 0.95
    yield "events, two days: two jobs against one", f"{alone / together:.2f} x", "", None
    speedup = pinned / together
    yield "events, two days: two jobs against one pinned to one core", f"{speedup:.2f} x", ">= 1.6", speedup >= 1.6


def _against_the_usual(scratch: Path, data: Path, change: dict[str, float], messages: int) -> Iterator[Row]:
    ours = change["rows"] / change["seconds"]
    usual = naive(data)
    if usual is None:
        yield "against json + pandas row by row", "pandas is not installed", "", None
    else:
        yield "against json + pandas row by row", f"{ours / (usual['rows'] / usual['seconds']):,.0f} x", "", None
    theirs = nautilus(scratch)
    if theirs is None:
        yield "against NautilusTrader's L3 book", "not installed (make tools)", "", None
    else:
        speed = theirs["rows"] / theirs["seconds"]
        ratio = messages / change["seconds"] / speed
        yield "all of it against applying deltas alone to Nautilus' L3 book", f"{ratio:,.1f} x", "", None


if __name__ == "__main__":
    main()
