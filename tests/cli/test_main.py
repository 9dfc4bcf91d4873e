import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from kraken_l3 import __version__
from kraken_l3.cli.command import Command
from kraken_l3.cli.commands import APP
from kraken_l3.cli.serving import ServerOptions
from kraken_l3.exchange.flow.generate import generate
from processes import ROOT, run

#: Every command as it is typed.
LEAVES = [
    *([name] for name, command in APP.commands.items() if isinstance(command, Command)),
    *([name, each] for name in ("export", "service") for each in APP.commands[name].commands),
]
#: What takes longer to import than all else that help needs.
HEAVY = {
    *("aiohttp", "asyncio", "concurrent", "logging", "matplotlib", "msgspec", "multiprocessing", "numpy", "picows"),
    *("pyarrow", "pydantic", "rich", "ssl", "structlog", "yaml", "backports.zstd", "importlib.metadata"),
}


def test_version(tmp_path: Path) -> None:
    result = run("--version", directory=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"kraken-l3 {__version__}")


@pytest.mark.parametrize("name", APP.commands)
def test_every_command_has_help(name: str, tmp_path: Path) -> None:
    result = run(name, "--help", directory=tmp_path)
    assert result.returncode == 0, result.stderr
    assert name in result.stdout
    assert "-completion" not in result.stdout  # options that frameworks add to every command


def test_help_lists_all_but_the_hidden(tmp_path: Path) -> None:
    shown = run("--help", directory=tmp_path).stdout
    for name in APP.commands:
        assert (f"\n  {name} " in shown) == (name != "verify-live")


@pytest.mark.parametrize("arguments", [["nosuch"], ["record", "--nosuch"], ["info"], ["plan", "--depth", "ten"]])
def test_wrong_usage_is_exit_code_1(arguments: list, tmp_path: Path) -> None:
    result = run(*arguments, directory=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_told_the_nearest_one(tmp_path: Path) -> None:
    result = run("verfy", directory=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "kraken-l3: unknown command 'verfy'. Did you mean verify?\n"


def test_the_lines_of_help_break_where_the_terminal_does(tmp_path: Path) -> None:
    shown = run("export", "snapshots", "-h", directory=tmp_path).stdout
    assert "2: some rows are suspect (see --wide); 3: some data could not be verified.\n" in shown


def test_h_is_help_everywhere(tmp_path: Path) -> None:
    for words in ([], ["info"], ["export", "events"]):
        result = run(*words, "-h", directory=tmp_path)
        assert result.returncode == 0
        assert "Usage" in result.stdout


def test_init_writes_the_commented_configuration_once(tmp_path: Path) -> None:
    assert run("init", directory=tmp_path).returncode == 0
    written = tmp_path / "config.yaml"
    assert written.read_bytes() == (ROOT / "config.yaml.example").read_bytes()
    assert written.stat().st_mode & 0o777 == 0o600
    written.write_text("mine")
    again = run("init", directory=tmp_path)
    assert again.returncode == 1
    assert "the file exists" in again.stderr
    assert written.read_text() == "mine"
    assert run("init", "/proc/x.yaml", directory=tmp_path).returncode == 5


def test_an_unforeseen_error_is_exit_code_5(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("what")

    main_module = import_module("kraken_l3.cli.main")  # the package's own `main` is the function
    monkeypatch.setattr(APP, "main", broken)
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 5
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("kraken_l3.cli.record", ["numpy", "pyarrow", "matplotlib", "kraken_l3.book", "kraken_l3.rebuild"]),
        ("kraken_l3", ["numpy", "pyarrow", "aiohttp", "click"]),
    ],
)
def test_nothing_heavy_is_imported_on_the_way(module: str, without: list) -> None:
    code = f"import {module}, sys; print([name for name in {without!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def imported_by(*words: str, cwd: Path) -> set:
    """The modules that a command has imported by its end, beyond those that every Python here starts with."""
    code = (
        "import atexit, sys; before = {*sys.modules}\n"
        "atexit.register(lambda: print(*{*sys.modules} - before, file=sys.stderr))\n"
        f"sys.argv = ['kraken-l3', *{words!r}]\nfrom kraken_l3.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [[], ["export"], ["service"], *LEAVES], ids=" ".join)
def test_help_imports_nothing_heavy(words: list, tmp_path: Path) -> None:
    found = imported_by(*words, "--help", cwd=tmp_path)
    assert not HEAVY & found
    assert not {name for name in found if name.startswith("kraken_l3.") and not name.startswith("kraken_l3.cli")} - {
        "kraken_l3.errors",
        "kraken_l3._version",
    }


def test_info_of_a_plain_archive_imports_nothing_heavy(tmp_path: Path) -> None:
    line = b'{"channel":"level3","type":"snapshot","data":[{"symbol":"BTC/USD"}]}\n'
    (tmp_path / "l3-2026-11-22.ndjson").write_bytes(line)
    found = imported_by("info", ".", cwd=tmp_path)
    assert not (HEAVY - {"msgspec"}) & found


@pytest.mark.parametrize("words", [["events"], ["snapshots", "--every", "1s", "--wide"]], ids=" ".join)
def test_an_export_imports_no_other_library_for_tables_and_no_server(words: list, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    lines = generate(symbols=["BTC/USD"], messages=50, depth=10, start_ns=1_795_305_600_000_000_000, rate=5.0)
    (tmp_path / "l3.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
    found = imported_by("export", *words, "l3.ndjson", "--out", "o", cwd=tmp_path)
    assert not {"pandas", "polars", "duckdb", "aiohttp", "distributed"} & found


def leaf(words: list) -> Command:
    command = APP
    for word in words:
        command = command.commands[word]
    return command


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_what_is_declared_is_what_the_work_takes(words: list) -> None:
    command = leaf(words)
    work = getattr(import_module(command.module), command.function)
    declared, taken = {parameter.name for parameter in command.params}, set(inspect.signature(work).parameters)
    if "request" in taken:  # an export: what all of them share comes as one request (`cli.export.request`)
        taken = taken - {"request"} | REQUESTED | ({"cluster"} & declared)
    if "server" in taken:  # a server: what all of them share comes as further options (`cli.serving.ServerOptions`)
        taken = taken - {"server"} | set(ServerOptions._fields)
    assert declared == taken


REQUESTED = {"source", "out", "symbols", "start", "end", "day", "jobs", "instruments", "engine", "as_json"}


def test_a_color_is_shown_on_a_terminal_alone(tmp_path: Path) -> None:
    assert "\x1b[" not in run("verify", "--help", directory=tmp_path).stdout


def test_a_command_that_is_missing_shows_the_help_and_is_wrong_usage(tmp_path: Path) -> None:
    for words in ([], ["export"]):
        done = run(*words, directory=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Commands:" in done.stderr
