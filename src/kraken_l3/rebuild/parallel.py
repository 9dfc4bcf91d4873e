"""Tasks in processes of their own, with the progress of all of them together.

The processes are spawned, not forked: the caller may have threads, and a native engine that holds locks.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from ctypes import c_uint64
from typing import Any, Callable, Optional, TypeVar

__all__ = ["Progress", "run_in_processes"]

#: Called with the bytes done since the last call.
Progress = Callable[[int], None]

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_POLL_S = 0.1
_STOP = -1


class _Stopped(Exception):
    """The caller gave up: what this task has half done is to be cleared away."""


def run_in_processes(
    work: Callable[[_Task, Progress], _Answer],
    tasks: Sequence[_Task],
    jobs: int,
    progress: Optional[Progress],
    *,
    shares: int = 1,
) -> list[_Answer]:
    """The answers of `work` to all tasks, in their order.

    Args:
        work: a function of a module, called in another process with a task and a place to tell its progress.
        tasks: can be pickled, as can the answers.
        jobs: so many processes.
        progress: called with the bytes that all tasks have done since the last call.
        shares: so many tasks read the same bytes, each for its symbols: these count once.

    Raises:
        Exception: what the first task that failed raised. The others are stopped: those that run when they next tell
            their progress. So it is with what `progress` raises, which is how a caller stops everything.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Array(c_uint64, len(tasks) + 1, lock=False)  # each element has one writer; the last tells to stop
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_share, initargs=(done,)) as pool:
        futures = [pool.submit(_run, work, number, task) for number, task in enumerate(tasks)]
        try:
            _wait(futures, done, shares, progress)
        except BaseException:
            done[_STOP] = 1
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]


def _wait(futures: Sequence[Future[Any]], done: Any, shares: int, progress: Optional[Progress]) -> None:
    seen = 0
    is_over = False
    while not is_over:
        is_over = all(future.done() for future in futures)
        for future in futures:
            if future.done():
                future.result()  # raises what a task raised, without waiting for the others
        if progress is not None:
            now = sum(done[:_STOP]) // shares
            progress(now - seen)
            seen = now
        if not is_over:
            time.sleep(_POLL_S)


_done: Any = None


def _share(done: Any) -> None:
    """In a new process: where it tells how far it is."""
    global _done
    _done = done
    # Ctrl+C goes to all processes of a terminal: the caller alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(work: Callable[[_Task, Progress], _Answer], number: int, task: _Task) -> _Answer:
    def progress(count: int) -> None:
        if _done[_STOP]:
            raise _Stopped
        _done[number] += count

    return work(task, progress)
