"""The command line: one file a command, and `commands` with what can be typed. `main` imports what a command needs."""

from kraken_l3.cli.main import main

__all__ = ["main"]
