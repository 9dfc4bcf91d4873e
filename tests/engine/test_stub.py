"""The native module is what its stub says, by mypy's own check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("kraken_l3_native", reason="the native package is not installed")
pytest.importorskip("mypy", reason="mypy is not installed")

STUBS = Path(__file__).parents[2] / "native"


def test_the_stub_is_right(tmp_path):
    compiled = tmp_path / "compiled"
    compiled.write_text("kraken_l3_native.kraken_l3_native\n")  # maturin's inner module, which the package re-exports
    checked = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "kraken_l3_native", "--allowlist", str(compiled)],
        env={**os.environ, "MYPYPATH": str(STUBS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
