"""Which engine runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Optional

import pytest

from kraken_l3 import __version__
from kraken_l3.engine.choose import make_engine, native_problem
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import UsageError

BEST = "native" if find_spec("kraken_l3_native") else "python"


def put_in_place_of_native(monkeypatch: pytest.MonkeyPatch, module: Optional[ModuleType]) -> None:
    """None: as if nothing were installed."""
    monkeypatch.setitem(sys.modules, "kraken_l3_native", module)
    monkeypatch.delitem(sys.modules, "kraken_l3.engine.native", raising=False)


def test_the_native_engine_is_taken_where_it_is_installed():
    assert make_engine(EngineOptions()).name == BEST


def test_python_can_be_asked_for():
    assert make_engine(EngineOptions(), "python").name == "python"


def test_without_the_native_package_python_runs(monkeypatch):
    put_in_place_of_native(monkeypatch, None)
    assert make_engine(EngineOptions()).name == "python"
    with pytest.raises(UsageError, match="not installed"):
        make_engine(EngineOptions(), "native")


def test_an_engine_that_is_not_installed_is_no_problem(monkeypatch):
    put_in_place_of_native(monkeypatch, None)
    assert native_problem() is None


@pytest.mark.skipif(BEST == "python", reason="the native engine is not installed")
def test_an_engine_that_fits_is_no_problem():
    assert native_problem() is None


@pytest.mark.parametrize(
    ("version", "interface", "said"),
    [
        ("0.0.9", 7, f"is of version 0.0.9, and this recorder of version {__version__}"),
        (None, None, f"is of version None, and this recorder of version {__version__}"),
        (__version__, 1, "has interface 1, and this release needs interface"),
        (__version__, 999, "has interface 999, and this release needs interface"),
    ],
)
def test_a_native_engine_of_another_release_is_told_of_with_the_remedy(monkeypatch, version, interface, said):
    other = ModuleType("kraken_l3_native")
    vars(other).update(__version__=version, PORT=interface)
    put_in_place_of_native(monkeypatch, other)
    assert make_engine(EngineOptions()).name == "python"
    with pytest.raises(UsageError, match=f"{re.escape(said)}.*pip install ./native"):
        make_engine(EngineOptions(), "native")
    problem = native_problem()
    assert problem is not None
    assert said in problem
    assert "pip install ./native" in problem


def test_a_wheel_of_another_version_is_told_of_on_the_command_line(tmp_path):
    """The package as it would be installed: an older one, found before that of this environment."""
    older = tmp_path / "kraken_l3_native"
    older.mkdir()
    (older / "__init__.py").write_text("__version__, PORT = '0.0.9', 7\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "kraken_l3", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    assert run("--version").stdout.startswith(
        f"kraken-l3 {__version__} (python engine)\nthe installed native engine is"
    )
    data = tmp_path / "l3-2026-11-27.ndjson"
    data.write_bytes(b"")
    refused = run("verify", "--engine", "native", str(data))
    assert (refused.returncode, "is of version 0.0.9" in refused.stderr) == (1, True)
    assert "is of version 0.0.9" in run("verify", str(data)).stderr


def test_a_native_engine_that_cannot_be_loaded_is_told_of(monkeypatch):
    class Broken(MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "kraken_l3_native":
                raise ImportError("wrong ELF class")

    monkeypatch.delitem(sys.modules, "kraken_l3_native", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert make_engine(EngineOptions()).name == "python"
    problem = native_problem()
    assert problem is not None
    assert problem.startswith("the native engine cannot be loaded (wrong ELF class). Install")


def test_no_other_engine():
    with pytest.raises(UsageError, match="no engine 'fast'"):
        make_engine(EngineOptions(), "fast")


def test_version_names_the_engine():
    out = subprocess.run([sys.executable, "-m", "kraken_l3", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.rstrip().endswith(f"({BEST} engine)")
