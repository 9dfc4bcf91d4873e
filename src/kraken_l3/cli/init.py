"""`kraken-l3 init`: write the commented configuration."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from kraken_l3.cli.console import Screen
from kraken_l3.errors import LocalFault, UsageError

__all__ = ["init"]


def init(path: Path) -> None:
    """Run `kraken-l3 init`."""
    text = files("kraken_l3.config").joinpath("config.yaml.example").read_bytes()
    try:
        # the key goes into it: never readable by others, not even for a moment
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError("the file exists", where=str(path), hint="Edit it, or name another one") from None
    except OSError as error:
        raise LocalFault(f"cannot write: {error.strerror}", where=str(path)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    Screen().line(f"Wrote {path}. Set symbols, api_key and api_secret in it, then run: kraken-l3 record")
