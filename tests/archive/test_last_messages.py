"""How an archive ends: read backwards, whatever the size of the blocks."""

import pytest
from archive_scenes import NOON_NS, SECOND_NS, payload
from disk_fakes import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.last_messages import read_last_messages, symbol_of
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_DAY

SYMBOLS = ("A/USD", "B/USD", "C/USD")


def written(directory, frames):
    writer = ArchiveWriter.open(directory, clock=FakeClock(NOON_NS))
    for frame in frames:
        writer.append("level3", [frame])
    writer.close()


def frames_of(choices, step_ns=SECOND_NS):
    return [
        Frame(payload(number, SYMBOLS[each]) + b" " * (37 * each), NOON_NS + number * step_ns, number, each + 1)
        for number, each in enumerate(choices)
    ]


@settings(max_examples=20)
@given(
    choices=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    block_bytes=st.integers(1, 3000),
    recent_s=st.integers(0, 40),
    over_midnight=st.booleans(),
)
def test_the_last_of_each_symbol_and_the_last_seconds(tmp_path_factory, choices, block_bytes, recent_s, over_midnight):
    directory = tmp_path_factory.mktemp("end")
    frames = frames_of(choices, NS_PER_DAY // 20 if over_midnight else SECOND_NS)
    written(directory, frames)
    recent_ns = recent_s * SECOND_NS
    ended = read_last_messages(
        directory, "level3", SYMBOLS, recent_ns=recent_ns, limit_bytes=1 << 30, block_bytes=block_bytes
    )
    assert ended.last == {symbol_of(frame.payload): frame for frame in frames}
    wanted = [frame for frame in frames if frame.recv_ns >= frames[-1].recv_ns - recent_ns]
    assert ended.recent[-len(wanted) :] == wanted
    assert ended.recent == frames[-len(ended.recent) :]


def test_no_more_is_read_than_is_allowed(tmp_path):
    frames = frames_of([0] + [1] * 200)
    written(tmp_path, frames)
    ended = read_last_messages(tmp_path, "level3", SYMBOLS, recent_ns=0, limit_bytes=4000, block_bytes=2000)
    assert set(ended.last) == {"B/USD"}
    whole = read_last_messages(tmp_path, "level3", SYMBOLS, recent_ns=0, limit_bytes=1 << 20, block_bytes=2000)
    assert set(whole.last) == {"A/USD", "B/USD"}


@pytest.mark.parametrize("content", [b"", b"torn", payload(1) + b"\n" + payload(2)[:20]])
def test_files_that_end_anywhere(tmp_path, content):
    (tmp_path / "l3-2026-11-22.ndjson").write_bytes(content)
    ended = read_last_messages(tmp_path, "level3", ("BTC/USD",), recent_ns=0, limit_bytes=1 << 20)
    assert {symbol: frame.payload for symbol, frame in ended.last.items()} == (
        {"BTC/USD": payload(1)} if b"\n" in content else {}
    )
