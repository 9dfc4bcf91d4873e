"""The demo: an exchange and a recorder as separate processes, over sockets, with the connection that leads cut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

from kraken_l3.archive.journal import Connected, GapClosed, HandedOver, Record
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import RECEIPT_BYTES
from kraken_l3.errors import LocalFault

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ARCHIVE",
    "CUT_AFTER_MESSAGES",
    "MESSAGES_PER_S",
    "SYMBOLS",
    "Comparison",
    "DemoFailed",
    "clean_environment",
    "compare",
    "journal_of",
    "record_with_a_cut",
]

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
#: Directory of the archive, within the directory of the demo.
ARCHIVE = "data"
MESSAGES_PER_S = 400
CUT_AFTER_MESSAGES = 1_200
#: The second connection is there after 2 s, the cut comes after 3 s; a recorder with one connection is back 1 s later.
RECORD_S = 7.0
START_S = 30.0
STOP_S = 20.0
_SENT_LOG = "sent.ndjson"
_CUT = f"- {{do: drop, connection: 1, after_messages: {CUT_AFTER_MESSAGES}, reset: false}}\n"
_EXPORTS = 5


class DemoFailed(LocalFault):
    """A process of the demo failed; the text quotes its stderr."""


class Comparison(NamedTuple):
    """The archive compared with what the exchange handed to its sockets.

    Attributes:
        recorded: messages in the archive.
        identical: how many of them are, in the same order, the bytes that were sent.
        under_way: messages sent on a connection after the last one recorded from it, and recorded from no other.
        missing: other messages that were sent, and are not in the archive.
    """

    recorded: int
    identical: int
    under_way: int
    missing: int


def record_with_a_cut(
    directory: Path, on_progress: Callable[[int], None], redundancy: int = 2, **environment: str
) -> None:
    """Run exchange and recorder in `directory`; the archive is in `ARCHIVE` afterwards.

    Args:
        directory: an empty directory.
        on_progress: called every 0.1 s with the number of messages recorded so far.
        redundancy: connections that carry each symbol.
        environment: variables that the processes get besides `clean_environment`.

    Raises:
        DemoFailed: a process did not start, exited early, or did not stop cleanly.
    """
    (directory / "faults.yaml").write_text(_CUT)
    options = ["--symbols", ",".join(SYMBOLS), "--output-dir", ARCHIVE, "--duration", str(RECORD_S)]
    options += ["--redundancy", str(redundancy)]
    with ExitStack() as stack:
        exports = stack.enter_context(_exchange(directory, environment))
        recorder = stack.enter_context(_process(directory, "record", *options, **environment, **exports))
        deadline = time.monotonic() + START_S + RECORD_S
        while recorder.poll() is None and time.monotonic() < deadline:
            on_progress(_lines(directory / ARCHIVE))
            time.sleep(0.1)
        if recorder.poll() is None:
            raise _failed(directory, "record", "the recorder did not stop when its time was over")
        if recorder.returncode != 0:
            raise _failed(directory, "record", f"the recorder exited with code {recorder.returncode}")
    if not any(isinstance(record, (GapClosed, HandedOver)) for record in journal_of(directory / ARCHIVE)):
        raise _failed(directory, "record", "the recorder did not go on in time; the machine may be too busy")


@contextmanager
def _exchange(directory: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A running exchange; yields the variables that it prints for its user to export."""
    options = ["--port", "0", "--symbols", ",".join(SYMBOLS), "--rate", str(MESSAGES_PER_S), "--seed", "7"]
    options += ["--faults", "faults.yaml", "--sent-log", _SENT_LOG, "--duration", "300"]
    with _process(directory, "simulate", *options, **environment) as process:
        yield _exports(directory, process)


def _exports(directory: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        lines = (directory / "simulate.out").read_text().splitlines(keepends=True)
        exports = [line.strip()[len("export ") :] for line in lines if line.startswith("export ") and line[-1] == "\n"]
        if len(exports) == _EXPORTS:
            return dict(line.split("=", 1) for line in exports)
        time.sleep(0.05)
    raise _failed(directory, "simulate", "the exchange did not start")


@contextmanager
def _process(directory: Path, command: str, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the background, with its output in files. It is stopped at the end if it still runs."""
    with (directory / f"{command}.out").open("wb") as out, (directory / f"{command}.err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "kraken_l3", command, *options],
            cwd=directory,
            env={**clean_environment(directory), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environment(directory: Path) -> dict[str, str]:
    """This process's environment, without the user's Kraken settings and with its state in `directory`."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("KRAKEN")}
    return {**environment, "XDG_STATE_HOME": str(directory / "state"), "PYTHONUTF8": "1"}


def _failed(directory: Path, command: str, what: str) -> DemoFailed:
    said = (directory / f"{command}.err").read_text(errors="replace").strip()
    return DemoFailed(
        what,
        where=f"kraken-l3 {command}",
        hint=f"Its stderr:\n{said[-2000:]}" if said else "It printed nothing to stderr",
    )


def _lines(archive: Path) -> int:
    return sum(path.stat().st_size for path in archive.glob("l3-*.receipts")) // RECEIPT_BYTES


def journal_of(archive: Path) -> list[Record]:
    """The journal records in order, each once even if midnight passed."""
    opened = open_archive(archive)
    return [record for day in opened.days for record in opened.journal(day) if not record.restated]


def compare(directory: Path) -> Comparison:
    """Compare every recorded line with the bytes that the exchange logged as it sent them, connection by connection."""
    recorded: dict[int, list[bytes]] = defaultdict(list)
    for line in open_archive(directory / ARCHIVE).lines():
        recorded[line.receipt.connection if line.receipt else 0].append(line.payload)
    sent: dict[int, list[bytes]] = defaultdict(list)
    numbers = (directory / f"{_SENT_LOG}.connections").read_bytes().split()
    for number, payload in zip(numbers, (directory / _SENT_LOG).read_bytes().splitlines()):
        sent[int(number)].append(payload)
    # both sides number connections in the order in which they are made, but start from different numbers
    journal = journal_of(directory / ARCHIVE)
    ours = [each.connection for each in journal if isinstance(each, Connected) and each.channel == "level3"]
    have = {line for lines in recorded.values() for line in lines}
    identical = 0
    absent: set[bytes] = set()
    under_way: set[bytes] = set()
    for mine, its in zip((recorded[number] for number in ours), (sent[number] for number in sorted(sent))):
        found, end = _found_in_order(mine, its)
        identical += found
        # a connection that follows has a snapshot of its own, which the archive has no use for
        lost = [(place, line) for place, line in enumerate(its) if line not in have and not _is_snapshot(line)]
        absent.update(line for place, line in lost if place < end)
        under_way.update(line for place, line in lost if place >= end)
    return Comparison(sum(map(len, recorded.values())), identical, len(under_way - absent), len(absent))


def _found_in_order(mine: list[bytes], its: list[bytes]) -> tuple[int, int]:
    """How many lines are among those that were sent, in their order, and where the last of them ends."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, line in enumerate(its):
        places[line].append(place)
    found = end = 0
    for line in mine:
        behind = next((place for place in places[line] if place >= end), None)
        if behind is not None:
            found, end = found + 1, behind + 1
    return found, end


def _is_snapshot(line: bytes) -> bool:
    return line.startswith(b'{"channel":"level3","type":"snapshot"')
