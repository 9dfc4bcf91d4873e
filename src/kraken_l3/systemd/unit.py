"""The recorder as a service of systemd's user manager: the unit file, and how it is installed.

The unit uses only hardening that works without user namespaces: the rest (ProtectSystem and the like) makes a user
unit fail on systems that forbid them.
Sources: systemd.service(5), systemd.exec(5), systemd.syntax(7), sd_notify(3).
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.systemd.notify import WATCHDOG_S

__all__ = ["DEFAULT_NAME", "Installation", "Service", "install", "locate", "uninstall", "unit_text"]

DEFAULT_NAME = "kraken-l3"
SYSTEMCTL_S = 60.0

ENVIRONMENT_TEMPLATE = """\
# Read by the kraken-l3 service when it starts. Keep it private (mode 0600).
# The key needs one permission only: "WebSocket interface - On" (kraken.com, Settings, API).
# KRAKEN_API_KEY=
# KRAKEN_API_SECRET=
# Every key of config.yaml can be set here too, and takes precedence over the file:
# KRAKEN_L3_SYMBOLS=BTC/USD,ETH/USD
# KRAKEN_L3_OUTPUT_DIR=/path/to/archive
"""

_UNIT = """\
[Unit]
Description=Kraken level3 recorder ({name})
StartLimitIntervalSec=0

[Service]
Type=notify
# All: a recorder that takes over tells systemd that it is the main process now.
NotifyAccess=all
ExecStart={command}
# The new recorder is ready before it asks this one to end: nothing is lost, and if it fails this one records on.
ExecReload={reload}
WorkingDirectory={directory}
EnvironmentFile=-{environment}
SyslogIdentifier={name}

# Always restart, except after a configuration error (1) and when Kraken refused the key (4).
Restart=always
RestartSec=5
RestartPreventExitStatus=1 4
WatchdogSec={watchdog_s}
TimeoutStartSec=300
# Send SIGTERM to the recorder alone: it ends its child processes and writes what is queued.
KillMode=mixed
TimeoutStopSec=60

# Hardening that works everywhere in a user unit, without user namespaces.
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


class Service(NamedTuple):
    """What the service runs.

    Attributes:
        name: of the unit, without ".service".
        interpreter: absolute path of the Python to use; for a virtual environment its own, not the target of the link.
        directory: working directory; relative paths in the configuration start here.
        config: absolute path of the configuration file (None: everything is in the environment).
    """

    name: str
    interpreter: Path
    directory: Path
    config: Optional[Path]


class Installation(NamedTuple):
    """The files of a service."""

    unit: Path
    environment: Path


def locate(name: str) -> Installation:
    """The files of a service; they are below XDG_CONFIG_HOME, or ~/.config.

    Raises:
        UsageError: systemd does not accept the name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,200}", name):
        raise UsageError("not a valid service name", where=name, hint="Use letters, digits, '-', '_' and '.'")
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Installation(base / "systemd" / "user" / f"{name}.service", base / "kraken-l3" / f"{name}.env")


def unit_text(service: Service) -> str:
    """The unit file.

    Raises:
        UsageError: a path has characters that a unit file cannot express.
    """
    if set(str(service.interpreter)) & set("\"'\\"):
        raise _unfit(service.interpreter)  # systemd rejects such a program name, however it is quoted
    words = [str(service.interpreter), "-m", "kraken_l3", "record"]
    if service.config is not None:
        words += ["--config", str(service.config)]
    return _UNIT.format(
        name=service.name,
        command=_command(words),
        reload=_command([*words, "--take-over"]),
        watchdog_s=WATCHDOG_S,
        directory=_whole_line(service.directory),
        environment=_whole_line(glob.escape(str(locate(service.name).environment))),
    )


def _command(words: Sequence[str]) -> str:
    """An ExecStart line. The prefix ':' turns variables off; `$$` would not work in the first word."""
    line = " ".join(_word(word) for word in words)
    return f":{line}" if "$" in line else line


def _word(text: str) -> str:
    escaped = _whole_line(text, may_end_oddly=True).replace("\\", "\\\\").replace('"', '\\"')
    return escaped if re.fullmatch(r"[A-Za-z0-9_./:@+=,%-]+", escaped) else f'"{escaped}"'


def _whole_line(path: object, *, may_end_oddly: bool = False) -> str:
    """A value that systemd takes literally, except for % specifiers, which are escaped."""
    text = str(path)
    if not text.isprintable() or (not may_end_oddly and (text.endswith("\\") or text != text.strip())):
        raise _unfit(text)
    return text.replace("%", "%%")


def _unfit(path: object) -> UsageError:
    return UsageError(
        "a systemd unit cannot hold this path", where=repr(str(path)), hint="Use a path without special characters"
    )


def install(service: Service) -> Installation:
    """Write the unit and, if it is missing, the environment file; have systemd reload and enable the unit.

    Raises:
        UsageError: there is no systemd user manager.
        LocalFault: a file cannot be written.
    """
    text = unit_text(service)
    _require_user_manager()
    files = locate(service.name)
    try:
        files.unit.parent.mkdir(parents=True, exist_ok=True)
        files.unit.write_text(text, encoding="utf-8")
        _write_environment(files.environment)
    except OSError as error:
        raise LocalFault(f"cannot write: {error.strerror}", where=str(error.filename or files.unit)) from error
    _systemctl("daemon-reload")
    _systemctl("enable", files.unit.name)
    return files


def uninstall(name: str) -> Installation:
    """Stop the service and remove its unit; the environment file and the recorded data stay.

    Raises:
        UsageError: it is not installed, or there is no systemd.
    """
    files = locate(name)
    if not files.unit.exists():
        raise UsageError("no such service is installed", where=str(files.unit), hint="Name another one with --name")
    _require_user_manager()
    _systemctl("disable", "--now", files.unit.name)
    files.unit.unlink(missing_ok=True)
    _systemctl("daemon-reload")
    return files


def _write_environment(path: Path) -> None:
    """Make it private from its first byte on. An existing file keeps its content and is made private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(0o600)
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(ENVIRONMENT_TEMPLATE)


def _require_user_manager() -> None:
    if not sys.platform.startswith("linux") or shutil.which("systemctl") is None:
        raise UsageError(
            "there is no systemd on this machine",
            hint="Run `kraken-l3 record` under another supervisor: stop it with SIGTERM, and restart it unless it "
            "exits with 1 or 4. --dry-run shows the unit",
        )
    if _call("show-environment").returncode != 0:
        raise UsageError(
            "systemd's user manager does not answer",
            hint="Log in as the user who runs the recorder (ssh or console, not su or sudo), or first call "
            "`loginctl enable-linger` for that user. --dry-run shows the unit",
        )


def _systemctl(*words: str) -> None:
    done = _call(*words)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise LocalFault(
            f"systemctl failed: {said[-1] if said else f'exit code {done.returncode}'}",
            where=f"systemctl --user {' '.join(words)}",
        )


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["systemctl", "--user", *words], capture_output=True, text=True, timeout=SYSTEMCTL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalFault(f"cannot run systemctl: {error}", where="systemctl") from error
