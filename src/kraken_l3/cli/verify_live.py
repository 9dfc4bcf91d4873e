"""`kraken-l3 verify-live` (hidden): the verifier that `record` runs beside itself. Its stdout is for the parent."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from kraken_l3.model.live import LiveMessage, encode_live
from kraken_l3.rebuild.live import LiveVerifier

__all__ = ["verify_live"]


def verify_live(directory: Path, engine: str, poll: float) -> None:
    """Run `kraken-l3 verify-live`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is meant for the parent, which then closes stdin
    stop = threading.Event()
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()

    def say(message: LiveMessage) -> None:
        try:
            sys.stdout.buffer.write(encode_live(message) + b"\n")
            sys.stdout.buffer.flush()
        except (BrokenPipeError, ValueError):  # nobody listens any more
            stop.set()

    LiveVerifier(directory, say, stop=stop, engine_name=engine, poll_s=poll).run()


def _wait_for_end(stop: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    stop.set()
