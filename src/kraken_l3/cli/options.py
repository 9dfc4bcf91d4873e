"""What several commands do with their options: check them, warn, and merge them into the settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from kraken_l3.cli.console import plain
from kraken_l3.errors import UsageError

if TYPE_CHECKING:
    from kraken_l3.config.settings import Settings

__all__ = ["check_depth", "lower_priority", "read_settings", "warn_of_engine", "warn_of_unread"]

#: https://man7.org/linux/man-pages/man2/nice.2.html
_LOWEST = 19


def check_depth(depth: Optional[int]) -> None:
    """A depth that Kraken offers, or none.

    Raises:
        UsageError: it is another one.
    """
    if depth not in (None, 10, 100, 1000):
        raise UsageError(f"depth must be 10, 100 or 1000, got {depth}", where="--depth")


def warn_of_engine(engine: str) -> None:
    """Say on stderr, once a run, that an installed native engine cannot be used and Python does its work."""
    from kraken_l3.engine.choose import native_problem

    problem = native_problem() if engine == "auto" else None
    if problem is not None:
        click.echo(f"warning: {plain(problem)}", err=True)


def warn_of_unread(path: Path, *, journals_alone: bool = False) -> bool:
    """Say on stderr which files with level3 data are not looked at, and what is damaged beside the data.

    Args:
        path: the archive.
        journals_alone: leave out receipts and checkpoints, whose reading takes longer.

    Returns:
        Whether there is data that is not looked at.
    """
    from kraken_l3.archive.companions import companion_damage, journal_damage
    from kraken_l3.archive.reader import open_archive
    from kraken_l3.archive.unread import unread_files

    archive = open_archive(path)
    unread = unread_files(archive)
    damage = journal_damage(archive) if journals_alone else companion_damage(archive, is_growing=True)
    for text in [f"not looked at: {each}" for each in unread] + [f"read without: {each}" for each in damage]:
        click.echo(plain(f"warning: {text}"), err=True)
    return bool(unread)


def read_settings(config: Optional[Path], **flags: Any) -> Settings:
    """The settings. Warnings go to stderr."""
    from kraken_l3.config.settings import load_settings  # not for the commands that only read archives

    settings, warnings = load_settings(config, flags)
    for warning in warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    return settings


def lower_priority() -> None:
    """Give this process the lowest CPU priority, where the system has one: it runs beside a recorder."""
    if sys.platform != "win32":
        os.nice(_LOWEST)
