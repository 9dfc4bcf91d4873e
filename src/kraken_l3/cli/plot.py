"""`kraken-l3 plot`: pictures of an archive as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click

from kraken_l3.api import open_for_research
from kraken_l3.errors import LocalFault, UsageError

__all__ = ["depth", "queue", "spread", "survival"]

_KINDS = (".png", ".svg", ".pdf")


def depth(**typed: Any) -> None:
    """Run `kraken-l3 plot depth`."""
    _draw("depth", **typed)


def queue(**typed: Any) -> None:
    """Run `kraken-l3 plot queue`."""
    _draw("queue", **typed)


def spread(**typed: Any) -> None:
    """Run `kraken-l3 plot spread`."""
    _draw("spread", **typed)


def survival(**typed: Any) -> None:
    """Run `kraken-l3 plot survival`."""
    _draw("survival", **typed)


def _draw(what: str, source: Path, symbol: Optional[str], out: Path, **typed: Any) -> None:
    if out.suffix.lower() not in _KINDS:
        raise UsageError(f"--out must end in {', '.join(_KINDS)}, got {out.name!r}")
    archive = open_for_research(source)
    if symbol is None:
        if len(archive.symbols) != 1:
            raise UsageError("--symbol is needed", hint=f"The archive has {', '.join(archive.symbols[:20]) or 'none'}")
        (symbol,) = archive.symbols
    from kraken_l3 import plot  # only now: matplotlib takes a second, which no mistake should

    picture = getattr(plot, what)(archive, symbol, **typed)
    try:
        picture.savefig(out)
    except OSError as error:
        raise LocalFault(
            f"cannot write: {error.strerror or error}", where=str(out), hint="Use another --out"
        ) from error
    click.echo(str(out))
