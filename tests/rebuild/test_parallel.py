"""Tasks in processes, and the progress of all of them."""

import time
from pathlib import Path

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


def fail_or_go_on(task, progress):
    """The first fails once the second is under way; the second would go on for ever."""
    started = Path(task)
    if not started.name.startswith("goes-on"):
        while not started.with_name("goes-on").exists():
            time.sleep(0.001)
        raise ValueError(task)
    started.touch()
    try:
        while True:
            progress(1)
            time.sleep(0.001)
    finally:
        started.with_name("cleared away").touch()


def test_a_task_that_fails_stops_the_others_where_they_tell_their_progress(tmp_path):
    with pytest.raises(ValueError, match="fails"):
        run_in_processes(fail_or_go_on, [str(tmp_path / "fails"), str(tmp_path / "goes-on")], 2, None)
    assert (tmp_path / "cleared away").exists()


def test_what_progress_raises_stops_all(tmp_path):
    def stop(done):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_processes(fail_or_go_on, [str(tmp_path / f"goes-on-{n}") for n in range(2)], 2, stop)
    assert (tmp_path / "cleared away").exists()
