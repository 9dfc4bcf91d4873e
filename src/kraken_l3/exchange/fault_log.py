"""What was injected, so that a client's behaviour can be judged by it: one JSON object a line, as it happened."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any, Optional

from kraken_l3.errors import LocalFault

__all__ = ["FaultLog"]

#: What is kept in memory; a file has all.
_KEPT = 10_000


class FaultLog:
    """The journal of a fault script.

    Args:
        path: where to write it; None keeps the last 10,000 in memory alone.

    Attributes:
        records: the newest last. `at_ns`: wall clock; `do`: which fault; `connection`, `symbol`: whom it met, where it
            met somebody; `number`: on which of the messages that it matched, counted from 1, where it counts messages.

    Raises:
        LocalFault: the file cannot be written.
    """

    def __init__(self, path: Optional[Path] = None) -> None:
        self.records: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        try:
            self._file = path.open("w", encoding="utf-8") if path is not None else None
        except OSError as error:
            raise LocalFault(f"cannot write the fault log: {error.strerror}", where=str(path)) from error

    def add(self, record: dict[str, Any]) -> None:
        """One more fault was injected."""
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        if self._file is not None:
            self._file.close()
