"""What a look at the clocks leads to: steps, signs of life, new days."""

import asyncio
from typing import Any

import pytest
from connection_fakes import two_connections

from kraken_l3.archive.journal import Alive, ClockStep
from kraken_l3.capture.clock_watch import ClockWatch
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, parse_rfc3339
from recording import run

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")
HOUR_NS = 3600 * NS_PER_S


class SetClocks:
    def __init__(self) -> None:
        self.wall, self.mono = NOON_NS, 5 * NS_PER_S

    def wall_ns(self) -> int:
        return self.wall

    def mono_ns(self) -> int:
        return self.mono

    def advance(self, ns: int) -> None:
        self.wall += ns
        self.mono += ns


class SinkThatRemembers:
    written_frames = 42

    def __init__(self) -> None:
        self.told: list[Any] = []

    def journal(self, record: Any) -> None:
        self.told.append(record)

    def restart_day(self, now_ns: int) -> None:
        self.told.append(("restart_day", now_ns))


class Scene:
    def __init__(self, alive_s: float = 10.0) -> None:
        self.clock, self.sink = SetClocks(), SinkThatRemembers()
        self.connections, self.data, self.public = two_connections()
        self.watch = ClockWatch(self.sink, self.connections, self.clock, alive_s=alive_s)  # type: ignore[arg-type]

    def look_after(self, ns: int, step_ns: int = 0) -> list[Any]:
        """What a look tells the sink after so much time, and after a step of the wall clock."""
        self.clock.advance(ns)
        self.clock.wall += step_ns
        before = len(self.sink.told)
        self.watch.look()
        return self.sink.told[before:]


def test_a_sign_of_life_every_ten_seconds_with_the_last_frame_of_each_connection() -> None:
    scene = Scene()
    assert scene.look_after(9 * NS_PER_S) == []
    (alive,) = scene.look_after(NS_PER_S)
    assert isinstance(alive, Alive)
    assert (alive.at_ns, alive.mono_ns) == (scene.clock.wall, scene.clock.mono)
    assert (alive.last_frame_ns, alive.lines) == ({1: 77, 2: 0}, 42)
    assert scene.data.told == ["deliver"]  # what has arrived counts
    assert scene.look_after(9 * NS_PER_S) == []
    assert len(scene.look_after(NS_PER_S)) == 1


@pytest.mark.parametrize("step_ns", [NS_PER_S, -NS_PER_S, NS_PER_S // 2])
def test_a_clock_that_is_slewed_is_no_step(step_ns: int) -> None:
    assert Scene().look_after(NS_PER_S, step_ns) == []


@pytest.mark.parametrize("step_ns", [NS_PER_S + 1, -NS_PER_S - 1, HOUR_NS, -HOUR_NS])
def test_a_step_is_told_once_and_changes_nothing_else(step_ns: int) -> None:
    scene = Scene()
    (step,) = scene.look_after(NS_PER_S, step_ns)
    assert isinstance(step, ClockStep)
    assert (step.at_ns, step.step_ns) == (scene.clock.wall, step_ns)
    assert scene.look_after(NS_PER_S) == []
    assert scene.data.told == scene.public.told == []


@pytest.mark.parametrize("step_ns", [HOUR_NS + 1, -HOUR_NS - 1])
def test_a_step_of_more_than_an_hour_ends_all_connections_before_the_day_starts_again(step_ns: int) -> None:
    scene = Scene()
    restart, step = scene.look_after(NS_PER_S, step_ns)
    assert restart == ("restart_day", scene.clock.wall)
    assert step.step_ns == step_ns
    assert scene.data.told == scene.public.told == [("end", "clock", 0)]


def test_many_small_steps_are_each_told_from_where_the_last_one_led() -> None:
    scene = Scene()
    assert [scene.look_after(0, 2 * NS_PER_S)[0].step_ns for _ in range(3)] == [2 * NS_PER_S] * 3


@pytest.mark.parametrize("days", [1, -1, 400])
def test_on_another_day_the_list_of_instruments_is_asked_for_once(days: int) -> None:
    scene = Scene()
    scene.look_after(NS_PER_S, days * NS_PER_DAY)
    scene.look_after(NS_PER_S)
    assert scene.public.told.count(("resync", None)) == 1
    assert ("resync", None) not in scene.data.told


def test_midnight_passes_without_a_step() -> None:
    scene = Scene(alive_s=10**6)
    assert scene.look_after(NS_PER_DAY // 2 - 1) == []
    assert scene.public.told == []
    assert scene.look_after(1) == []
    assert scene.public.told == [("resync", None)]


def test_it_looks_by_itself_until_it_is_cancelled() -> None:
    async def main() -> None:
        scene = Scene(alive_s=0)
        watching = asyncio.ensure_future(scene.watch.run())
        while not scene.sink.told:
            await asyncio.sleep(0.01)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    run(main())
