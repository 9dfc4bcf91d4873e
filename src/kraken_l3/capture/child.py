"""A child process beside the recorder: how one is started, read, killed, and how often it may be started again.

Whatever becomes of a child (killed, stuck, out of memory, a defect), the recording goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, NamedTuple, Optional

__all__ = ["Child", "RestartPacing"]

#: A longer line is nonsense, and is not collected any further.
LINE_LIMIT_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024


class RestartPacing(NamedTuple):
    """How long to wait before the next child: twice as long each time, from the beginning after a long life.

    Attributes:
        first_s: the first wait, in seconds.
        largest_s: no wait is longer.
        healthy_s: a child that lived longer than this was well.
    """

    first_s: float = 1.0
    largest_s: float = 300.0
    healthy_s: float = 60.0

    def next_wait_s(self, last_wait_s: float, lived_s: float) -> float:
        """The wait after a child that lived so long; `last_wait_s` is the one before it (0: there was none)."""
        if lived_s > self.healthy_s or not last_wait_s:
            return self.first_s
        return min(last_wait_s * 2, self.largest_s)


class Child:
    """A running child process, made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self._process = process
        self._output = output

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Optional[Mapping[str, str]], *, read: Literal["stdout", "stderr"]
    ) -> Child:
        """Start one.

        Args:
            command: the program and its arguments.
            environment: the child's environment variables (None: the recorder's own).
            read: the stream that `lines` or `tail` gives. Without it stdout is discarded; stderr is the recorder's.

        Raises:
            OSError: there is no such program, or no memory or file descriptor for it just now.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if read == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if read == "stderr" else None,
            limit=LINE_LIMIT_BYTES,
            # A Ctrl+C on the terminal is for the recorder, which then ends its children in its own order.
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
        """What it writes, line by line.

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

    def close_stdin(self) -> None:
        """Tell it to finish, where closing its standard input means that."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def wait(self) -> int:
        """Wait for its end; the answer is the exit code."""
        return await self._process.wait()

    async def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
