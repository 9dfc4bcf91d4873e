"""Old connections are replaced one at a time, and nothing is lost by it."""

import time
from pathlib import Path

import pytest

from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.capture.redial import RedialTimes
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import NotedFlow
from recording import Recording, run

TIMES = RedialTimes(age_s=0.5, look_s=0.1)


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_both_connections_are_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        flow = NotedFlow(("BTC/USD", "ETH/USD"), rate=1000.0, now_ns=time.time_ns())
        limits = RecorderLimits(redial=TIMES, stagger_s=0.0)
        async with Exchange(flow) as exchange:
            options = {"redundancy": 2, "redial": True, "limits": limits}
            async with Recording(tmp_path / "data", exchange, **options) as recording:
                await recording.until_records("Disconnected", 3, cause="redial")
                await recording.until_lines(len(recording.lines()) + 100)
        ended = [record.connection for record in recording.records("Disconnected", cause="redial")]
        assert len(set(ended)) == len(ended) >= 3
        assert len(recording.records("HandedOver", cause="redial")) >= 2
        assert [record for record in recording.records("GapOpened") if record.cause != "stop"] == []
        for symbol in ("BTC/USD", "ETH/USD"):
            head = f'"type":"update","data":[{{"symbol":"{symbol}"'.encode()
            recorded = [line for line in recording.lines() if head in line[:90]]
            sent = flow.updates[symbol, 10]
            first = sent.index(recorded[0])
            assert recorded == sent[first : first + len(recorded)]

    run(main())


def test_with_one_connection_none_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        flow = NotedFlow(("BTC/USD", "ETH/USD"), rate=1000.0, now_ns=time.time_ns())
        async with Exchange(flow) as exchange:
            options = {"redial": True, "limits": RecorderLimits(redial=TIMES)}
            async with Recording(tmp_path / "data", exchange, **options) as recording:
                await recording.until_lines(1500)
        assert recording.records("Disconnected", cause="redial") == []

    run(main())
