"""The books and messages of an archive that a writer is filling."""

import contextlib
import datetime as dt
import json
from pathlib import Path

import pytest

from kraken_l3.archive.checkpoints import append_checkpoints, read_checkpoints
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.journal import GapClosed, GapOpened, HandedOver, Rotated
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.manifest import Description
from kraken_l3.archive.sealing import day_sealing, file_sealing, seal
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.clock import SystemClock
from kraken_l3.errors import ArchiveError, UsageError
from kraken_l3.model.events import MessageKind, Verdict
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.following import DayBegins, Follower, Lines
from kraken_l3.rebuild.recheckpointing import make_checkpoints
from scenes import NOON_NS, SYMBOLS, Scene, recorded

DAY = dt.date(2026, 11, 22)
TO_MIDNIGHT_NS = 12 * 3_600 * NS_PER_S


@pytest.fixture
def follow():
    """Makes followers that are closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(contextlib.closing(Follower(*args, **options)))


@pytest.fixture
def write():
    """Makes scenes whose writers are closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(contextlib.closing(Scene(*args, **options)))


def news(follower):
    """Everything that is new: messages, and the rest."""
    messages, rest = [], []
    for told in follower.look():
        if isinstance(told, Lines):
            messages += told.messages()
        else:
            rest.append(told)
    return messages, rest


def payloads(follower):
    return [message.payload for message in news(follower)[0]]


def same_books(follower, directory):
    for symbol in SYMBOLS:
        assert follower.book(symbol).message == book_at(directory, symbol).image.message
    return True


def test_messages_come_as_they_are_written_with_the_books_of_the_moment(tmp_path, follow, write):
    scene = write(tmp_path)
    lines = scene.flow(400)
    follower = follow(tmp_path)
    assert news(follower) == ([], [])
    scene.write(lines[:150])
    messages, _ = news(follower)
    assert [message.payload for message in messages] == lines[:150]
    assert {message.verdict for message in messages} == {Verdict.OK}
    assert [message.kind for message in messages[:1]] == [MessageKind.SNAPSHOT]
    assert messages[9].recv_ns == NOON_NS + 10 * scene.step_ns
    assert messages[9].symbol == json.loads(lines[9])["data"][0]["symbol"]
    assert same_books(follower, tmp_path)
    assert news(follower) == ([], [])
    scene.write(lines[150:])
    assert payloads(follower) == lines[150:]
    assert same_books(follower, tmp_path)
    assert follower.book("ETH/USD") is None


def test_it_waits_for_the_first_day(tmp_path, follow, write):
    follower = follow(tmp_path)
    assert news(follower) == ([], [])
    scene = write(tmp_path)
    scene.write(scene.flow(40))
    later = follow(tmp_path)
    assert len(payloads(later)) == 40
    with pytest.raises(UsageError, match="no such file or directory"):
        follow(tmp_path / "none")


def test_it_goes_on_over_midnight(tmp_path, follow, write):
    scene = write(tmp_path)
    lines = scene.flow(600)
    follower = follow(tmp_path, streams=(Stream.TRADE,))
    scene.write(lines[:200])
    scene.writer.append("trade", [Frame(b'{"trade":1}', scene.clock.now_ns, 0, 2)])
    messages, rest = news(follower)
    assert len(messages) == 200
    scene.write(lines[200:250])
    scene.clock.now_ns += TO_MIDNIGHT_NS
    scene.write(lines[250:300])
    scene.writer.append("trade", [Frame(b'{"trade":2}', scene.clock.now_ns, 0, 2)])
    assert payloads(follower) == lines[200:250]
    assert payloads(follower) == []
    scene.write(lines[300:])
    more, others = news(follower)
    assert [message.payload for message in more] == lines[250:]
    day, *others = others
    assert day == DayBegins(DayPaths(tmp_path, DAY + dt.timedelta(days=1)).data("level3"))
    assert [told.line.payload for told in rest + others] == [b'{"trade":1}', b'{"trade":2}']
    assert same_books(follower, tmp_path)
    # one that begins now finds the books where they are: in the day before, or written down at midnight
    early = follow(tmp_path)
    assert payloads(early) == lines[:250]
    assert payloads(early) == lines[250:]
    make_checkpoints(tmp_path)
    late = follow(tmp_path)
    assert payloads(late) == []
    assert same_books(late, tmp_path)


def test_it_begins_with_the_last_checkpoint_of_each_symbol(tmp_path, follow, write):
    scene = write(tmp_path)
    lines = scene.flow(400)
    scene.write(lines[:300])
    make_checkpoints(tmp_path)
    scene.write(lines[300:])
    # one symbol has a later one
    (checkpoint,) = (c for c in checkpoints_of(tmp_path / "copy", lines[:350]) if c.symbol == "BTC/USD")
    append_checkpoints(DayPaths(tmp_path, DAY).checkpoints, [checkpoint])
    follower = follow(tmp_path)
    messages, _ = news(follower)
    assert [message.payload for message in messages] == lines[300:]
    early = [message.verdict for message in messages[:50] if message.symbol == "BTC/USD"]
    assert early != []
    assert set(early) == {Verdict.BEFORE_SNAPSHOT}
    assert {message.verdict for message in messages[50:]} == {Verdict.OK}
    assert same_books(follower, tmp_path)


def checkpoints_of(directory, lines):
    """The last ones of the archive that has so many of its lines."""
    scene = Scene(directory)
    scene.write(lines)
    scene.close()
    make_checkpoints(directory)
    return read_checkpoints(DayPaths(directory, DAY).checkpoints)


def test_a_symbol_without_a_checkpoint_is_read_from_the_beginning(tmp_path, follow, write):
    scene = write(tmp_path, symbols=("BTC/USD",))
    scene.write(scene.flow(200))
    make_checkpoints(tmp_path)
    follower = follow(tmp_path)
    assert payloads(follower) == []
    assert follower.book("BTC/USD") is not None
    scene.symbols = SYMBOLS
    scene.journal_instruments()
    scene.acknowledge(10)
    doge = [line for line in scene.flow(100) if b'"DOGE/USD"' in line]
    scene.write(doge)
    follower = follow(tmp_path)
    assert len(payloads(follower)) == 200 + len(doge)
    assert same_books(follower, tmp_path)


def test_in_a_gap_there_is_no_book_until_the_snapshot(tmp_path, follow, write):
    scene = write(tmp_path)
    scene.write(scene.flow(100))
    follower = follow(tmp_path)
    news(follower)
    left_ns = scene.clock.now_ns
    scene.journal(GapOpened, channel="level3", symbol="BTC/USD", cause="network", left_ns=left_ns)
    _, (opened,) = news(follower)
    assert opened.symbol == "BTC/USD"
    assert follower.is_missing("BTC/USD")
    assert follower.book("BTC/USD") is None
    assert follower.book("DOGE/USD") is not None
    assert payloads(follow(tmp_path)) != []
    snapshot = next(line for line in scene.flow(100, seed=2) if b'"BTC/USD"' in line)
    scene.write([snapshot])
    assert payloads(follower) == [snapshot]
    assert follower.book("BTC/USD") is not None
    gap = {"channel": "level3", "symbol": "BTC/USD", "cause": "network", "left_ns": left_ns}
    scene.journal(GapClosed, right_ns=scene.clock.now_ns, **gap)
    _, (closed,) = news(follower)
    assert isinstance(closed, GapClosed)
    for each in (follower, follow(tmp_path)):
        news(each)
        assert same_books(each, tmp_path)


def test_a_gap_that_another_connection_bridges_never_was_one(tmp_path, follow, write):
    scene = write(tmp_path)
    lines = scene.flow(120)
    scene.write(lines[:100])
    for symbol in SYMBOLS:
        gap = {"channel": "level3", "symbol": symbol, "cause": "crash"}
        scene.journal(GapOpened, left_ns=scene.clock.now_ns, **gap)
    follower = follow(tmp_path)
    news(follower)
    assert follower.book("BTC/USD") is None
    scene.write(lines[100:])
    for symbol in SYMBOLS:
        scene.journal(HandedOver, channel="level3", symbol=symbol, connection=2, matched="bytes", bridged=10)
    messages, rest = news(follower)
    assert [message.payload for message in messages] == lines[100:]
    assert [type(each) for each in rest] == [HandedOver, HandedOver]
    for each in (follower, follow(tmp_path)):
        news(each)
        assert same_books(each, tmp_path)


def test_a_book_that_disagrees_with_its_checksum_is_none(tmp_path, follow, write):
    scene = write(tmp_path, symbols=("BTC/USD",))
    lines = scene.flow(100)
    follower = follow(tmp_path)
    scene.write([*lines[:50], lines[50].replace(b'"checksum":', b'"checksum":1')])
    messages, _ = news(follower)
    assert messages[-1].verdict is Verdict.MISMATCH
    assert follower.book("BTC/USD") is None


@pytest.mark.parametrize(("harm", "what"), [(Path.unlink, "deleted"), (lambda path: path.write_bytes(b""), "cut")])
def test_a_file_that_is_pulled_away_is_no_quiet_market(tmp_path, follow, harm, what):
    recorded(tmp_path, messages=40)
    follower = follow(tmp_path, look_around_s=0.0)
    news(follower)
    harm(DayPaths(tmp_path, DAY).data("level3"))
    with pytest.raises(ArchiveError, match=f"{what} while it was followed"):
        news(follower)


def test_a_recorder_that_starts_again_is_followed(tmp_path, follow, write):
    scene = write(tmp_path)
    lines = scene.flow(200)
    scene.write(lines[:100])
    follower = follow(tmp_path)
    news(follower)
    # killed in the middle of a line
    with DayPaths(tmp_path, DAY).data("level3").open("ab") as file:
        file.write(lines[100][:50])
    assert news(follower) == ([], [])
    scene.writer._lock.release()
    scene.writer._files.close()
    scene.writer = ArchiveWriter.open(tmp_path, clock=scene.clock)
    _, gaps = news(follower)
    assert {(gap.symbol, gap.cause) for gap in gaps} == {(symbol, "crash") for symbol in SYMBOLS}
    again = scene.flow(60, seed=3)
    scene.write(again)
    assert payloads(follower) == again
    assert same_books(follower, tmp_path)


def test_a_day_that_no_journal_announced_begins_without_books(tmp_path, follow, write):
    recorded(tmp_path)
    follower = follow(tmp_path, look_around_s=0.0)
    news(follower)
    for name in day_sealing(OsFileSystem(), tmp_path, DAY).data:
        each = file_sealing(tmp_path / name)
        seal(each, filesystem=OsFileSystem(), clock=SystemClock(), describe=lambda _: Description())
    scene = write(tmp_path, now_ns=NOON_NS + 3 * 24 * 3_600 * NS_PER_S)
    lines = scene.flow(100, seed=2)
    scene.write(lines)
    got = [line for _ in range(3) for line in payloads(follower)]
    assert got == lines
    assert same_books(follower, tmp_path)


def test_what_is_no_file_is_no_quiet_market(tmp_path, follow):
    recorded(tmp_path, messages=40)
    data = DayPaths(tmp_path, DAY).data("level3")
    data.unlink()
    data.mkdir()
    with pytest.raises(ArchiveError):
        news(follow(tmp_path))


def test_a_snapshot_waits_for_its_acknowledgement_once(tmp_path, follow, write):
    scene = write(tmp_path, facts=False)
    scene.journal_instruments()
    scene.open_connection()
    scene.write(scene.flow(200, depth=25))
    waits = []

    def acknowledge():
        waits.append(follower.known())
        scene.acknowledge(25)

    follower = follow(tmp_path, before_snapshot=acknowledge)
    messages, _ = news(follower)
    assert {message.verdict for message in messages} == {Verdict.OK}
    assert {known.depth for known in follower.known().values()} == {25}
    (before,) = waits
    assert {known.depth for known in before.values()} == {None}
    scene.write(scene.flow(10, seed=2, depth=25))
    news(follower)
    assert len(waits) == 2


@pytest.mark.parametrize("next_day", [DAY, DAY - dt.timedelta(days=1)])
def test_no_day_is_read_twice_whatever_a_journal_says(tmp_path, follow, write, next_day):
    scene = write(tmp_path, now_ns=NOON_NS - 24 * 3_600 * NS_PER_S)
    scene.write(scene.flow(20))
    follower = follow(tmp_path)
    assert len(news(follower)[0]) == 20
    scene.clock.now_ns = NOON_NS
    scene.write(scene.flow(40))
    scene.journal(Rotated, next_day=next_day)
    scene.writer.flush()
    assert [len(news(follower)[0]) for _ in range(6)][2:] == [40, 0, 0, 0]
    assert not follower.is_day_over
