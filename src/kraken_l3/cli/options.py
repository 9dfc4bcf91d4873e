"""Command-line options that several commands share, and the settings they are merged into."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from kraken_l3.cli.console import plain
from kraken_l3.errors import UsageError

if TYPE_CHECKING:
    from kraken_l3.config.settings import Settings

__all__ = [
    "AsJson",
    "Config",
    "Depth",
    "EngineName",
    "Instruments",
    "SubscribedDepth",
    "Symbols",
    "Tier",
    "check_depth",
    "read_settings",
    "warn_of_engine",
    "warn_of_unread",
]

Config = Annotated[
    Optional[Path], typer.Option("--config", "-c", help="Configuration file (default: config.yaml here, if it exists).")
]
Symbols = Annotated[
    Optional[str], typer.Option("--symbols", help="Symbols, comma separated: BTC/USD,ETH/USD or '*/USD' or all.")
]
Depth = Annotated[Optional[int], typer.Option("--depth", help="Price levels a side: 10, 100 or 1000.")]
Tier = Annotated[Optional[str], typer.Option("--tier", help="Your Kraken account's tier: standard or pro.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/cli.md) instead of text.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, native or python.")]
Instruments = Annotated[
    Optional[Path], typer.Option("--instruments", help="File of instrument channel messages, for precisions.")
]
SubscribedDepth = Annotated[
    Optional[int], typer.Option("--depth", help="Subscribed depth: 10, 100 or 1000 (default: from the journal).")
]


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
        typer.echo(f"warning: {plain(problem)}", err=True)


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
        typer.echo(plain(f"warning: {text}"), err=True)
    return bool(unread)


def read_settings(config: Optional[Path], **flags: Any) -> "Settings":
    """The settings. Warnings go to stderr."""
    from kraken_l3.config.settings import load_settings  # not for the commands that only read archives

    settings, warnings = load_settings(config, flags)
    for warning in warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    return settings
