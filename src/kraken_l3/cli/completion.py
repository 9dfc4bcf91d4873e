"""`kraken-l3 completion`: the script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kraken_l3.cli.commands import APP

__all__ = ["completion"]

_PROGRAM = "kraken-l3"
#: What click itself looks for in the environment of this program.
_VARIABLE = "_KRAKEN_L3_COMPLETE"


def completion(shell: str) -> None:
    """Run `kraken-l3 completion`."""
    writer = get_completion_class(shell)
    assert writer is not None, shell  # click.Choice has seen to it
    click.echo(writer(APP, {}, _PROGRAM, _VARIABLE).source())
