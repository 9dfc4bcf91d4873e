"""What is logged of a maintenance that Kraken announces, and what it does to a recording."""

from pathlib import Path

import structlog

from kraken_l3.capture.maintenance import MaintenanceWatch
from kraken_l3.exchange import faults as f
from kraken_l3.exchange.announcements import maintenance_notice
from kraken_l3.exchange.server import Exchange
from recording import Recording, flow, run


def told(*announced):
    with structlog.testing.capture_logs() as said:
        watch = MaintenanceWatch()
        for events in announced:
            watch.observe(events)
    return said


def notice(**changed):
    return {**maintenance_notice(1_800_000_000_000_000_000, 30, 600)["upcoming_maintenance"][0], **changed}


def test_each_phase_is_told_once_whatever_the_number_of_connections():
    said = told([notice()], [notice()], [notice(phase="imminent_5m")], [], [notice()])
    assert [line["phase"] for line in said] == ["final_warning_30s", "imminent_5m"]
    assert {line["log_level"] for line in said} == {"warning"}
    assert (said[0]["begins"], said[0]["ends"]) == ("2027-01-15T08:00:30Z", "2027-01-15T08:10:30Z")
    assert "every symbol has a gap" in said[0]["what"]


def test_other_services_do_not_concern_the_recording():
    (line,) = told([notice(affected_services=["futures"])])
    assert line["what"] == "it concerns other services: recording goes on"


def test_an_announcement_may_lack_anything_or_be_absurd():
    said = told([{}, {"title": 5, "phase": ["x"], "affected_services": [7, None]}, {"title": "x" * 10_000}])
    assert [line["title"] for line in said] == ["", "x" * 200]
    assert len(told(*([{"event_id": str(n)}] for n in range(1_000)))) == 1_000


def test_a_maintenance_is_announced_and_recorded_through(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    async def main() -> None:
        async with Exchange(flow()) as exchange, Recording(tmp_path / "data", exchange) as recording:
            await recording.until_lines(100)
            await exchange.push(f.Maintenance(announce_s=0.2, for_s=0.3, stage_s=0.1))
            await recording.until_records("GapClosed", 2, channel="level3", cause="closed")

    with structlog.testing.capture_logs() as said:
        run(main())
    announced = [line for line in said if line["event"] == "Kraken announces maintenance"]
    assert len(announced) == 1
