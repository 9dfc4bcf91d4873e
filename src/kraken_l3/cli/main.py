"""Runs the command line, and maps every outcome to its exit code."""

import gc
import sys

from kraken_l3.errors import KrakenL3Error, UsageError

__all__ = ["main"]

UNFORESEEN_EXIT_CODE = 5
INTERRUPTED_EXIT_CODE = 130


def main() -> None:
    """Run the command line; the process ends with the exit code that the error tree names."""
    # Importing leaves no garbage, and at its end Python would look for some among all objects, several times: both
    # together take a quarter of a short command's time. `Command.run` switches the collector on for the work.
    gc.disable()
    code = _run()
    gc.freeze()
    sys.exit(code)


def _run() -> int:
    import click

    from kraken_l3.cli.command import colours
    from kraken_l3.cli.commands import APP

    try:
        code = APP.main(standalone_mode=False, color=colours())
    except KrakenL3Error as error:
        from kraken_l3.cli.console import print_error

        print_error(f"kraken-l3: {error}")
        return _tell(error.exit_code, error.what, where=error.where, hint=error.hint)
    except click.ClickException as error:
        error.show()
        return _tell(UsageError.exit_code, str(error))
    except (KeyboardInterrupt, click.Abort):
        return _tell(INTERRUPTED_EXIT_CODE, "interrupted")
    except Exception as error:  # noqa: BLE001 - the last resort before the user's terminal
        import traceback

        traceback.print_exc()
        return _tell(UNFORESEEN_EXIT_CODE, f"a defect of this program: {type(error).__name__}")
    return code if isinstance(code, int) else 0


def _tell(exit_code: int, what: str, *, where: str = "", hint: str = "") -> int:
    """The error for programs too, where one reads this; gives the exit code back."""
    from kraken_l3.cli.json_output import is_asked_for, print_failure

    if is_asked_for():
        print_failure(exit_code, what, where=where, hint=hint)
    return exit_code
