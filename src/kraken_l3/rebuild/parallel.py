"""Tasks in processes or threads, with the progress of all of them together.

The processes are spawned, not forked: the caller may have threads, and a native engine that holds locks.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_uint64
from itertools import islice
from typing import Any, Callable, Optional, TypeVar

from kraken_l3.errors import LocalFault

__all__ = ["Progress", "default_jobs", "in_order", "run_in_processes"]

#: Called with the bytes done since the last call.
Progress = Callable[[int], None]

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_POLL_S = 0.1
_MOMENTS, _MOMENT_S = 20, 0.01
_AHEAD = 2
_STOP = -1
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def default_jobs(size: int, *, least_bytes: int = 8 * 1024 * 1024) -> int:
    """How many jobs are worth it when nobody says: a core each.

    Args:
        size: bytes to read.
        least_bytes: less than so much for each is read sooner than a process has started.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # the cores that this process may use; not on macOS and Windows
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min(cores, size // least_bytes))


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
    """The answers of `work` to all tasks, in their order: see `in_order`."""
    return list(in_order(work, tasks, jobs, progress, shares=shares))


def in_order(
    work: Callable[[_Task, Progress], _Answer],
    tasks: Sequence[_Task],
    jobs: int,
    progress: Optional[Progress],
    *,
    threads: bool = False,
    shares: int = 1,
) -> Iterator[_Answer]:
    """The answers of `work` to all tasks, each as soon as it and those before it are there.

    At most two tasks a job are under way, or answered and not yet taken: what is in memory stays bounded.

    Args:
        work: a function of a module, called in another process with a task and a place to tell its progress.
        tasks: can be pickled, as can the answers.
        jobs: so many processes.
        progress: called with the bytes that all tasks have done since the last call.
        threads: in threads of this process instead, for work that gives up the interpreter lock.
        shares: so many tasks read the same bytes, each for its symbols: these count once.

    Raises:
        LocalFault: a process was ended from outside.
        Exception: what the first task that failed raised. The others are stopped: those that run when they next tell
            their progress. So it is with what `progress` raises, which is how a caller stops everything.
    """
    pool, done = _threads(jobs, len(tasks)) if threads else _processes(jobs, len(tasks))
    coming = iter(enumerate(tasks))
    futures: deque[Future[_Answer]] = deque()
    seen = 0
    with pool:
        try:
            while True:
                with _signals_held_back():  # processes are started as tasks are handed in
                    for number, task in islice(coming, _AHEAD * jobs - len(futures)):
                        futures.append(pool.submit(_run, work, number, task, done if threads else None))
                if not futures:
                    return
                is_there = False
                while not is_there:
                    is_there = futures[0].done()
                    if progress is not None:  # first: a caller that was told to stop is not to see what became of tasks
                        now = sum(done[:_STOP]) // shares
                        progress(now - seen)
                        seen = now
                    for future in futures:
                        if future.done():
                            future.result()  # raises what a task raised, without waiting for the others
                    if not is_there:
                        wait([futures[0]], timeout=_POLL_S)
                yield futures.popleft().result()
        except BaseException as error:
            done[_STOP] = 1
            for future in futures:
                future.cancel()
            if isinstance(error, (BrokenProcessPool, _Stopped)):
                if progress is not None:
                    _give_it_a_moment(progress)
                hint = "If nobody ended it, memory may have run out: use fewer --jobs"
                raise LocalFault("a process of this command was ended", hint=hint) from None
            raise


def _give_it_a_moment(progress: Progress) -> None:
    """A caller that was told to stop too may hear of it later than a task did: another thread of this process may have
    been given the signal, and has yet to run.
    """
    for _ in range(_MOMENTS):
        progress(0)
        time.sleep(_MOMENT_S)


def _threads(jobs: int, tasks: int) -> tuple[Executor, Any]:
    return ThreadPoolExecutor(jobs), [0] * (tasks + 1)


def _processes(jobs: int, tasks: int) -> tuple[Executor, Any]:
    context = multiprocessing.get_context("spawn")
    done = context.Array(c_uint64, tasks + 1, lock=False)  # each element has one writer; the last tells to stop
    with _signals_held_back():  # here multiprocessing starts a process that tracks resources, and lets go of the mask
        return ProcessPoolExecutor(jobs, mp_context=context, initializer=_share, initargs=(done,)), done


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


def _run(work: Callable[[_Task, Progress], _Answer], number: int, task: _Task, done: Any = None) -> _Answer:
    done = _done if done is None else done

    def progress(count: int) -> None:
        if done[_STOP]:
            raise _Stopped
        done[number] += count

    return work(task, progress)
