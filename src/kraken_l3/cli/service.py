"""`kraken-l3 service`: the recorder as a systemd user service."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from kraken_l3.cli.options import Config
from kraken_l3.config.settings import DEFAULT_CONFIG, load_settings
from kraken_l3.errors import ConfigError
from kraken_l3.systemd.unit import DEFAULT_NAME, Service, locate, unit_text
from kraken_l3.systemd.unit import install as install_service
from kraken_l3.systemd.unit import uninstall as uninstall_service

__all__ = ["service"]

service = typer.Typer(
    name="service",
    help="Run the recorder as a systemd user service: started, watched, restarted.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option("--name", help="Name of the service; each recorder needs its own.")]


@service.command("install")
def install(
    config: Config = None,
    name: Name = DEFAULT_NAME,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written, write nothing.")] = False,
) -> None:
    """Install a user service that records with this Python and this configuration. Needs no root."""
    wanted = _wanted(config, name)
    if dry_run:
        files = locate(name)
        typer.echo(f"# {files.unit}\n{unit_text(wanted)}")
        fate = "is kept as it is" if files.environment.exists() else "would be created"
        typer.echo(f"# {files.environment} (mode 0600, for the key) {fate}")
        return
    files = install_service(wanted)
    typer.echo(
        f"Installed {files.unit}\n\n"
        f"1. Put the API key into {files.environment} (mode 0600), unless config.yaml has it.\n"
        f"2. Start it:                  systemctl --user restart {name}\n"
        f"3. Look at it:                systemctl --user status {name}\n"
        f"   and at its log:            journalctl --user -u {name} -f\n"
        f"4. Keep it after logout and start it at boot: loginctl enable-linger\n"
        f"   (without it systemd stops a user's services when the last session ends)"
    )


@service.command("uninstall")
def uninstall(name: Name = DEFAULT_NAME) -> None:
    """Stop the service and remove its unit. The key file and the recordings stay."""
    files = uninstall_service(name)
    typer.echo(f"Removed {files.unit}; {files.environment} and the recordings were kept.")


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
