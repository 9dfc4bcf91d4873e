"""One count of gaps: `info`, `verify`, `seal` and the manifest agree, or differ as the docs say."""

import datetime as dt

import pytest

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.gaps import Gap, gaps_within, last_receive_ns
from kraken_l3.archive.journal import GapOpened
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import day_sealing, seal
from kraken_l3.archive.summary import summarise
from kraken_l3.cli.seal import _as_dict
from kraken_l3.clock import SystemClock
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.sealing import describe
from kraken_l3.rebuild.verify import verify
from scenes import SYMBOLS, Scene

DAY = dt.date(2026, 11, 22)


def open_gaps(scene, channel="level3", cause="stop"):
    for symbol in scene.symbols:
        scene.journal(GapOpened, channel=channel, symbol=symbol, cause=cause, left_ns=scene.clock.now_ns)


@pytest.fixture
def archive(tmp_path):
    """Two gaps in the middle, two of trades, and the end of the recording."""
    scene = Scene(tmp_path)
    lines = scene.flow(200)
    scene.write(lines[:100])
    scene.gap()
    open_gaps(scene, channel="trade")
    scene.write(lines[100:])
    open_gaps(scene)
    return open_archive(scene.close())


def test_all_count_the_same(archive):
    report = Report(require_complete=True)
    report.add(archive.path, verify(archive.path))
    assert report.total()["gaps"] == len(SYMBOLS)
    assert report.exit_code() == 3
    info = summarise(archive)
    assert len([gap for gap in info.gaps if gap.channel == "level3"]) == len(SYMBOLS)
    assert {(gap.channel, gap.cause) for gap in info.ends} == {("level3", "stop"), ("trade", "stop")}
    sealing = day_sealing(OsFileSystem(), archive.path, DAY)
    manifest = seal(sealing, filesystem=OsFileSystem(), clock=SystemClock(), describe=describe)
    assert _as_dict(archive.path, [manifest], [], [])["sealed"][0]["gaps"] == len(SYMBOLS)
    assert len(manifest.contains.gaps) == len(info.gaps) + len(info.ends)


def test_what_begins_at_the_last_message_is_the_end(archive):
    last_ns = last_receive_ns(archive, Stream.LEVEL3)
    closed = Gap("level3", "X", "stop", last_ns, last_ns + NS_PER_S, 1.0)
    at_the_end = Gap("level3", "X", "stop", last_ns)
    within = Gap("level3", "X", "network", last_ns - 1)
    assert gaps_within([closed, at_the_end, within], last_ns) == [closed, within]
    assert last_receive_ns(archive, Stream.TRADE) == 0
