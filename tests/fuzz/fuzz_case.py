"""One case of the archive fuzzer: damage an archive, run every command on it with both engines, look at what they did.

What must hold, whatever stands in the files:
- a command ends with an exit code that the documentation has, and never with a traceback
- nothing outside of the archive and the output directory is made or changed, and reading changes nothing at all
- `verify` and `export` say the same with both engines, and with several threads
- an intact line of data is never lost to a damaged companion: it is read, and repairing and sealing keep it

Time and memory are bounded by whoever runs the cases (`fuzz_worker`).
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from fuzz_bases import BASES, SYMBOLS
from fuzz_disk import Tree, lines_of, messages_of, tree, what_is
from fuzz_mutations import Damage, damage
from fuzz_values import OUTSIDE

import kraken_l3
from kraken_l3.archive.journal import Connected
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.cli.main import main
from kraken_l3.clock import SystemClock
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import KrakenL3Error, LocalFault
from kraken_l3.model.frames import Frame
from kraken_l3.rebuild.live import LiveVerifier

__all__ = ["Broken", "run_case"]

#: 1 usage, 2 damage, 3 missing or not verifiable, 5 a fault of this machine (docs/operations.md).
EXIT_CODES = (0, 1, 2, 3, 5)
#: What an output directory holds besides what the same data must always give.
_DIFFERS_BY_RUN = (b"kraken-l3 version", b"engine")
ENGINES = ("native", "python") if make_engine(EngineOptions()).name == "native" else ("python",)

TABLES = (
    ("events",),
    ("snapshots",),
    ("snapshots", "--every", "change", "--levels", "3", "--wide", "--keep-gaps"),
    ("tardis",),
    ("lobster", "--levels", "5"),
    ("hftbacktest",),
    ("hftbacktest", "--resync", "clear"),
    ("nautilus",),
)


class Broken(AssertionError):
    """A property did not hold."""


class Ended(NamedTuple):
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"`kraken-l3 {' '.join(self.words)}` ended with {self.code}\n{self.out[-800:]}\n{self.err[-2000:]}"


def run(*words: object) -> Ended:
    """A command as a user types it, in this process, its screen as strict as a real one."""
    texts = tuple(map(str, words))
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    argv, sys.argv = sys.argv, ["kraken-l3", *texts]
    code: object = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
        gc.unfreeze()  # a command takes the process for its own, and what is there as it starts for what stays
    ended = Ended(texts, code if isinstance(code, int) else 0, *(_text(each) for each in (out, err)))
    if ended.code not in EXIT_CODES or "Traceback" in ended.err:
        raise Broken(f"not an end that the documentation has: {ended}")
    if any(character < " " and character not in "\n\t" for character in ended.out + ended.err):
        raise Broken(f"control characters on the screen: {ended!r}")
    return ended


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


# -- the case ----------------------------------------------------------------------------------------------------------


class Case:
    """One archive that was damaged, and the places around it."""

    def __init__(self, bases: Path, place: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        base = bases / self.rng.choice(BASES)
        self.place = place
        self.archive = place / "archive"
        shutil.copytree(base, self.archive)
        outside = place / OUTSIDE
        outside.mkdir()
        (outside / "file").write_bytes(b"not yours\n" * 10)
        shutil.copyfile(next(base.glob("l3-*.ndjson*")), outside / "data")
        unharmed = tree(self.archive)
        intact = messages_of(self.archive)
        self.damage: Damage = damage(self.archive, self.rng)
        self.unharmed = unharmed
        self.intact = intact
        self.base = base.name
        packed = [path for path in self.archive.glob("l3-*.zst") if path.is_file()]
        #: Nobody can say how much of these can be unpacked still.
        self._packed_harmed = {what for path in packed if (what := what_is(path)) != unharmed.get(path.name)}
        #: A repair that was written down, of data that is another one since, may rightly cut it.
        self.may_cut = self.damage.forged or any(
            unharmed.get(path.with_suffix(".ndjson").name) != what_is(path.with_suffix(".ndjson"))
            for path in self.archive.glob("l3-*.repair")
            if path.with_suffix(".ndjson").is_file()
        )

    def outside(self) -> Tree:
        """Everything that no command may touch."""
        found = tree(self.place, but=(self.archive, *self.place.glob("out*")))
        found[f"/tmp/{OUTSIDE}"] = str(Path(f"/tmp/{OUTSIDE}").exists())
        return found

    @contextlib.contextmanager
    def reads_only(self) -> Iterator[None]:
        before, around = tree(self.archive), self.outside()
        yield
        _same("reading changed the archive", before, tree(self.archive))
        _same("something outside was changed", around, self.outside())

    @contextlib.contextmanager
    def writes_inside(self) -> Iterator[None]:
        around = self.outside()
        yield
        _same("something outside was changed", around, self.outside())

    def lines(self, unharmed: Optional[Tree] = None) -> Counter[bytes]:
        """The intact lines that are there now."""
        whole = {what for what in (unharmed or self.unharmed).values() if what not in self._packed_harmed}
        return lines_of(self.archive, self.intact, whole)

    def data_is_regular(self) -> bool:
        """Whether only files stand where data belongs, and each can be read to its end: no packed one is harmed."""
        return not self._packed_harmed and all(
            path.is_file() and not path.is_symlink() for path in self.archive.glob("l3-*.ndjson*")
        )


def _same(what: str, before: Any, after: Any) -> None:
    if before != after:
        keys = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        shown = {key: (before.get(key), after.get(key)) for key in sorted(map(str, keys))[:8]}
        raise Broken(f"{what}: {shown}")


def run_case(bases: Path, place: Path, seed: int) -> str:
    """Run one case in a new directory; what was done, in words.

    Raises:
        Broken: a property does not hold.
    """
    case = Case(bases, place, seed)
    told = f"{case.base}, " + "; ".join(case.damage.steps)
    try:
        with case.reads_only():
            _read(case)
        _write(case)
    except Exception as error:
        raise Broken(f"seed {seed}: {told}\n{error}") from error
    return told


def _read(case: Case) -> None:
    rng, archive = case.rng, case.archive
    for words in (["info"], ["info", "--json"], ["check"], ["check", "--json"]):
        run(words[0], archive, *words[1:])
    _verify(case)
    run("verify", archive, "--require-complete")
    symbol = rng.choice([*SYMBOLS, "[/red]", "btc/usd"])
    at = rng.choice([[], ["--at", "2024-11-22T12:00:03Z"], ["--at", "2024-11-23T00:00:01Z"]])
    books = [run("book", archive, "--symbol", symbol, *at, "--json", "--engine", engine) for engine in ENGINES]
    if len({(book.code, book.out) for book in books}) > 1:
        raise Broken(f"the engines show different books: {books[0]} {books[1]}")
    if rng.random() < 0.1:  # it reads no archive, and nobody answers it here
        run("plan", "--symbols", rng.choice(["[/red]", "BTC/USD", "*/USD", "\x1b[2J", "A" * 300, "\u202e,,", "all"]))
    run("book", archive, "--symbol", rng.choice(SYMBOLS), *rng.choice([[], ["--message"], ["--levels", "1"]]))
    for words in rng.sample(TABLES, 2):
        _export(case, words)
    files = sorted(archive.glob("l3-*"))
    for command in ("info", "verify", "check") if files and rng.random() < 0.3 else ():
        run(command, rng.choice(files))
    _call(case)


def _verify(case: Case, *, of: Optional[Path] = None) -> Optional[dict[str, Any]]:
    """The report, the same with each engine, with threads and with processes."""
    path = of or case.archive
    ways = [["--engine", engine] for engine in ENGINES]
    if len(ENGINES) > 1:
        ways.append(["--engine", "native", "--jobs", "3"])
    if case.rng.random() < 0.2:
        instruments = sorted(case.archive.glob("instruments-*.ndjson"))[:1]
        ways = [[*way, "--instruments", str(file)] for way in ways for file in instruments] or ways
    reports = [_report(run("verify", path, "--json", *way)) for way in ways]
    first = reports[0]
    if first is None and "--instruments" in ways[0]:
        return None  # the user named a file that is damaged
    for way, report in zip(ways, reports):
        if report != first:
            differing = {key for key in (first or {}) if not report or report[key] != first[key]} if first else reports
            one, other = (
                str({key: each[key] for key in differing})[:3000] if each else None for each in (first, report)
            )
            raise Broken(f"`verify {' '.join(way)}` differs in {differing}: {one} {other}")
    lines = case.lines()
    count = sum(lines.values())
    if first is None:
        if count and case.data_is_regular():
            raise Broken(f"`verify` gave no report, and there are {count} intact lines: {run('verify', path)}")
    elif first["total"]["messages"] < count:
        raise Broken(
            f"{count} intact lines, and `verify` read {first['total']['messages']} messages: {str(first)[:2000]}"
        )
    return first


def _report(ended: Ended) -> Optional[dict[str, Any]]:
    if not ended.out:
        return None
    printed = json.loads(ended.out)
    if printed["exit_code"] != ended.code:
        raise Broken(f"the report has another exit code: {ended}")
    report: Optional[dict[str, Any]] = printed["result"]
    if report is None:
        return None
    for differs in ("seconds", "engine"):
        report.pop(differs, None)
    for note in report["notes"]:
        if note["kind"] == "malformed":
            note["detail"] = ""  # each engine says in its own words what it expected
    return report


def _export(case: Case, words: tuple[str, ...]) -> None:
    given = []
    for engine in ENGINES:
        out = case.place / f"out-{words[0]}"
        shutil.rmtree(out, ignore_errors=True)
        ended = run("export", words[0], case.archive, "--out", out, "--engine", engine, *words[1:])
        given.append((ended.code, ended.out, tree(out) if out.is_dir() else {}, ended))
        if any(name.endswith(".tmp") for name in given[-1][2]):
            raise Broken(f"an unfinished file is left: {given[-1][2]}")
    if any(each[:3] != given[0][:3] for each in given):
        raise Broken(
            f"`export {words[0]}` differs: {[each[2] for each in given]}" + "".join(str(each[3]) for each in given)
        )


def _call(case: Case) -> None:
    """The library: its errors are those of the one tree."""
    with _only_our_errors("open"):
        archive = kraken_l3.open(case.archive)
        with _only_our_errors("symbols"):
            list(archive.symbols)
        for stream in ("level3", "trade", "instrument"):
            with _only_our_errors(f"messages {stream}"):
                read = Counter(line.payload for line in archive.messages(stream))
                if stream == "level3" and case.lines() - read:
                    lost = case.lines() - read
                    raise Broken(f"messages() lost {sum(lost.values())} intact lines: {next(iter(lost))[:300]!r}")
        for symbol in SYMBOLS:
            with _only_our_errors(f"book of {symbol}"):
                archive.book(symbol)
            with _only_our_errors(f"events of {symbol}"):
                archive.events(symbol).read_all()
            with _only_our_errors(f"snapshots of {symbol}"):
                archive.snapshots(symbol, "change", 5, wide=True).read_all()
        with _only_our_errors("messages from a moment on"):
            for _ in archive.messages(start="2024-11-22T12:00:03Z", end="2024-11-23T00:00:02Z"):
                pass


@contextlib.contextmanager
def _only_our_errors(call: str, *, refused: bool = True) -> Iterator[None]:
    try:
        yield
    except KrakenL3Error as error:
        if not refused or not error.what:
            raise Broken(f"{call}: {error}") from error


def _write(case: Case) -> None:
    """Repairing, sealing, recording on and following: they keep every intact line."""
    steps: list[Callable[[Case], None]] = [_recover, _seal, _record, _follow]
    case.rng.shuffle(steps)
    for step in steps:
        before = case.lines()
        with case.writes_inside():
            step(case)
        lost = before - case.lines(tree(case.archive))
        if lost and not case.may_cut:
            raise Broken(f"{step.__name__} lost {sum(lost.values())} intact lines: {next(iter(lost))[:300]!r}")
    case.unharmed = tree(case.archive)
    with case.reads_only():
        _verify(case)
        run("check", case.archive)


def _recover(case: Case) -> None:
    first = run("recover", case.archive, *case.rng.choice([[], ["--json"]]))
    before = tree(case.archive)
    second = run("recover", case.archive, "--json")
    if first.code != LocalFault.exit_code:
        _same(f"a second recovery changed something {second}", before, tree(case.archive))


def _record(case: Case) -> None:
    """A recorder starts here, writes a little, and stops."""
    is_sound = all(path.is_file() and not path.is_symlink() for path in case.archive.iterdir())
    new = [b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","new":%d}]}' % n for n in range(3)]
    with _only_our_errors("record", refused=not is_sound):  # bad lines in files must not stop it
        writer = ArchiveWriter.open(case.archive, clock=SystemClock())
        try:
            now = {"at_ns": time.time_ns(), "mono_ns": time.monotonic_ns()}
            writer.journal(Connected(**now, connection=99, url="wss://x", channel="level3", symbols=list(SYMBOLS)))
            for line in new:
                writer.append("level3", [Frame(line, time.time_ns(), time.monotonic_ns(), 99)])
            data = DayPaths(case.archive, writer.day).data("level3")
        finally:
            writer.close()
        if data.read_bytes().split(b"\n")[-4:-1] != new:
            raise Broken(f"what was recorded is not in {data.name}")


def _follow(case: Case) -> None:
    """The verifier of a running recorder reads what there is, and writes its checkpoints."""
    stop = threading.Event()
    stop.set()
    with _only_our_errors("verify-live"):
        LiveVerifier(case.archive, lambda message: None, stop=stop, engine_name=case.rng.choice(ENGINES)).run()


def _seal(case: Case) -> None:
    files = sorted(case.archive.glob("l3-*"))
    if files and case.rng.random() < 0.2:
        run("seal", case.rng.choice(files))
    run("seal", case.archive, *case.rng.choice([[], ["--json"], ["--day", "2024-11-22"]]))
