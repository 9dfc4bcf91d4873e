"""A feed without a pace waits for its readers."""

import asyncio
import socket

import pytest
from strangers import running, subscribed

from kraken_l3.archive.reader import open_archive
from kraken_l3.exchange.backpressure import Backpressure
from kraken_l3.exchange.replay.server import NO_LIMITS, Replay
from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S

LEVEL3 = b'"channel":"level3","type"'


class Reader:
    def __init__(self):
        self.queued_bytes = self.taken_bytes = 0

    @property
    def backlog(self):
        return self.queued_bytes - self.taken_bytes


@pytest.fixture
def waiting():
    return Backpressure(enough_bytes=100, patience_ns=50)


def test_the_slowest_is_waited_for_and_one_that_hangs_is_not(waiting):
    fast, slow = Reader(), Reader()
    fast.queued_bytes = slow.queued_bytes = 120
    fast.taken_bytes = 120
    assert waiting.holds([fast, slow], 0)
    slow.taken_bytes = 10
    assert waiting.holds([fast, slow], 40)
    assert waiting.holds([fast, slow], 89)
    assert not waiting.holds([fast, slow], 90), "it has taken nothing in for so long"
    slow.queued_bytes = fast.queued_bytes = fast.taken_bytes = 1_000
    assert not waiting.holds([fast, slow], 100), "what is queued for it is no sign of life"
    slow.taken_bytes = 11
    assert waiting.holds([fast, slow], 110), "it reads again"
    assert not waiting.holds([fast], 120), "it is gone"


def test_nobody_is_behind_who_has_little_to_read(waiting):
    reader = Reader()
    reader.queued_bytes = 99
    assert not waiting.holds([reader], 0)
    assert not waiting.holds([], 0)


@running
async def test_at_full_speed_a_slow_reader_is_not_cut_off(tmp_path):
    write_archive(tmp_path / "data", duration_ns=14 * NS_PER_S, rate=600.0, symbols=("BTC/USD",))
    lines = [line.payload for line in open_archive(tmp_path / "data").lines("level3")]
    limits = NO_LIMITS._replace(backlog_bytes=2_000_000)
    assert sum(map(len, lines)) > limits.backlog_bytes
    async with Replay(tmp_path / "data", speed="step", limits=limits) as exchange:
        wire = await subscribed(exchange, ["BTC/USD"])
        client = exchange.clients.level3[1]
        for transport, option in ((wire.writer.transport, socket.SO_RCVBUF), (client._transport, socket.SO_SNDBUF)):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 65_536)
        wire.writer.transport.pause_reading()
        exchange.set_speed("max")
        exchange.go_on()
        while client.backlog < 1 << 20:
            await asyncio.sleep(0.01)
        at_ns = exchange.recording.at_ns
        await asyncio.sleep(0.2)
        assert exchange.recording.at_ns == at_ns, "it waits"
        wire.writer.transport.resume_reading()
        assert [*wire.early, *[await wire.next_of(LEVEL3) for _ in lines[len(wire.early) :]]] == lines
