"""`kraken-l3 service`: the recorder as a systemd user service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

import click

from kraken_l3.config.settings import DEFAULT_CONFIG, load_settings
from kraken_l3.errors import ConfigError
from kraken_l3.systemd.unit import Service, locate, unit_text
from kraken_l3.systemd.unit import install as install_service
from kraken_l3.systemd.unit import uninstall as uninstall_service

__all__ = ["install", "uninstall"]


def install(config: Optional[Path], name: str, dry_run: bool) -> None:
    """Run `kraken-l3 service install`."""
    wanted = _wanted(config, name)
    if dry_run:
        files = locate(name)
        click.echo(f"# {files.unit}\n{unit_text(wanted)}")
        fate = "is kept as it is" if files.environment.exists() else "would be created"
        click.echo(f"# {files.environment} (mode 0600, for the key) {fate}")
        return
    files = install_service(wanted)
    click.echo(
        f"Installed {files.unit}\n\n"
        f"1. Put the API key into {files.environment} (mode 0600), unless config.yaml has it.\n"
        f"2. Start it:                  systemctl --user restart {name}\n"
        f"3. Look at it:                systemctl --user status {name}\n"
        f"   and at its log:            journalctl --user -u {name} -f\n"
        f"4. Keep it after logout and start it at boot: loginctl enable-linger\n"
        f"   (without it systemd stops a user's services when the last session ends)"
    )


def uninstall(name: str) -> None:
    """Run `kraken-l3 service uninstall`."""
    files = uninstall_service(name)
    click.echo(f"Removed {files.unit}; {files.environment} and the recordings were kept.")


def _wanted(config: Optional[Path], name: str) -> Service:
    """The same interpreter, directory and configuration as this shell's, as absolute paths."""
    path = config if config is not None else DEFAULT_CONFIG
    if config is not None and not path.exists():
        raise ConfigError("no such file", where=str(path), hint="`kraken-l3 init` writes one")
    load_settings(
        path if path.exists() else None
    )  # report a mistake now, not in the log of a service that fails to start
    absolute = path.absolute()
    found = absolute if path.exists() else None
    return Service(name, Path(sys.executable), absolute.parent if found else Path.cwd(), found)
