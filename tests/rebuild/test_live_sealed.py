"""The live verifier beside days that are sealed, also while it reads them."""

import contextlib
import datetime as dt
import shutil
import threading
import time

import pytest

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.manifest import Description
from kraken_l3.archive.sealing import day_sealing, file_sealing, seal
from kraken_l3.clock import SystemClock
from kraken_l3.model.live import VerifierFinding
from kraken_l3.rebuild.following import Follower
from kraken_l3.rebuild.live import LiveVerifier
from kraken_l3.rebuild.sealing import describe
from scenes import Clock, Scene

DAY = dt.date(2026, 11, 22)
WAIT_S = 20.0


def seal_data(directory):
    """Only the data of the day, as at a moment when the next day has no data yet."""
    for name in day_sealing(OsFileSystem(), directory, DAY).data:
        each = file_sealing(directory / name)
        seal(each, filesystem=OsFileSystem(), clock=SystemClock(), describe=lambda _: Description())


class StillClock(Clock):
    def mono_ns(self):
        return time.monotonic_ns()


def follow(directory):
    """What a live verifier says of an archive that does not grow."""
    words, stop = [], threading.Event()
    verifier = LiveVerifier(directory, words.append, stop=stop, poll_s=0.01, clock=StillClock())
    stop.set()
    verifier.run()
    return words


@pytest.fixture
def recorded(tmp_path):
    scene = Scene(tmp_path / "plain")
    lines = scene.flow(400)
    scene.write([*lines[:300], lines[300].replace(b'"checksum":', b'"checksum":1'), *lines[301:]])
    scene.close()
    return tmp_path / "plain", len(lines)


def test_what_was_sealed_before_it_began_is_read_but_not_reported(recorded):
    directory, count = recorded
    seal_data(directory)
    words = follow(directory)
    assert not any(isinstance(message, VerifierFinding) for message in words)
    last = words[-1]
    assert (last.line, last.messages, last.mismatched) == (count, count, 1)
    assert DayPaths(directory, DAY).checkpoints.exists()


def test_it_goes_on_from_the_checkpoints_of_a_sealed_day(recorded):
    directory, count = recorded
    follow(directory)
    seal_data(directory)
    words = follow(directory)
    assert words[-1].messages < count
    assert words[-1].line == count


def test_a_day_that_is_sealed_while_it_is_followed_is_read_once(recorded):
    directory, count = recorded
    follower = Follower(directory, look_around_s=0.0)
    with contextlib.closing(follower):
        (told,) = follower.look()
        assert len(told.lines) == count
        seal_data(directory)
        assert list(follower.look()) == []
        _, at = follower.at
        assert at.line == count


def test_a_sealed_day_is_described_as_the_plain_one(recorded, tmp_path):
    directory, count = recorded
    plain = shutil.copytree(directory, tmp_path / "other")
    manifest = seal(
        day_sealing(OsFileSystem(), plain, DAY), filesystem=OsFileSystem(), clock=SystemClock(), describe=describe
    )
    contains = manifest.contains
    assert contains.verdicts["verdict"] == "damaged"
    assert contains.verdicts["total"]["mismatched"] == 1
    assert contains.verdicts["total"]["messages"] == count
    assert {stream.lines for stream in contains.streams if stream.stream == "level3"} == {count}
    assert set(contains.depths.values()) == {10}
