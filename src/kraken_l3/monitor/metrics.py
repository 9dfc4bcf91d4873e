"""The status of a recorder as Prometheus metrics, in its text format.

Names and units follow https://prometheus.io/docs/practices/naming/. Labels take few values: a symbol is one of those
that are recorded, a cause or a kind one of those that the code knows. Counters begin anew when the recorder starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Optional, Union

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kraken_l3.model.histogram import Histogram
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.health import health_of
from kraken_l3.monitor.status import RecorderStatus

__all__ = ["CONTENT_TYPE", "metrics_text"]

#: For the answer's header.
CONTENT_TYPE: str = CONTENT_TYPE_LATEST

#: Counters of these stand at 0 from the start: Prometheus sees no increase in a series that begins at 1.
GAP_CAUSES = (
    "network", "closed", "protocol", "silence", "writer", "disk", "clock", "rejected", "mismatch", "silent_symbol",
    "lost", "crash", "fault", "redial",
)  # fmt: skip
RESYNC_CAUSES = ("mismatch", "silent_symbol")
FINDINGS = ("mismatch", "malformed", "unverifiable", "unknown_id", "wrong_side", "crossed", "too_deep")

_Number = Union[int, float, None]


def metrics_text(status: Optional[RecorderStatus], *, age_s: float) -> bytes:
    """All metrics of a recording.

    Args:
        status: the last status of its recorder (None: it has told none yet).
        age_s: seconds since it was told.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(status, age_s))
    text: bytes = generate_latest(registry)
    return text


class _Metrics(Collector):
    def __init__(self, status: Optional[RecorderStatus], age_s: float) -> None:
        self._status = status
        self._age_s = age_s

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        healthy = health_of(self._status, age_s=self._age_s).healthy
        yield _gauge("healthy", "1 while every symbol is acknowledged, fresh and verified, as in /healthz", healthy)
        if self._status is None:
            return
        yield _gauge("status_age_seconds", "Time since the recorder told its status", self._age_s)
        yield from _of_process(self._status)
        yield from _of_messages(self._status)
        yield from _of_faults(self._status)
        yield from _of_verifier(self._status)
        yield from _of_relay(self._status)
        yield from _of_machine(self._status)
        yield from _of_symbols(self._status)


def _of_process(status: RecorderStatus) -> Iterator[Metric]:
    info = GaugeMetricFamily("kraken_l3_build_info", "1, with the recorder's version", labels=["version"])
    info.add_metric([status.version], 1)
    yield info
    yield _gauge("start_time_seconds", "When the recorder started, since 1970", status.since_ns / NS_PER_S)
    yield _gauge("stopped", "1 once the recorder was told to stop", status.stopped)


def _of_messages(status: RecorderStatus) -> Iterator[Metric]:
    yield _counters("frames", "Messages written, by channel", "channel", status.frames)
    yield _counter("written_bytes", "Bytes of messages written", status.written_bytes)
    yield _histogram("lag_seconds", "From Kraken's timestamp in an update to its receipt, by both clocks", status.lag)
    yield _gauge("queue_bytes", "Memory of what waits to be written", status.queue_bytes)
    yield _gauge("queue_limit_bytes", "Reading pauses when so much waits to be written", status.queue_limit_bytes)
    yield _gauge("paused", "1 while reading is paused because the disk cannot keep up", status.paused)
    yield _histogram("fsync_seconds", "How long each sync of the archive took", status.fsync)
    open_now: dict[str, int] = {}
    for connection in status.connections:
        open_now[connection.channel] = open_now.get(connection.channel, 0) + bool(connection.last_frame_ns)
    yield _gauges("connections", "Open connections that have brought a frame, by channel", "channel", open_now)
    yield _counter("reconnects", "Connections that ended or could not be made", status.reconnects)


def _of_faults(status: RecorderStatus) -> Iterator[Metric]:
    yield _counters(
        "gaps", "Gaps of all symbols and channels, by cause", "cause", _from_0(GAP_CAUSES, status.gaps_by_cause)
    )
    yield _gauge("open_gaps", "Symbols that have a gap now", sum(bool(row.gap_cause) for row in status.rows))
    resyncs = _from_0(RESYNC_CAUSES, status.resyncs)
    yield _counters("resyncs", "Symbols subscribed again because of their book, by cause", "cause", resyncs)
    yield _counter("handovers", "Symbols taken over by another connection without a gap", status.handovers)
    text = "Symbols that no other connection could go on with now; no value where each has one connection"
    yield _gauge("symbols_without_standby", text, status.without_standby)
    yield _counter("rejections", "Subscriptions that Kraken refused", status.rejections)


def _of_verifier(status: RecorderStatus) -> Iterator[Metric]:
    verifier = status.verifier
    if verifier is None:
        return
    verdicts = {"ok": verifier.ok, "mismatched": verifier.mismatched}
    yield _counters("verdicts", "Messages compared with Kraken's checksum, by verdict", "verdict", verdicts)
    yield _counters("findings", "What the verifier found wrong, by kind", "what", _from_0(FINDINGS, status.findings))
    yield _gauge("unverified_symbols", "Symbols whose book is not right now", len(verifier.not_synced))
    yield _gauge("verifier_lag_seconds", "How far the verifier is behind the last message written", verifier.lag_s)
    yield _counter("verifier_restarts", "How often the verifier was started again", verifier.restarts)


def _of_relay(status: RecorderStatus) -> Iterator[Metric]:
    relay = status.relay
    if relay is None:
        return
    yield _gauge("relay_serving", "1 while programs can reach the relay", bool(relay.url))
    yield _gauge("relay_clients", "Connections of programs to the relay", relay.clients)
    yield _gauge("relay_lag_seconds", "How far the relay is behind the last message written", relay.lag_s)
    yield _counter("relay_restarts", "How often the relay was started again", relay.restarts)


def _of_machine(status: RecorderStatus) -> Iterator[Metric]:
    disk, clock = status.disk, status.clock
    yield _gauge("disk_free_bytes", "Free space for the archive", disk.free_bytes)
    yield _gauge("disk_time_to_full_seconds", "Until the disk is full, at the last hour's rate", disk.seconds_to_full)
    yield _gauge("disk_low", "1 while the disk is running low", disk.mark != "fine")
    yield _gauge("disk_scarce", "1 while only recording goes on, since the disk is nearly full", disk.mark == "scarce")
    yield _gauge("disk_full", "1 while nothing but the journal can be written", disk.is_full)
    yield _gauge("clock_synchronised", "1 while a daemon keeps the clock right, as the kernel says", clock.synchronised)
    yield _gauge("clock_offset_seconds", "What the kernel has still to correct of the clock", clock.offset_s)
    yield _gauge("clock_error_seconds", "The largest error of the clock, as the kernel says", clock.error_s)


def _of_symbols(status: RecorderStatus) -> Iterator[Metric]:
    rows = status.rows
    recording = {row.symbol: row.state == "recording" and not row.gap_cause for row in rows}
    yield _gauge("symbols", "How many symbols are to be recorded", len(rows))
    yield _gauges("symbol_recording", "1 while the symbol is recorded and has no gap", "symbol", recording)
    messages = {row.symbol: row.messages for row in rows}
    yield _counters("symbol_messages", "Level3 messages written, by symbol", "symbol", messages)
    yield _counters("symbol_gaps", "Gaps, by symbol", "symbol", {row.symbol: row.gaps for row in rows})
    ages = {row.symbol: _age_s(status.now_ns, row.last_message_ns) for row in rows}
    yield _gauges("symbol_last_message_age_seconds", "Time since the symbol's last message", "symbol", ages)


def _from_0(keys: Sequence[str], counts: Mapping[str, int]) -> dict[str, int]:
    return {**dict.fromkeys(keys, 0), **counts}


def _age_s(now_ns: int, then_ns: Optional[int]) -> Optional[float]:
    return None if then_ns is None else max(0, now_ns - then_ns) / NS_PER_S


def _gauge(name: str, text: str, value: _Number) -> Metric:
    """A gauge; without a value where it is not known, which is not the same as 0."""
    family = GaugeMetricFamily(f"kraken_l3_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, _Number]) -> Metric:
    family = GaugeMetricFamily(f"kraken_l3_{name}", text, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"kraken_l3_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"kraken_l3_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [str(bound) for bound in histogram.bounds] + ["+Inf"]
    return HistogramMetricFamily(
        f"kraken_l3_{name}", text, buckets=list(zip(bounds, accumulate(histogram.counts))), sum_value=histogram.sum
    )
