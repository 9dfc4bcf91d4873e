"""Tasks in processes, and the progress of all of them."""

import pytest

from kraken_l3.errors import DamageFound
from kraken_l3.rebuild.parallel import run_in_processes


def work(task, progress):
    if task < 0:
        raise DamageFound("a task failed", where=str(task))
    progress(10 * task)
    return task * task


def test_answers_come_in_order_and_progress_adds_up():
    done = []
    assert run_in_processes(work, [3, 1, 2], 2, done.append) == [9, 1, 4]
    assert sum(done) == 60


def test_bytes_that_several_tasks_read_count_once():
    done = []
    run_in_processes(work, [4, 4], 2, done.append, shares=2)
    assert sum(done) == 40


def test_what_a_task_raises_is_raised():
    with pytest.raises(DamageFound, match="a task failed"):
        run_in_processes(work, [1, -1], 2, None)
