"""A child process of the recorder: how it is started, read, killed, and how often it may be restarted.

Whatever happens to a child (killed, stuck, out of memory, a bug), the recording goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, NamedTuple, Optional

__all__ = ["Child", "RestartPacing"]

#: A longer line is garbage, and reading stops there.
LINE_LIMIT_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024


class RestartPacing(NamedTuple):
    """How long to wait before a restart: twice as long each time, and `first_s` again after a long life.

    Attributes:
        first_s: the first wait, in seconds.
        largest_s: no wait is longer.
        healthy_s: a child that lived longer than this counts as healthy.
    """

    first_s: float = 1.0
    largest_s: float = 300.0
    healthy_s: float = 60.0

    def next_wait_s(self, last_wait_s: float, lived_s: float) -> float:
        """The wait after a child that lived for `lived_s`; `last_wait_s` is the previous wait (0: there was none)."""
        if lived_s > self.healthy_s or not last_wait_s:
            return self.first_s
        return min(last_wait_s * 2, self.largest_s)


class Child:
    """A child process, made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self._process = process
        self._output = output

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Optional[Mapping[str, str]], *, read: Literal["stdout", "stderr"]
    ) -> Child:
        """Start a child process.

        Args:
            command: the program and its arguments.
            environment: the child's environment variables (None: the recorder's own).
            read: the stream that `lines` and `tail` read. If it is stderr, stdout is discarded; else the child writes
                to the recorder's stderr.

        Raises:
            OSError: there is no such program, or no memory or file descriptor left for it.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if read == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if read == "stderr" else None,
            limit=LINE_LIMIT_BYTES,
            # Ctrl+C on the terminal is for the recorder alone, which then ends its children in order.
            start_new_session=True,
        )
        output = process.stdout if read == "stdout" else process.stderr
        assert output is not None
        return cls(process, output)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> Optional[int]:
        """None while it runs."""
        return self._process.returncode

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines that it writes.

        Raises:
            ValueError: a line is longer than LINE_LIMIT_BYTES.
        """
        async for line in self._output:
            yield line

    async def tail(self, size: int) -> bytes:
        """The last `size` bytes of what it writes until it closes the stream."""
        kept = b""
        while part := await self._output.read(_READ_BYTES):
            kept = (kept + part)[-size:]
        return kept

    def send(self, line: bytes) -> bool:
        """Write a line to its standard input, unless it has not read the last one yet. Never waits.

        Returns:
            Whether it was written.
        """
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.is_closing() or stdin.transport.get_write_buffer_size():
            return False
        stdin.write(line + b"\n")
        return True

    def close_stdin(self) -> None:
        """Close its standard input, which tells it to finish."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit code."""
        return await self._process.wait()

    def signal_kill(self) -> None:
        """Kill it; it has not ended yet when this returns."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        self.signal_kill()
        await self._process.wait()
