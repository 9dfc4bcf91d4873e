"""Work beside a recording: whatever goes wrong in it, the recording goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

__all__ = ["run_aside"]

log = structlog.get_logger("kraken_l3.capture.aside")


def run_aside(work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
    """Run work that must never end a recording; an error of its is logged.

    Args:
        work: what to run.
        what: its name in the log.
    """

    async def guarded() -> None:
        try:
            await work
        except Exception:  # a defect: said where people look, and no more
            log.exception(f"{what} failed, recording goes on without it")

    task = asyncio.ensure_future(guarded())
    task.add_done_callback(lambda _: work.close())  # a task cancelled before its first step would warn
    return task
