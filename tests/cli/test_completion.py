"""Completion at the Tab key, in the shells themselves, each on a terminal of its own."""

import fcntl
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

WAIT_S = 30.0
PROGRAMS = Path(sys.executable).parent
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
LOAD = {
    "bash": 'eval "$(kraken-l3 completion bash)"',
    "zsh": 'autoload -U compinit && compinit -D && eval "$(kraken-l3 completion zsh)"',
    "fish": "kraken-l3 completion fish | source",
}


class Terminal:
    """A shell on a terminal; what it shows is collected."""

    def __init__(self, shell: str, directory: Path) -> None:
        controller, terminal = pty.openpty()
        self._terminal, self.shown = controller, ""
        env = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(directory),
            "TERM": "xterm",
        }
        self._process = subprocess.Popen(
            SHELLS[shell],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=directory,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        """Until the shell has shown it."""
        deadline = time.monotonic() + WAIT_S
        while text not in self.shown:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.shown!r}"
            self.shown += os.read(self._terminal, 65536).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_values_and_paths(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    if not (PROGRAMS / "kraken-l3").exists():
        pytest.skip("kraken-l3 is not installed in this environment, and a shell starts it by its name")
    (tmp_path / "recordings").mkdir()
    terminal = Terminal(shell, tmp_path)
    try:
        terminal.type(f"{LOAD[shell]}; echo re''ady\n")
        terminal.wait_for("ready")
        terminal.type("kraken-l3 verif\t--eng\tpyt\treco\t\n")
        terminal.wait_for("recordings: no level3 data here")
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("kraken-l3 verif", "plain,verify"),
        ("kraken-l3 export snaps", "plain,snapshots"),
        ("kraken-l3 record --depth 10", "plain,10\nplain,100\nplain,1000"),
        ("kraken-l3 record --tier s", "plain,standard"),
        ("kraken-l3 export events da", "file,da"),
        ("kraken-l3 completion f", "plain,fish"),
        ("kraken-l3 verify-l", ""),
    ],
)
def test_what_is_offered(typed: str, offered: str) -> None:
    words = typed.split()
    env = {
        **os.environ,
        "_KRAKEN_L3_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; sys.argv = ['kraken-l3']; from kraken_l3.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (run.stderr, run.stdout.strip()) == ("", offered)


def test_offering_loads_nothing_that_a_command_needs() -> None:
    """It happens while someone waits at the Tab key."""
    code = (
        "import sys; sys.argv = ['kraken-l3']; from kraken_l3.cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({'rich', 'numpy', 'pyarrow', 'aiohttp', 'pydantic', 'asyncio'} & set(sys.modules)))\n"
    )
    env = {**os.environ, "_KRAKEN_L3_COMPLETE": "bash_complete", "COMP_WORDS": "kraken-l3 pla", "COMP_CWORD": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout == "plain,plan\n\n"
