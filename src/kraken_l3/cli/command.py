"""How a command is declared and how its help looks. Its work is in a module of its own, imported when it is run.

Help is what people and their shells ask for most, so nothing is imported for it but click.
"""

from __future__ import annotations

import gc
import math
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional

import click

from kraken_l3.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

__all__ = ["Argument", "Command", "Duration", "FilePath", "Group", "colours"]


def colours() -> Optional[bool]:
    """False where the user wants none (https://no-color.org); None leaves it to the terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


class _HelpFormatter(click.HelpFormatter):
    """Headings stand out, and so do the names of commands and options."""

    def write_usage(self, prog: str, args: str = "", prefix: Optional[str] = None) -> None:
        super().write_usage(prog, args, prefix if prefix is not None else f"{click.style('Usage', bold=True)}: ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(click.style(heading, bold=True))

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(click.style(name, fg="cyan"), text) for name, text in rows], col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _HelpFormatter


class FilePath(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A path, whether or not something is there. click's own costs a catalogue of translations and pathlib at once.

    Args:
        urls: whether it may be a URL (s3://bucket/path) as well.
    """

    name = "path"

    def __init__(self, *, urls: bool = False) -> None:
        self.urls = urls

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Path:
        """See `click.ParamType`."""
        from pathlib import Path

        if "://" not in str(value):
            return Path(value)
        from kraken_l3.archive.remote import path_of, refuse_secrets

        refuse_secrets(str(value))
        if not self.urls:
            raise UsageError("this takes a path on this machine, and no URL", where=str(value))
        return path_of(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell, which knows its files best."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A length of time, in seconds: 90, 90s, 10m, 1h, 2d. At least 0.1 s."""

    name = "duration"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> float:
        """See `click.ParamType`."""
        text = str(value)
        unit = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}.get(text[-1:])
        try:
            seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
        except ValueError:
            seconds = math.nan
        if not 0.1 <= seconds < math.inf:  # nan too
            self.fail(f"{text!r} is no length of time of at least 0.1 s: write 90, 90s, 10m, 1h or 2d", param, ctx)
        return seconds


class Argument(click.Argument):
    """A positional argument with a help text, which click has from 8.5 on."""

    def __init__(self, name: str, help: str, **attributes: Any) -> None:
        super().__init__([name], **attributes)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Its name and its help, with the default where it has one."""
        default = f"  [default: {self.default}]" if isinstance(self.default, str) else ""
        return self.human_readable_name, f"{self.help}{default}"


def _write_parameters(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Arguments and options, alike in every version of click."""
    parameters = command.get_params(ctx)
    arguments = [each.get_help_record(ctx) for each in parameters if isinstance(each, Argument)]
    options = [each.get_help_record(ctx) for each in parameters if isinstance(each, click.Option)]
    for heading, records in (("Arguments", arguments), ("Options", options)):
        rows = [record for record in records if record is not None]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


class Command(click.Command):
    """A command.

    Args:
        name: as it is typed.
        text: its help; the first paragraph stands in the list of commands too.
        parameters: what it takes. They are handed over by name.
        runs: module and function of `kraken_l3.cli` that do the work, "export:events"; by default both are its name.
        hidden: whether it is left out of the list.
    """

    context_class = _Context

    def __init__(
        self, name: str, text: str, *parameters: click.Parameter, runs: str = "", hidden: bool = False
    ) -> None:
        super().__init__(name, help=text, params=list(parameters), callback=self.run, hidden=hidden)
        module, _, function = (runs or name).partition(":")
        self.module, self.function = f"kraken_l3.cli.{module}", function or module

    def run(self, **parameters: Any) -> Any:
        """Do its work; the exit code, or None for 0."""
        work = getattr(import_module(self.module), self.function)
        gc.freeze()  # see `main`; what was imported is not looked through again
        gc.enable()
        try:
            return work(**parameters)
        except KeyboardInterrupt as error:
            raise click.Abort from error  # of the other click says a blank line, behind what the command has said

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        _write_parameters(self, ctx, formatter)

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """They stand with the options (click 8.5 asks for them apart)."""


class Group(click.Group):
    """Commands in the order in which they are given."""

    context_class = _Context

    def __init__(self, name: str, text: str, *commands: click.Command, options: tuple[click.Option, ...] = ()) -> None:
        super().__init__(name, {command.name or "": command for command in commands}, help=text, params=list(options))
        self.no_args_is_help = False  # see parse_args

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All that are not hidden."""
        return [name for name, command in self.commands.items() if not command.hidden]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a command the help is shown, and it is wrong usage."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True, color=ctx.color)
            ctx.exit(UsageError.exit_code)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Refuse an unknown command with the nearest known one."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise UsageError(f"unknown command {args[0]!r}", hint=hint or f"`{ctx.command_path} --help` lists them")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options, then commands."""
        _write_parameters(self, ctx, formatter)
        with formatter.section("Commands"):
            rows = [(name, self.commands[name].help or "") for name in self.list_commands(ctx)]
            formatter.write_dl([(name, " ".join(text.partition("\n\n")[0].split())) for name, text in rows])
