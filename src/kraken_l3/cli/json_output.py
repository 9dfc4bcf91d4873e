"""What `--json` prints: one object in the same shape for every command and outcome (docs/cli.md).

command     "verify", "export events"
shape       version of this shape
exit_code   as the process ends
meaning     the exit code in a word
result      what the command found or did; null where an error ended it
error       what, where and hint of that error; else null
"""

from __future__ import annotations

import sys
from typing import Any, Optional

__all__ = ["MEANINGS", "SHAPE", "is_asked_for", "print_failure", "print_result"]

SHAPE = 1
MEANINGS = {
    0: "fine",
    1: "usage or configuration",
    2: "damage found",
    3: "missing or not verifiable",
    4: "refused by Kraken",
    5: "fault of this machine",
    130: "interrupted",
}
_GROUPS = ("export", "service")


def print_result(result: Any, exit_code: int = 0) -> int:
    """Print what a command found; gives the exit code back."""
    import msgspec  # errors of usage are printed without it

    _print(exit_code, msgspec.to_builtins(result, str_keys=True), None)
    return exit_code


def print_failure(exit_code: int, what: str, *, where: str = "", hint: str = "") -> None:
    """Print the error that ended a command, whatever kind it was."""
    _print(exit_code, None, {"what": what, "where": where or None, "hint": hint or None})


def is_asked_for() -> bool:
    """Whether this process was started with `--json`: an error may come before the options were read."""
    return "--json" in sys.argv[1:]


def _print(exit_code: int, result: Any, error: Optional[dict[str, Optional[str]]]) -> None:
    import json

    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    told = {
        "command": " ".join(words[: 2 if words[:1] and words[0] in _GROUPS else 1]),
        "shape": SHAPE,
        "exit_code": exit_code,
        "meaning": MEANINGS[exit_code],
        "result": result,
        "error": error,
    }
    # ASCII alone: symbols may hold half characters, which no encoding of the screen has
    sys.stdout.write(json.dumps(told) + "\n")
