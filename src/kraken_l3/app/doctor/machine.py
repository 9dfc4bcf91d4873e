"""This machine: Python and engine, the clock's synchronisation, the disk, limits, the service."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

from kraken_l3._version import __version__
from kraken_l3.app.doctor.finding import Finding, bad, good, skipped, warning
from kraken_l3.engine.choose import make_engine, native_problem
from kraken_l3.engine.port import EngineOptions
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.status import ClockStatus
from kraken_l3.monitor.units import size
from kraken_l3.protocol.plan import Plan
from kraken_l3.systemd.unit import DEFAULT_NAME, locate

__all__ = ["check_clock", "check_disk", "check_limits", "check_service", "check_versions"]

_PIECE = 1024 * 1024
_PIECES = 16
_SYNCS = 10
_WRITE_S = 2.0
#: A sync that takes longer delays what a power cut would lose beyond `fsync_interval_s`.
SLOW_SYNC_NS = NS_PER_S
FEW_DAYS = 7
#: Sockets, the files of a day and what Python has open; with some room.
FILES_NEEDED = 256
LOGINCTL_S = 5.0


def check_versions() -> list[Finding]:
    """Python, the recorder and the engine that verifies."""
    engine = make_engine(EngineOptions()).name
    told = f"Python {platform.python_version()}, recorder {__version__}, {engine} engine"
    problem = native_problem()
    if problem is None:
        return [good("versions", told)]
    what, _, remedy = problem.partition(". ")
    return [warning("versions", f"{told}: {what}", remedy)]


def check_clock(clock: ClockStatus) -> list[Finding]:
    """Whether something keeps the wall clock right. Whether it is right, only another clock can tell."""
    if clock.synchronised is None:
        return [skipped("clock", "this system does not say whether its clock is synchronised")]
    if clock.synchronised:
        return [good("clock", f"synchronised, at most {(clock.error_s or 0.0) * 1000:,.0f} ms wrong")]
    remedy = "Install chrony, or run: sudo timedatectl set-ntp true (in a container or guest: on its host)"
    return [warning("clock", "nothing synchronises it: receive times drift, by seconds a week", remedy)]


def check_disk(directory: Path, plan: Plan) -> list[Finding]:
    """Room and speed where the archive is or will be. Writes 16 MiB and removes them.

    Args:
        directory: `output_dir`; if it does not exist yet, its nearest parent is looked at.
        plan: of the configuration, for the days that the room lasts.
    """
    place = directory.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        speed, syncs_ns = _measure(place)
    except OSError as error:
        remedy = "Make it writable for the user who runs the recorder, or choose another output_dir"
        return [bad("disk", f"cannot write in {place}: {error.strerror}", remedy)]
    free = shutil.disk_usage(place).free
    least, most = plan.disk_bytes_per_day
    room = f"{size(free)} free in {place}"
    days = free / least if least else None
    if days is not None:
        room += f", enough for {_days(free / most)} to {_days(days)} days"
    return [
        _room(days, room, free),
        _speed(f"writes {size(round(speed))}/s, syncs in {_ms(syncs_ns[len(syncs_ns) // 2])} ms", max(syncs_ns)),
    ]


def _room(days: Optional[float], room: str, free: int) -> Finding:
    remedy = "Free some, choose a larger disk, or let sealed days be compressed and removed (docs/operations.md, Disk)"
    if free < 64 * _PIECE or (days is not None and days < 1):
        return bad("disk space", room, remedy)
    return warning("disk space", room, remedy) if days is not None and days < FEW_DAYS else good("disk space", room)


def _speed(told: str, slowest_ns: int) -> Finding:
    if slowest_ns < SLOW_SYNC_NS:
        return good("disk speed", f"{told}, the slowest in {_ms(slowest_ns)} ms")
    remedy = "A power cut would lose more than fsync_interval_s: use a faster or less busy disk"
    return warning("disk speed", f"{told}, but one took {_ms(slowest_ns)} ms", remedy)


def _days(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:,.1f}"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.1f}"


def _measure(place: Path) -> tuple[float, list[int]]:
    """Bytes a second, and how long some syncs took in ns, sorted."""
    with tempfile.TemporaryFile(dir=place, prefix=".kraken-l3-doctor-") as file:
        began, written = time.perf_counter(), 0
        for _ in range(_PIECES):
            written += file.write(os.urandom(_PIECE))  # random: some file systems compress, or keep no zeros
            if time.perf_counter() - began > _WRITE_S:
                break
        file.flush()
        os.fsync(file.fileno())
        took_s = time.perf_counter() - began
        syncs = []
        for _ in range(_SYNCS):
            at_ns = time.perf_counter_ns()
            file.write(b"\n" * 4096)
            file.flush()
            os.fsync(file.fileno())
            syncs.append(time.perf_counter_ns() - at_ns)
        return written / took_s, sorted(syncs)


def check_limits(connections: int) -> list[Finding]:
    """What the shell or the service manager allows this process."""
    if sys.platform == "win32":
        return [skipped("limits", "Windows has none that matter")]
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    file_bytes, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = FILES_NEEDED + 2 * connections
    if file_bytes != resource.RLIM_INFINITY:
        return [bad("limits", f"no file may grow beyond {size(file_bytes)}", "Run: ulimit -f unlimited")]
    if files != resource.RLIM_INFINITY and files < needed:
        remedy = f"Run: ulimit -n {4 * needed} (in a unit: LimitNOFILE={4 * needed})"
        return [warning("limits", f"only {files} open files are allowed", remedy)]
    allowed = "any number of" if files == resource.RLIM_INFINITY else f"{files:,}"
    return [good("limits", f"{allowed} open files, of any size")]


def check_service() -> list[Finding]:
    """Whether the user service, if there is one, lives on when its user logs out."""
    if not sys.platform.startswith("linux") or shutil.which("loginctl") is None:
        return [skipped("service", "there is no systemd here: use the supervisor that you have")]
    if not locate(DEFAULT_NAME).unit.exists():
        return [skipped("service", "not installed (kraken-l3 service install makes one)")]
    command = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOGINCTL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [warning("service", f"installed; loginctl does not answer: {error}", "Look at: systemctl --user status")]
    if done.stdout.strip() == "yes":
        return [good("service", "installed, and it goes on after you log out")]
    return [warning("service", "installed, but it ends when you log out", "Run: loginctl enable-linger")]
