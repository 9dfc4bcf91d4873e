"""Metrics as Prometheus reads them."""

import math
import re

from prometheus_client.parser import text_string_to_metric_families

from kraken_l3.archive.journal import GapOpened
from kraken_l3.monitor.metrics import metrics_text
from kraken_l3.monitor.status import RecorderStatus, SymbolStatus
from statuses import NOW_NS, S, full_status


def values(text):
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_every_value_of_the_status_is_there():
    found = values(metrics_text(full_status(), age_s=0.25))
    wanted = {
        ("kraken_l3_healthy",): 0,
        ("kraken_l3_status_age_seconds",): 0.25,
        ("kraken_l3_build_info", "1.2.3"): 1,
        ("kraken_l3_start_time_seconds",): NOW_NS / S - 100,
        ("kraken_l3_stopped",): 0,
        ("kraken_l3_frames_total", "level3"): 70,
        ("kraken_l3_frames_total", "trade"): 5,
        ("kraken_l3_written_bytes_total",): 4_096,
        ("kraken_l3_lag_seconds_bucket", "0.01"): 2,
        ("kraken_l3_lag_seconds_bucket", "0.1"): 5,
        ("kraken_l3_lag_seconds_bucket", "+Inf"): 6,
        ("kraken_l3_lag_seconds_count",): 6,
        ("kraken_l3_fsync_seconds_count",): 0,
        ("kraken_l3_queue_bytes",): 77,
        ("kraken_l3_queue_limit_bytes",): 32 * 2**20,
        ("kraken_l3_paused",): 0,
        ("kraken_l3_connections", "level3"): 1,
        ("kraken_l3_reconnects_total",): 4,
        ("kraken_l3_gaps_total", "network"): 3,
        ("kraken_l3_open_gaps",): 1,
        ("kraken_l3_resyncs_total", "mismatch"): 1,
        ("kraken_l3_handovers_total",): 6,
        ("kraken_l3_symbols_without_standby",): 1,
        ("kraken_l3_rejections_total",): 1,
        ("kraken_l3_verdicts_total", "ok"): 60,
        ("kraken_l3_verdicts_total", "mismatched"): 1,
        ("kraken_l3_findings_total", "mismatch"): 1,
        ("kraken_l3_unverified_symbols",): 1,
        ("kraken_l3_verifier_lag_seconds",): 1.5,
        ("kraken_l3_verifier_restarts_total",): 2,
        ("kraken_l3_relay_serving",): 1,
        ("kraken_l3_relay_clients",): 3,
        ("kraken_l3_relay_lag_seconds",): 0.5,
        ("kraken_l3_relay_restarts_total",): 1,
        ("kraken_l3_disk_free_bytes",): 10**9,
        ("kraken_l3_disk_time_to_full_seconds",): 86_400,
        ("kraken_l3_disk_low",): 0,
        ("kraken_l3_disk_scarce",): 0,
        ("kraken_l3_disk_full",): 0,
        ("kraken_l3_clock_synchronised",): 1,
        ("kraken_l3_clock_offset_seconds",): -0.001,
        ("kraken_l3_clock_error_seconds",): 0.02,
        ("kraken_l3_symbols",): 2,
        ("kraken_l3_symbol_recording", "BTC/USD"): 1,
        ("kraken_l3_symbol_recording", 'odd"\\\n/USD'): 0,
        ("kraken_l3_symbol_messages_total", "BTC/USD"): 70,
        ("kraken_l3_symbol_gaps_total", "BTC/USD"): 2,
        ("kraken_l3_symbol_last_message_age_seconds", "BTC/USD"): 3,
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert math.isclose(found["kraken_l3_lag_seconds_sum",], 7.16)
    assert ("kraken_l3_symbol_last_message_age_seconds", 'odd"\\\n/USD') not in found


def test_what_is_not_known_has_no_value():
    status = RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS, directory="data", rows=[])
    found = values(metrics_text(status, age_s=1))
    for name in ("clock_synchronised", "clock_offset_seconds", "disk_free_bytes", "disk_time_to_full_seconds"):
        assert (f"kraken_l3_{name}",) not in found
    assert not any("verdicts" in name for name, *_ in found)
    assert values(metrics_text(None, age_s=0)) == {("kraken_l3_healthy",): 0}


def test_counters_begin_at_0_before_anything_has_gone_wrong():
    found = values(metrics_text(RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS, directory="d", rows=[]), age_s=1))
    causes = set(re.findall(r"\w+", (GapOpened.__doc__ or "").partition("Causes:")[2])) - {"stop"}
    assert {labels[0] for name, *labels in found if name == "kraken_l3_gaps_total"} == causes
    assert found["kraken_l3_gaps_total", "network"] == 0
    assert found["kraken_l3_resyncs_total", "mismatch"] == 0


def test_neither_paths_nor_hosts_are_told():
    assert b"secret" not in metrics_text(full_status(), age_s=0)


def test_there_are_a_few_series_a_symbol_and_no_more():
    def count(symbols):
        rows = [SymbolStatus(symbol=f"S{n}/USD", connection=1, state="recording") for n in range(symbols)]
        status = RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS, directory="data", rows=rows)
        return len(values(metrics_text(status, age_s=1)))

    assert count(1_400) - count(0) <= 5 * 1_400
