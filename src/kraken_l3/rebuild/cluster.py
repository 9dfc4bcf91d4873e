"""Tasks on the workers of a Dask cluster, with their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Callable, Optional, TypeVar

from kraken_l3.errors import UsageError
from kraken_l3.rebuild.parallel import Progress

__all__ = ["in_order_on_cluster"]

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

#: Tasks under way for each thread of a worker: it has the next one when it is done.
_AHEAD = 2
#: A task is tried again so often when its worker is lost.
_RETRIES = 2


def in_order_on_cluster(
    work: Callable[[_Task, Progress], _Answer],
    tasks: Sequence[_Task],
    address: str,
    progress: Optional[Progress] = None,
) -> Iterator[_Answer]:
    """The answers of `work` to all tasks, each as soon as it and those before it are there.

    At most two tasks a thread of the cluster are under way, or answered and not yet taken.

    Args:
        work: a function of a module, called on a worker with a task and a place to tell its progress.
        tasks: can be pickled, as can the answers. What they read has the same path, or URL, on every worker.
        address: of the Dask scheduler.
        progress: called with the bytes that a task has done, when its answer is taken.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers.
        Exception: what the first task that failed raised.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("a cluster needs Dask", hint="pip install 'dask[distributed]'") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers ({error})", where=address) from None
    with client:
        coming = iter(tasks)
        futures: deque[Any] = deque()
        while True:
            ahead = _AHEAD * max(1, sum(client.nthreads().values()))  # workers come and go
            for task in islice(coming, max(0, ahead - len(futures))):
                futures.append(client.submit(_counted, work, task, pure=False, retries=_RETRIES))
            if not futures:
                return
            answer, count = futures.popleft().result()
            if progress is not None:
                progress(count)
            yield answer


def _counted(work: Callable[[_Task, Progress], _Answer], task: _Task) -> tuple[_Answer, int]:
    """On a worker: the answer, and the bytes done for it."""
    counts: list[int] = []
    return work(task, counts.append), sum(counts)
