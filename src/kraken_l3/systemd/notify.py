"""Status messages to systemd: sd_notify(3), in a few lines.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html. Without NOTIFY_SOCKET, and on systems
without UNIX datagram sockets, all of this does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Optional

__all__ = ["WATCHDOG_S", "Notifier"]

LONGEST_STATUS = 200
#: WatchdogSec of the unit.
WATCHDOG_S = 60


class Notifier:
    """The socket on which the service manager listens.

    Args:
        environ: has NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID (None: this process's environment).
    """

    def __init__(self, environ: Optional[Mapping[str, str]] = None) -> None:
        env = os.environ if environ is None else environ
        name = env.get("NOTIFY_SOCKET", "")
        usable = name[:1] in ("/", "@") and hasattr(socket, "AF_UNIX")
        self._address = ("\0" + name[1:] if name.startswith("@") else name) if usable else ""
        #: Seconds between two calls of `watchdog`: half of systemd's timeout (None: systemd has no watchdog for us).
        self.watchdog_interval_s = _watchdog_interval_s(env) if usable else None

    @property
    def is_heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Start-up is complete."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """One line for `systemctl --user status`."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The recorder is shutting down. Not STOPPING=1: where another one has taken over, the service goes on."""
        self.status("stopping")

    def main_process(self, pid: int) -> None:
        """The service's main process is this one from now on: the manager watches it, and the other one may end.

        systemd sets the watchdog's variables only for the process that it starts itself.
        """
        if pid == os.getpid() and self._address:
            self.watchdog_interval_s = WATCHDOG_S / 2
        self._send(f"MAINPID={pid}\nWATCHDOG_USEC={WATCHDOG_S * 1_000_000}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(state.encode(), self._address)
        except OSError:  # recording goes on even if the manager does not listen
            return


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]


def _watchdog_interval_s(env: Mapping[str, str]) -> Optional[float]:
    text, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    is_ours = not pid or pid == str(os.getpid())
    return int(text) / 2e6 if text.isdecimal() and int(text) > 0 and is_ours else None
