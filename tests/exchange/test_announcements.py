"""The texts of status and instrument updates."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.exchange.announcements import instrument_update, maintenance_notice, status_update, with_field
from kraken_l3.exchange.flow.listing import listing


def test_a_status_carries_its_connection_and_announcements():
    notice = maintenance_notice(1_767_323_045_000_000_000, 10, 60)
    (data,) = json.loads(status_update(2**63, "online", notice))["data"]
    assert (data["connection_id"], data["system"]) == (2**63, "online")
    (event,) = data["upcoming_maintenance"]
    assert event["expected_start_utc"] == "2026-01-02T03:04:15Z"
    assert event["expected_end_utc"] == "2026-01-02T03:05:15Z"
    assert data["emergency"] == [], "both arrays or none"


@given(st.sampled_from(listing(40)), st.sampled_from(["online", "cancel_only", "work_in_progress"]))
def test_a_pair_changes_its_status_and_no_digit(pair, status):
    changed = with_field(pair.record, "status", status)
    assert json.loads(changed) == {**json.loads(pair.record), "status": status}
    assert changed.replace(f'"status":"{status}"', "") == pair.record.replace('"status":"online"', "")
    assert json.loads(instrument_update(changed))["data"]["pairs"] == [json.loads(changed)]
