"""Collects the commands and maps every ending to its exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Optional

import typer
from rich.console import Console

from kraken_l3._version import __version__
from kraken_l3.cli.info import info
from kraken_l3.cli.plan import plan
from kraken_l3.cli.record import record
from kraken_l3.cli.recover import recover
from kraken_l3.cli.service import service
from kraken_l3.cli.simulate import simulate
from kraken_l3.cli.verify import verify
from kraken_l3.errors import KrakenL3Error

app = typer.Typer(
    name="kraken-l3",
    help="Record Kraken's order-by-order book byte for byte, verify it, rebuild it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

UNFORESEEN_EXIT_CODE = 5
USAGE_EXIT_CODE = 1


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kraken-l3 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        Optional[bool], typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Options of the bare command."""


app.command("record")(record)
app.command("plan")(plan)
app.command("info")(info)
app.command("recover")(recover)
app.command("simulate")(simulate)
app.add_typer(service)
app.command("verify")(verify)


def main() -> None:
    """Run the command line; the process ends with the exit code that the error tree names."""
    try:
        code = app(standalone_mode=False)
    except KrakenL3Error as error:
        Console(stderr=True).print(f"kraken-l3: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - the last resort before the user's terminal
        code = _usage_or_unforeseen(error)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_or_unforeseen(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show):  # a click usage error knows how to print itself, whichever click typer brings
        show()
        return USAGE_EXIT_CODE
    if type(error).__name__ == "Abort":
        return 130
    traceback.print_exc()
    return UNFORESEEN_EXIT_CODE
