"""`kraken-l3 top`: a running recorder on a whole terminal."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Optional

from kraken_l3.errors import UsageError
from kraken_l3.monitor.status_file import read_status

__all__ = ["top"]


def top(directory: Optional[Path], config: Optional[Path]) -> None:
    """Run `kraken-l3 top`."""
    try:
        from kraken_l3.monitor.top import Top
    except ImportError:
        raise UsageError("top needs textual", hint="pip install 'kraken-l3-recorder[top]'") from None
    if directory is None:
        from kraken_l3.cli.options import read_settings

        directory = read_settings(config).output_dir
    if not directory.is_dir():
        raise UsageError("there is no such directory", where=str(directory), hint="Give the directory of the archive")
    if not sys.stdout.isatty():
        raise UsageError("top needs a terminal", hint="kraken-l3 status prints the same once")
    Top(partial(read_status, directory), time.time_ns, str(directory)).run()
