"""When connections may be opened and read: what queue and disk say, and what follows for connections and gaps."""

import asyncio
from typing import Any

import structlog
from connection_fakes import two_connections

from kraken_l3.archive.journal import GapClosed, GapOpened
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.intake import Intake
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.errors import LocalFault
from recording import run

STARTED_NS = 1_000


class Clock:
    def wall_ns(self) -> int:
        return STARTED_NS

    mono_ns = wall_ns


class Scene:
    def __init__(self, pause_limit_s: float = 60.0) -> None:
        self.records: list[Any] = []
        self.gaps = GapLedger([], self.records.append, Clock())
        self.connections, self.data, self.public = two_connections()
        self.intake = Intake(self.connections, self.gaps, Clock(), pause_limit_s=pause_limit_s)

    @property
    def may_connect(self) -> bool:
        return self.intake.may_connect.is_set()


def test_a_full_queue_pauses_all_connections_and_lets_no_new_one_in() -> None:
    async def main() -> None:
        scene = Scene()
        assert scene.may_connect
        scene.intake.on_full(1)
        assert not scene.may_connect
        assert scene.data.told == scene.public.told == ["pause"]
        scene.intake.on_room()
        assert scene.may_connect
        assert scene.data.told == scene.public.told == ["pause", "resume"]

    run(main())


def test_a_pause_that_lasts_ends_the_connections_and_one_that_ended_does_not() -> None:
    async def main() -> None:
        scene = Scene(pause_limit_s=0.05)
        scene.intake.on_full(1)
        scene.intake.on_room()
        await asyncio.sleep(0.1)  # longer than the limit
        assert scene.data.told == ["pause", "resume"]
        scene.intake.on_full(1)
        while len(scene.data.told) < 4:
            await asyncio.sleep(0.01)
        assert scene.data.told[2:] == scene.public.told[2:] == ["pause", ("end", "writer", 0)]
        assert not scene.may_connect  # there is no room yet
        scene.intake.close()

    run(main())


def test_a_full_disk_ends_the_connections_at_the_last_frame_that_was_kept() -> None:
    async def main() -> None:
        scene = Scene()
        scene.gaps.open("level3", "A/B", "network", 5_000, 1)
        scene.intake.on_disk_full(3_000)
        assert not scene.may_connect
        assert scene.data.told == scene.public.told == [("end", "disk", 3_000)]
        last = scene.records[-1]
        assert isinstance(last, GapOpened)
        assert (last.cause, last.left_ns) == ("disk", 3_000)
        scene.intake.on_disk_ok()
        assert scene.may_connect

    run(main())


def test_where_nothing_was_kept_all_of_this_run_is_lost() -> None:
    async def main() -> None:
        scene = Scene()
        scene.intake.on_disk_full(0)
        assert scene.data.told == [("end", "disk", STARTED_NS)]

    run(main())


def test_connections_wait_for_queue_and_disk_both() -> None:
    async def main() -> None:
        scene = Scene()
        scene.intake.on_full(1)
        scene.intake.on_disk_full(1)
        scene.intake.on_room()
        assert not scene.may_connect
        scene.intake.on_full(1)
        scene.intake.on_disk_ok()
        assert not scene.may_connect
        scene.intake.on_room()
        assert scene.may_connect

    run(main())


def test_a_gap_whose_end_found_no_room_is_open_again_from_where_it_began() -> None:
    async def main() -> None:
        scene = Scene()
        scene.gaps.open("level3", "A/B", "network", 2_000, 1)
        scene.gaps.close("level3", "A/B", 4_000, 2)
        closed = scene.records[-1]
        scene.intake.on_disk_full(3_000)
        scene.intake.on_close_lost(closed)
        assert scene.gaps.is_open("level3", "A/B")
        scene.gaps.close("level3", "A/B", 9_000, 3)
        last = scene.records[-1]
        assert isinstance(last, GapClosed)
        assert (last.cause, last.left_ns, last.right_ns) == ("network", 2_000, 9_000)

    run(main())


def test_the_first_fault_is_the_one_that_counts() -> None:
    async def main() -> None:
        scene = Scene()
        first = LocalFault("first")
        scene.intake.on_fault(first)
        scene.intake.on_fault(LocalFault("second"))
        assert scene.intake.fault.result() is first

    run(main())


def test_the_log_says_what_to_do_about_a_full_disk() -> None:
    async def main() -> None:
        Scene().intake.on_disk_full(0)

    with structlog.testing.capture_logs() as said:
        run(main())
    assert said[0]["log_level"] == "error"
    assert "Free space" in said[0]["hint"]


def test_who_carries_what_and_calls_to_all() -> None:
    connections, data, public = two_connections()
    assert list(connections) == [data, public]
    assert connections.of_channel("instrument") == [public]
    assert connections.carrying("level3", "C/D") == [data]
    assert connections.carrying("level3", "E/F") == []
    assert connections.carrying("trade", "A/B") == []
    connections.end("clock", "", kept_until_ns=7)
    assert data.told == public.told == [("end", "clock", 7)]
    connections.remove(data)  # type: ignore[arg-type]
    assert list(connections) == [public]
    assert connections.carrying("level3", "C/D") == []


def test_connections_may_come_and_go_while_all_are_called() -> None:
    connections, *_ = two_connections()
    for connection in connections:
        connections.remove(connection)
    assert list(connections) == []
    assert list(OpenConnections()) == []
