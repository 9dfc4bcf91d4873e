"""The status of archives: with a recorder at work, stopped, dead, and with none; and of a year of days."""

import datetime as dt
import json
import os
import socket
import time

import pytest
from archive_of_a_year import write_year

import processes
from kraken_l3.app.archive_status import archive_status
from kraken_l3.archive.journal import GapOpened, HandedOver, encode_record
from kraken_l3.archive.layout import LOCK_NAME, STATUS_NAME
from kraken_l3.cli.status import status
from kraken_l3.errors import UsageError
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.status import RecorderStatus, RelayStatus, SymbolStatus, encode_status
from kraken_l3.monitor.status_file import write_status
from processes import RecordProcess, simulate

LAST = dt.date(2026, 3, 10)
FEW = 12


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    directory = tmp_path_factory.mktemp("year") / "data"
    return directory, write_year(directory, LAST, FEW, seconds=1_000)


def told(now_ns, **values):
    rows = [SymbolStatus(symbol="BTC/USD", connection=0, state="waiting")]
    usual = {"now_ns": now_ns, "since_ns": now_ns - 60 * NS_PER_S, "directory": "d", "rows": rows, "pid": os.getpid()}
    return encode_status(RecorderStatus(**{**usual, **values}))


def test_many_days_without_a_recorder(year):
    directory, end_ns = year
    found = archive_status(directory, end_ns + 3 * NS_PER_S)
    assert (found.state, found.problems, found.pid) == ("none", [], None)
    assert (found.sealed.days, found.sealed.sealed, found.sealed.last_sealed) == (FEW, FEW - 2, "2026-03-08")
    assert (found.sealed.verdict, found.sealed.ok, found.sealed.messages) == ("ok", 50_000, 50_000)
    assert found.sealed.bytes > 1_000_000_000 * FEW
    assert found.today.day == "2026-03-10"
    assert (found.today.lines, found.today.last_received_ns, found.today.gaps) == (1000, end_ns, 2)
    assert [(gap.symbol, gap.cause) for gap in found.today.open_gaps] == [("ETH/USD", "mismatch")]
    assert found.days_left == pytest.approx(found.disk_free_bytes / found.sealed.bytes_per_day)


@pytest.mark.parametrize(
    ("values", "age_s", "holder", "state"),
    [
        ({}, 1, None, "running"),
        ({}, 30, None, "dead"),
        ({}, 30, b"no JSON", "dead"),
        ({}, 30, b'{"pid":-1,"host":"HOST"}', "dead"),
        ({}, 30, b'{"pid":PID,"host":"elsewhere"}', "dead"),
        ({}, 30, b'{"pid":PID,"host":"HOST"}', "stuck"),
        (
            {"pid": 1},
            30,
            b'{"pid":PID,"host":"HOST"}',
            "dead",
        ),  # another recorder has it, and has not told anything yet
        ({"stopped": True}, 1, None, "stopped"),
        ({"stopped": True}, 10**6, None, "stopped"),
    ],
)
def test_the_state_of_the_recorder(tmp_path, values, age_s, holder, state):
    now_ns = 1_790_000_000 * NS_PER_S
    write_status(tmp_path, told(now_ns - age_s * NS_PER_S, **values))
    if holder is not None:
        text = holder.replace(b"PID", str(os.getpid()).encode()).replace(b"HOST", socket.gethostname().encode())
        (tmp_path / LOCK_NAME).write_bytes(text)
    found = archive_status(tmp_path, now_ns)
    assert found.state == state
    assert bool(found.problems) == (state != "stopped")


def test_what_is_shown_of_one_that_has_ended_without_a_word(tmp_path):
    write_status(tmp_path, told(time.time_ns() - 90 * NS_PER_S))
    done = processes.run("status", str(tmp_path), directory=tmp_path)
    assert done.returncode == 3
    assert "has ended without a word, 1 min 3" in done.stdout
    assert "recorder: the recorder has told nothing for 9" in done.stdout


@pytest.mark.parametrize(
    ("relay", "shown"),
    [
        (
            RelayStatus(url="http://127.0.0.1:8765", clients=1, lag_s=0.2),
            "relay    http://127.0.0.1:8765, 1 connection, 0.2 s behind\n",
        ),
        (RelayStatus(restarts=3), "relay    does not serve, restarts: 3\n"),
    ],
)
def test_the_relay_is_shown(tmp_path, capsys, relay, shown):
    write_status(tmp_path, told(time.time_ns(), relay=relay))
    status(tmp_path, None, as_json=False)
    assert shown in capsys.readouterr().out


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(UsageError, match="no recording here"):
        archive_status(tmp_path, 0)
    with pytest.raises(UsageError, match="cannot be read"):
        archive_status(tmp_path / "nowhere", 0)


def test_damage_is_no_obstacle(year, tmp_path):
    for name in ("l3-2026-03-10.receipts", "l3-2026-03-10.manifest.json", "journal-2026-03-10.ndjson"):
        (tmp_path / name).write_bytes(b'\xff{"kind":"gap_opened"}\n{"kind":"gap_opened"')
    found = archive_status(tmp_path, 0)
    assert found.today.open_gaps == []
    assert found.sealed.verdict.startswith("is not a manifest")


def test_the_command_tells_of_a_recorder_at_work_and_stopped(tmp_path):
    def shown_by_status(*options):
        return processes.run("status", "data", *options, directory=tmp_path)

    with simulate("--rate", "300") as exports, RecordProcess(tmp_path, exports) as recorder:
        recorder.until(lambda: (recorder.output / STATUS_NAME).exists())
        recorder.until(lambda: not archive_status(recorder.output, time.time_ns()).problems)
        shown = shown_by_status().stdout
        assert f"(pid {recorder.process.pid} on " in shown
        assert ": healthy" in shown
        assert "2 of 2 recording" in shown
        assert "0 gaps" in shown
        recorder.process.terminate()
        assert recorder.wait() == 0
    stopped = shown_by_status("--json")
    assert stopped.returncode == 0
    result = json.loads(stopped.stdout)["result"]
    assert (result["state"], result["healthy"]) == ("stopped", False)
    assert {gap["cause"] for gap in result["today"]["open_gaps"]} == {"stop"}
    assert " open" not in shown_by_status().stdout  # beside 0 gaps


def test_without_a_directory_it_is_the_configured_one(tmp_path, year):
    done = processes.run("status", directory=tmp_path, KRAKEN_L3_OUTPUT_DIR=str(year[0]))
    assert done.returncode == 0
    assert "12, 2026-02-27 to 2026-03-10" in done.stdout


def test_a_gap_that_a_hand_over_bridged_is_none(tmp_path):
    about = {"at_ns": 1, "channel": "level3", "symbol": "BTC/USD", "cause": "network"}
    opened = GapOpened(left_ns=1, connection=1, **about)
    bridged = HandedOver(previous=1, connection=2, bridged=3, matched="bytes", behind=0, **about)
    other = GapOpened(at_ns=2, channel="level3", symbol="ETH/USD", cause="network", left_ns=2, connection=1)
    (tmp_path / "l3-2026-11-22.ndjson").write_bytes(b"")
    records = b"".join(encode_record(each) + b"\n" for each in (opened, bridged, other))
    (tmp_path / "journal-2026-11-22.ndjson").write_bytes(records)
    found = archive_status(tmp_path, 3).today
    assert (found.gaps, [gap.symbol for gap in found.open_gaps]) == (1, ["ETH/USD"])
