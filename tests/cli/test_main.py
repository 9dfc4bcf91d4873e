import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from kraken_l3 import __version__
from kraken_l3.cli.main import COMMANDS
from processes import ROOT, run


def test_version(tmp_path: Path) -> None:
    result = run("--version", directory=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"kraken-l3 {__version__}")


@pytest.mark.parametrize("name", [name.lstrip("_") for name in COMMANDS])
def test_every_command_has_help(name: str, tmp_path: Path) -> None:
    result = run(name, "--help", directory=tmp_path)
    assert result.returncode == 0, result.stderr
    assert name in result.stdout
    assert "completion" not in result.stdout


def test_help_lists_all_but_the_hidden(tmp_path: Path) -> None:
    shown = run("--help", directory=tmp_path).stdout
    for name in COMMANDS:
        assert (f"│ {name} " in shown) == (not name.startswith("_"))


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
    assert (
        "2: it does not; 3: there is no book, or the moment lies in a" in run("book", "-h", directory=tmp_path).stdout
    )
    assert (
        "2: some rows are suspect (see --wide); 3: some data"
        in run("export", "snapshots", "-h", directory=tmp_path).stdout
    )


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
    monkeypatch.setattr(main_module, "app", broken)
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 5
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("kraken_l3.cli.main", ["aiohttp", "pydantic", "numpy", "pyarrow"]),
        ("kraken_l3.cli.record", ["numpy", "pyarrow", "matplotlib", "kraken_l3.book", "kraken_l3.rebuild"]),
        ("kraken_l3", ["numpy", "pyarrow", "aiohttp", "typer"]),
    ],
)
def test_nothing_heavy_is_imported_on_the_way(module: str, without: list) -> None:
    code = f"import {module}, sys; print([name for name in {without!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
