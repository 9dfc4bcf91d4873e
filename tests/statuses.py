"""A status in which everything has a value."""

from kraken_l3.model.histogram import Histogram
from kraken_l3.monitor.status import (
    ClockStatus,
    ConnectionStatus,
    DiskStatus,
    RecorderStatus,
    RelayStatus,
    SymbolStatus,
    VerifierStatus,
)

NOW_NS = 1_790_000_000_000_000_000
S = 10**9


def full_status():
    lag = Histogram.of([0.01, 0.1])
    for value, weight in ((0.005, 2), (0.05, 3), (7.0, 1)):
        lag.add(value, weight)
    return RecorderStatus(
        now_ns=NOW_NS,
        since_ns=NOW_NS - 100 * S,
        directory="/secret/place",
        version="1.2.3",
        rows=[
            SymbolStatus(
                symbol="BTC/USD",
                connection=1,
                state="recording",
                messages=70,
                gaps=2,
                last_message_ns=NOW_NS - 3 * S,
                last_snapshot_ns=NOW_NS - 50 * S,
            ),
            SymbolStatus(symbol='odd"\\\n/USD', connection=0, state="waiting", gap_cause="network", gaps=1),
        ],
        frames={"level3": 70, "trade": 5},
        written_bytes=4_096,
        queue_bytes=77,
        queue_limit_bytes=32 * 2**20,
        reconnects=4,
        connections=[
            ConnectionStatus(number=1, channel="level3", symbols=1, last_frame_ns=NOW_NS),
            ConnectionStatus(number=2, channel="level3", symbols=1, last_frame_ns=0),
        ],
        gaps_by_cause={"network": 3},
        resyncs={"mismatch": 1},
        findings={"mismatch": 1},
        handovers=6,
        without_standby=1,
        rejections=1,
        lag=lag,
        verifier=VerifierStatus(ok=60, mismatched=1, symbols=2, not_synced=["BTC/USD"], lag_s=1.5, restarts=2),
        relay=RelayStatus(url="http://127.0.0.1:8765", clients=3, lag_s=0.5, restarts=1),
        disk=DiskStatus(free_bytes=10**9, seconds_to_full=86_400.0),
        clock=ClockStatus(synchronised=True, offset_s=-0.001, error_s=0.02),
    )
