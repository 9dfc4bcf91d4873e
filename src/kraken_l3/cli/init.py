"""`kraken-l3 init`: write the commented configuration."""

# No postponed annotations here: on Python 3.9 typer cannot see the options in them.

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kraken_l3.cli.console import Screen
from kraken_l3.config.settings import DEFAULT_CONFIG
from kraken_l3.errors import LocalFault, UsageError

__all__ = ["init"]


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = DEFAULT_CONFIG,
) -> None:
    """Write a commented config.yaml, readable by you alone. An existing file is never overwritten."""
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
