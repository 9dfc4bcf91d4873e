"""Memory of a process as the kernel counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Union

__all__ = ["anon_bytes"]


def anon_bytes(pid: Union[int, str]) -> int:
    """Anonymous memory of a process ("self": this one); 0 where there is no /proc, or no such process any more."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields.get("RssAnon", "0 kB").split()[0]) * 1024
