"""The command line: one file a command. Heavy libraries are imported inside the command that needs them."""

from kraken_l3.cli.main import app, main

__all__ = ["app", "main"]
