"""What a benchmark ran on, in one line: figures of other machines, or of another day, are not to be compared."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from kraken_l3 import __version__
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Processor, system, Python, and the version of what is measured."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    engine = make_engine(EngineOptions()).name
    version = f"kraken-l3 {__version__}{_commit()}, {engine} engine"
    return f"{os.cpu_count()} x {_processor()}{load}; {system}; {version}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({done.stdout.strip()})"
