"""Progress in a notebook. Elsewhere there is none: a script's output belongs to the script."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Optional

from kraken_l3.api.display import progress_bar
from kraken_l3.rebuild.parallel import Progress

__all__ = ["notebook_progress"]

#: What takes less needs no bar.
_SHOWN_AFTER_S = 1.0
_EVERY_S = 0.2


@contextmanager
def notebook_progress(what: str, size: int) -> Iterator[Optional[Progress]]:
    """A bar while something reads `size` bytes, in a notebook; it goes when that is done. Gives None elsewhere."""
    if not _in_notebook():
        yield None
        return
    bar = _Bar(what, size)
    try:
        yield bar.add
    finally:
        bar.remove()


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython in a terminal has none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _Bar:
    def __init__(self, what: str, size: int) -> None:
        self._what, self._size = what, max(size, 1)
        self._done = 0
        self._next_s = time.monotonic() + _SHOWN_AFTER_S
        self._handle: Any = None

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next_s:
            self._show(progress_bar(self._what, min(self._done / self._size, 1.0)))
            self._next_s = time.monotonic() + _EVERY_S

    def remove(self) -> None:
        if self._handle is not None:
            self._show("")

    def _show(self, text: str) -> None:
        shown: Any = import_module("IPython.display")
        if self._handle is None:
            self._handle = shown.display(shown.HTML(text), display_id=True)
        else:
            self._handle.update(shown.HTML(text))
