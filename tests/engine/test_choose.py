"""Which engine runs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import UsageError

BEST = "native" if find_spec("kraken_l3_native") else "python"


def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kraken_l3_native", None)
    for module in ("native", "native_team"):
        monkeypatch.delitem(sys.modules, f"kraken_l3.engine.{module}", raising=False)


def test_the_native_engine_is_taken_where_it_is_installed():
    assert make_engine(EngineOptions()).name == BEST


def test_python_can_be_asked_for():
    assert make_engine(EngineOptions(), "python").name == "python"


def test_without_the_native_package_python_runs(monkeypatch):
    without_native(monkeypatch)
    assert make_engine(EngineOptions()).name == "python"
    with pytest.raises(UsageError, match="not installed"):
        make_engine(EngineOptions(), "native")


def test_a_native_package_of_another_port_is_as_good_as_none(monkeypatch):
    without_native(monkeypatch)
    monkeypatch.setitem(sys.modules, "kraken_l3_native", type(sys)("kraken_l3_native"))
    assert make_engine(EngineOptions()).name == "python"


def test_no_other_engine():
    with pytest.raises(UsageError, match="no engine 'fast'"):
        make_engine(EngineOptions(), "fast")


def test_version_names_the_engine():
    out = subprocess.run([sys.executable, "-m", "kraken_l3", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.rstrip().endswith(f"({BEST} engine)")
