"""Real processes: an exchange and a recorder, as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parent.parent
#: Long enough for a machine that does much else meanwhile; nothing waits longer than it has to.
WAIT_S = 60.0


@contextmanager
def simulate(*options: str) -> Iterator[dict[str, str]]:
    """A running `kraken-l3 simulate`; the value is the environment that it tells the user to export."""
    command = [sys.executable, "-m", "kraken_l3", "simulate", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    exports: dict[str, str] = {}
    try:
        while len(exports) < 5:
            line = process.stdout.readline()
            assert line, "simulate ended before it was ready"
            found = re.match(r"export (\w+)='?([^'\n]*)'?$", line.strip())
            if found:
                exports[found[1]] = found[2]
        yield exports
    finally:
        process.terminate()
        process.wait(WAIT_S)
        process.stdout.close()


def is_running(pid: int) -> bool:
    """Whether a process is there: it has not ended, or nobody has asked yet how it ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _listen_to_hangup() -> None:
    """In the child: the tests themselves may run under nohup, and an ignored signal is inherited."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class RecordProcess:
    """`kraken-l3 record` (or another command line) as a process; its directory is its working directory too."""

    def __init__(
        self, directory: Path, exports: dict[str, str], *options: str, command: Optional[list[str]] = None, **env: str
    ) -> None:
        self.directory = directory
        self.output = directory / "data"
        directory.mkdir(exist_ok=True)
        whole = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
        whole.update(exports, XDG_STATE_HOME=str(directory / "state"))
        whole.setdefault("KRAKEN_L3_SYMBOLS", "BTC/USD,ETH/USD")
        whole["KRAKEN_L3_REDUNDANCY"] = "1"  # what is sent is compared with what is recorded, message by message
        whole.update(env)
        self._errors = (directory / "stderr").open("ab")
        self.process = subprocess.Popen(
            [*(command or [sys.executable, "-m", "kraken_l3", "record"]), *options],
            cwd=directory,
            env={name: value for name, value in whole.items() if value},
            stdout=self._errors,
            stderr=self._errors,
            preexec_fn=_listen_to_hangup,
        )

    def __enter__(self) -> "RecordProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._errors.close()

    def wait(self, timeout_s: float = WAIT_S) -> int:
        return self.process.wait(timeout_s)

    @property
    def said(self) -> str:
        return (self.directory / "stderr").read_text()

    def data(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.output.glob("l3-*.ndjson")))

    def until_lines(self, count: int) -> None:
        self.until(lambda: self.data().count(b"\n") >= count)

    def until_whole(self, symbols=("BTC/USD", "ETH/USD"), after: int = 0) -> None:
        """Wait until each symbol has a snapshot among the lines from byte `after` on."""
        heads = [f'"type":"snapshot","data":[{{"symbol":"{symbol}"'.encode() for symbol in symbols]
        self.until(lambda: all(head in self.data()[after:] for head in heads))

    def until_gaps_closed(self, cause: str, symbols=("BTC/USD", "ETH/USD")) -> None:
        """Wait until each symbol has a closed gap of this cause in the journal."""
        self.until(
            lambda: (
                {r["symbol"] for r in self.journal() if r["kind"] == "gap_closed" and r["cause"] == cause}
                >= set(symbols)
            )
        )

    def until(self, condition) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)

    def journal(self) -> list[dict]:
        paths = sorted(self.output.glob("journal-*.ndjson"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def run(*options: str, directory: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself, in an environment without Kraken's variables."""
    whole = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
    whole.update(env, XDG_STATE_HOME=str(directory / "state"), COLUMNS="120")
    return subprocess.run(
        [sys.executable, "-m", "kraken_l3", *options],
        cwd=directory,
        env=whole,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
