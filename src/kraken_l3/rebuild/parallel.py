"""Tasks in processes of their own, with the progress of all of them together.

The processes are spawned, not forked: the caller may have threads, and a native engine that holds locks.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_uint64
from typing import Any, Callable, Optional, TypeVar

from kraken_l3.errors import LocalFault

__all__ = ["Progress", "run_in_processes"]

#: Called with the bytes done since the last call.
Progress = Callable[[int], None]

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_POLL_S = 0.1
_STOP = -1
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stopped(Exception):
    """The caller gave up, or a signal came: what this task has half done is to be cleared away."""


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
        LocalFault: a process was ended from outside.
        Exception: what the first task that failed raised. The others are stopped: those that run when they next tell
            their progress. So it is with what `progress` raises, which is how a caller stops everything.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Array(c_uint64, len(tasks) + 1, lock=False)  # each element has one writer; the last tells to stop
    with _signals_held_back():  # here multiprocessing starts a process that tracks resources, and lets go of the mask
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_share, initargs=(done,))
    with _signals_held_back():
        futures = [pool.submit(_run, work, number, task) for number, task in enumerate(tasks)]
    with pool:
        try:
            _wait(futures, done, shares, progress)
        except BaseException as error:
            done[_STOP] = 1
            for future in futures:
                future.cancel()
            if isinstance(error, (BrokenProcessPool, _Stopped)):
                hint = "If nobody ended it, memory may have run out: use fewer --jobs"
                raise LocalFault("a process of this command was ended", hint=hint) from None
            raise
        return [future.result() for future in futures]


def _wait(futures: Sequence[Future[Any]], done: Any, shares: int, progress: Optional[Progress]) -> None:
    seen = 0
    is_over = False
    while not is_over:
        is_over = all(future.done() for future in futures)
        if progress is not None:  # first: a caller that was told to stop is not to see what became of the tasks
            now = sum(done[:_STOP]) // shares
            progress(now - seen)
            seen = now
        for future in futures:
            if future.done():
                future.result()  # raises what a task raised, without waiting for the others
        if not is_over:
            time.sleep(_POLL_S)


_done: Any = None


def _share(done: Any) -> None:
    """In a new process: where it tells how far it is."""
    global _done
    _done = done

    def stop_all(_number: int, _frame: object) -> None:
        done[_STOP] = 1

    for number in _SIGNALS:
        # Ctrl+C goes to all processes of a terminal: the caller decides what it means. The others may come to this
        # process alone, and must not leave a file half written.
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else stop_all)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes that begin meanwhile get no signal either, until they are ready for it: they inherit the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(work: Callable[[_Task, Progress], _Answer], number: int, task: _Task) -> _Answer:
    def progress(count: int) -> None:
        if _done[_STOP]:
            raise _Stopped
        _done[number] += count

    return work(task, progress)
