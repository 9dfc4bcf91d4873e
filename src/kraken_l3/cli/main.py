"""Collects the commands, and maps every outcome to its exit code."""

import sys
import traceback
from importlib import import_module
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from kraken_l3._version import __version__
from kraken_l3.cli.json_output import is_asked_for, print_failure
from kraken_l3.errors import KrakenL3Error, UsageError, did_you_mean

#: Each command with the module that holds it as a function or group of that name. Modules are imported on demand, so
#: that no command pays for the libraries of another. A name that starts with "_" is hidden.
COMMANDS = {
    "init": "init",
    "record": "record",
    "plan": "plan",
    "info": "info",
    "recover": "recover",
    "seal": "seal",
    "check": "check",
    "verify": "verify",
    "book": "book",
    "export": "export",
    "simulate": "simulate",
    "demo": "demo",
    "service": "service",
    "_verify-live": "verify_live",
}


class Commands(TyperGroup):
    """The commands of the table above, imported one by one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an unknown command with the nearest known one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise UsageError(f"unknown command {args[0]!r}", hint=hint or "`kraken-l3 --help` lists them")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """All that are not hidden, in the table's order."""
        return [name for name in COMMANDS if not name.startswith("_")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command."""
        module = COMMANDS.get(cmd_name) or COMMANDS.get(f"_{cmd_name}")
        if module is None:
            return None
        found = getattr(import_module(f"kraken_l3.cli.{module}"), module)
        if isinstance(found, typer.Typer):
            for command in found.registered_commands:
                command.help = _help_of(command.callback)
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name, help=_help_of(found))(found)
        return typer.main.get_command(alone)


def _help_of(command: Any) -> str:
    """A command's docstring, each paragraph in one line: where the source breaks lines would show on the terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (command.__doc__ or "").split("\n\n"))


app = typer.Typer(
    name="kraken-l3",
    cls=Commands,
    help="Record Kraken's order-by-order book byte for byte, verify it, rebuild it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # which the commands below inherit
)

UNFORESEEN_EXIT_CODE = 5
USAGE_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        from kraken_l3.engine.choose import make_engine, native_problem  # only here, so that no other start pays for it
        from kraken_l3.engine.port import EngineOptions

        typer.echo(f"kraken-l3 {__version__} ({make_engine(EngineOptions()).name} engine)")
        problem = native_problem()
        if problem is not None:
            typer.echo(problem)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        Optional[bool], typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Options of the bare command."""


def main() -> None:
    """Run the command line; the process ends with the exit code that the error tree names."""
    try:
        code = app(standalone_mode=False)
    except KrakenL3Error as error:
        from kraken_l3.cli.console import print_error

        print_error(f"kraken-l3: {error}")
        code = error.exit_code
        _tell(code, error.what, where=error.where, hint=error.hint)
    except KeyboardInterrupt:
        code = INTERRUPTED_EXIT_CODE
        _tell(code, "interrupted")
    except Exception as error:  # noqa: BLE001 - the last resort before the user's terminal
        code = _usage_or_unforeseen(error)
    sys.exit(code if isinstance(code, int) else 0)


def _tell(exit_code: int, what: str, *, where: str = "", hint: str = "") -> None:
    """The error for programs too, where one reads this."""
    if is_asked_for():
        print_failure(exit_code, what, where=where, hint=hint)


def _usage_or_unforeseen(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show):  # a click usage error knows how to print itself, whichever click typer brings
        show()
        _tell(USAGE_EXIT_CODE, str(error))
        return USAGE_EXIT_CODE
    if type(error).__name__ == "Abort":
        _tell(INTERRUPTED_EXIT_CODE, "interrupted")
        return INTERRUPTED_EXIT_CODE
    traceback.print_exc()
    _tell(UNFORESEEN_EXIT_CODE, f"a defect of this program: {type(error).__name__}")
    return UNFORESEEN_EXIT_CODE
