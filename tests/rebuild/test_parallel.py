"""Tasks in processes, and the progress of all of them."""

import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from kraken_l3.errors import DamageFound
from kraken_l3.rebuild.parallel import default_jobs, in_order, run_in_processes


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


@pytest.mark.parametrize("threads", [True, False])
def test_answers_are_given_as_they_come_and_no_more_are_under_way_than_two_a_job(threads, tmp_path):
    answers = in_order(leave_a_mark, [str(tmp_path / str(number)) for number in range(20)], 2, None, threads=threads)
    for number in range(20):
        assert next(answers).endswith(str(number))
        assert len(list(tmp_path.iterdir())) <= number + 4
    assert next(answers, None) is None


def leave_a_mark(task, _progress):
    Path(task).touch()
    return task


def test_who_stops_taking_answers_stops_the_tasks(tmp_path):
    tasks = [str(tmp_path / "first"), *(str(tmp_path / f"goes-on-{number}") for number in range(3))]
    (tmp_path / "goes-on").touch()
    answers = in_order(mark_or_go_on, tasks, 2, None, threads=True)
    next(answers)
    answers.close()
    assert (tmp_path / "cleared away").exists()


def mark_or_go_on(task, progress):
    if Path(task).name.startswith("goes-on"):
        return fail_or_go_on(task, progress)
    while not list(Path(task).parent.glob("goes-on-*")):
        time.sleep(0.001)
    return task


def test_by_default_a_core_each_and_one_for_little_data():
    many = default_jobs(1 << 50)
    assert 1 <= many <= (os.cpu_count() or 1)
    assert default_jobs(0) == 1
    assert default_jobs(3, least_bytes=1) == min(3, many)


def test_a_caller_that_is_told_to_stop_together_with_its_tasks_sees_that_alone():
    """The first task is over when the second begins, and the caller first hears of it behind its own look."""
    second_began, looks = threading.Event(), []

    def work(number, _progress):
        if number == 0:
            raise BrokenProcessPool
        second_began.set()

    def progress(_count):
        looks.append(_count)
        second_began.wait()
        if len(looks) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_order(work, [0, 1], 1, progress, threads=True))
    assert looks == [0, 0]
