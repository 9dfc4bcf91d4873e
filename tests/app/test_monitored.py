"""What a running recorder shows: views, the service manager's messages, the line in the log."""

import asyncio
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from functools import partial

import pytest
import structlog

import processes
import scenes
from kraken_l3.app.alerting import Alerting
from kraken_l3.app.monitored import MonitorTimes, record_monitored
from kraken_l3.app.recorder import RecorderLimits
from kraken_l3.app.status import NAMES_MAX, MessageCounter, RecordCounter, StatusCollector, _Rate
from kraken_l3.archive.journal import Alive, Finding, GapOpened, HandedOver, Rejected, Resync
from kraken_l3.clock import SystemClock
from kraken_l3.config.settings import Settings
from kraken_l3.errors import ArchiveLocked, RefusedByKraken
from kraken_l3.exchange.faults import Drop, Reject
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import until_sent
from kraken_l3.model.frames import Frame
from kraken_l3.monitor.alert_delivery import DeliveryTimes
from kraken_l3.monitor.health import health_of
from kraken_l3.monitor.live import LiveTable
from kraken_l3.monitor.status import DiskStatus
from kraken_l3.monitor.status_file import read_status
from processes import is_running, simulate
from recording import WAIT_S, Recording, flow, run


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def until(condition):
    async def look():
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), WAIT_S)


def frame(payload, recv_ns=1_800_000_000_000_000_000):
    return Frame(payload, recv_ns, 0, 1)


def message(symbol, kind="update", stamp="2027-01-15T08:00:00.000000000Z", before=""):
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{{before}"symbol":"{symbol}","bids":[{{"order_id":"O",'
        f'"limit_price":1.0,"order_qty":1.0,"timestamp":"2020-01-01T00:00:00.000000000Z"}}],"asks":[],'
        f'"timestamp":"{stamp}"}}]}}'
    ).encode()


def test_a_counter_counts_by_symbol_and_keeps_snapshots_apart():
    counter = MessageCounter()
    counter("level3", [frame(message("BTC/USD", "snapshot"), 5), frame(message("BTC/USD")), frame(message("ETH/USD"))])
    counter("level3", [frame(message("BTC/USD", before='"checksum":1,' + '"x":0,' * 50)), frame(b"\xff\x00no json")])
    counter("trade", [frame(message("BTC/USD"))])
    assert {name: tally.messages for name, tally in counter.tallies.items()} == {"BTC/USD": 3, "ETH/USD": 1}
    assert counter.tallies["BTC/USD"].snapshot_ns == 5
    assert counter.tallies["ETH/USD"].snapshot_ns is None


def test_names_that_a_server_makes_up_take_no_memory():
    counter = MessageCounter()
    counter("level3", [frame(message("BTC/USD"))])
    counter("level3", [frame(message("X" * 65)), frame(b'{"symbol":"' + b"Y" * 1_000)])
    counter("level3", [frame(message(f"X{number}/USD")) for number in range(NAMES_MAX + 5)])
    counter("level3", [frame(message("BTC/USD"))])
    assert len(counter.tallies) == NAMES_MAX
    assert max(map(len, counter.tallies)) < 64
    assert counter.tallies["BTC/USD"].messages == 2


def test_records_are_counted_by_kind_and_cause():
    counter = RecordCounter()
    gap = {"at_ns": 1, "channel": "level3", "symbol": "A/B", "left_ns": 1}
    for cause in ("network", "network", "stop"):
        counter(GapOpened(cause=cause, **gap))
    counter(Resync(at_ns=1, symbol="A/B", cause="mismatch", attempt=1, connection=1))
    counter(Finding(at_ns=1, symbol="A/B", what="crossed", line=1, offset=1))
    counter(Rejected(at_ns=1, connection=1, channel="level3", symbol="A/B", error="x"))
    counter(HandedOver(at_ns=1, symbol="A/B", channel="level3", connection=2, matched="bytes"))
    counter(Alive(at_ns=1, last_frame_ns={}))
    assert (counter.gaps, counter.resyncs, counter.findings) == ({"network": 2}, {"mismatch": 1}, {"crossed": 1})
    assert (counter.rejections, counter.handovers) == (1, 1)


def test_the_lag_of_a_sample_stands_for_all_messages():
    counter = MessageCounter()
    counter("level3", [frame(message("A/B", stamp="2027-01-15T07:59:59.980000000Z"))] * 1000)
    counter("level3", [frame(message("A/B", "snapshot", stamp="2020-01-15T07:59:59.980000000Z"))] * 10)
    counter("level3", [])
    assert 1000 <= counter.lag.count <= 1024
    assert counter.lag.quantile(0.5) == 0.025
    assert counter.lag.sum == pytest.approx(0.02 * counter.lag.count)


def test_a_rate_settles_at_the_truth():
    rate = _Rate()
    said = [rate.update(second * 500, (second + 1) * 10**9) for second in range(30)]
    assert said[0] == 0
    assert said[-1] == pytest.approx(500, rel=0.01)
    assert rate.update(15_000, 30 * 10**9) == said[-1]  # no time has passed


def test_the_status_of_a_recorder_at_work(tmp_path):
    async def main():
        counter, records = MessageCounter(), RecordCounter()
        async with Exchange(flow(("BTC/USD", "ETH/USD", "SOL/USD"))) as exchange:
            await exchange.push(Reject(symbol="SOL/USD", error="Currency pair not supported SOL/USD", times=0))
            recording = Recording(tmp_path, exchange, symbols=["BTC/USD", "ETH/USD", "SOL/USD"])
            recording.recorder._observer, recording.recorder._record_observer = counter, records
            collector = StatusCollector(recording.recorder, tmp_path, SystemClock(), counter, records)
            assert collector.status().headline() == "waiting for Kraken's list of pairs"
            async with recording:
                await recording.until_records("Rejected")
                await recording.until(lambda r: r.recorder.gaps.recorded == {"BTC/USD", "ETH/USD"})
                await exchange.push(Drop())
                await recording.until_records("GapClosed", 2, cause="network")
                await recording.until(
                    lambda _: all(row.messages > 50 and row.rate for row in collector.status().rows[:2])
                )
                await recording.until(lambda _: collector.status().rows[2].state == "rejected")
                status = collector.status(disk=DiskStatus(free_bytes=123))
        rows = {row.symbol: row for row in status.rows}
        assert [rows[name].state for name in ("BTC/USD", "ETH/USD", "SOL/USD")] == [
            "recording",
            "recording",
            "rejected",
        ]
        assert status.recording == 2
        assert rows["BTC/USD"].connection > 2  # not the one that broke
        assert rows["BTC/USD"].messages > 50
        assert rows["BTC/USD"].rate > 0
        assert abs(rows["BTC/USD"].lag_s) < 5
        assert rows["BTC/USD"].gaps == 1
        assert abs(status.now_ns - rows["BTC/USD"].last_snapshot_ns) < 60e9
        assert status.reconnects >= 1
        assert status.disk.free_bytes == 123
        assert status.written_bytes > 10_000
        assert status.messages >= rows["BTC/USD"].messages + rows["ETH/USD"].messages
        assert status.rate > 0

    run(main())


def test_a_hand_over_is_counted_and_is_no_gap(tmp_path):
    async def main():
        counter, records = MessageCounter(), RecordCounter()
        async with Exchange(flow()) as exchange:
            limits = RecorderLimits(stagger_s=0.0)
            recording = Recording(tmp_path, exchange, redundancy=2, limits=limits)
            recording.recorder._observer, recording.recorder._record_observer = counter, records
            collector = StatusCollector(recording.recorder, tmp_path, SystemClock(), counter, records)
            async with recording:
                await recording.until(lambda r: len(r.recorder.gaps.recorded if r.recorder.gaps else ()) == 2)
                await recording.until(lambda _: collector.status().without_standby == 0)
                leader = collector.status().rows[0].connection
                opened = [record.connection for record in recording.records("Connected", channel="level3")]
                await exchange.push(Drop(connection=opened.index(leader) + 1))
                await recording.until(lambda _: collector.status().handovers == 2)
                await recording.until(lambda _: collector.status().without_standby == 0)
                return leader, collector.status()

    leader, status = run(main())
    assert (status.gaps, status.gaps_by_cause, status.recording) == (0, {}, 2)
    assert leader not in {row.connection for row in status.rows}


def test_odd_stamps_are_no_lag():
    counter = MessageCounter()
    counter("level3", [frame(message("A/B", stamp="2027-01-15T07:59:59.500000000Z"))])
    counter(
        "level3", [frame(b'{"symbol":"C/D"}'), frame(b'{"symbol":"E/F","timestamp":"no time, but as long as one"}')]
    )
    from kraken_l3.app.status import _lag_s

    assert [_lag_s(counter.tallies[name].last) for name in ("A/B", "C/D", "E/F")] == [0.5, None, None]


def settings_for(exchange, directory, **more):
    return Settings(
        symbols=["BTC/USD", "ETH/USD"], output_dir=directory, rest_url=exchange.rest_url, ws_url=exchange.ws_url,
        public_ws_url=exchange.public_ws_url, api_key=exchange.api_key, api_secret=exchange.api_secret, **more,
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is Linux's")
def test_the_manager_hears_ready_status_watchdog_and_stopping(tmp_path, monkeypatch):

    async def main():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.setblocking(False)
            heard = []
            asyncio.get_running_loop().add_reader(manager, lambda: heard.append(manager.recv(4096).decode()))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "200000")
            monkeypatch.delenv("WATCHDOG_PID", raising=False)
            async with Exchange(flow()) as exchange:
                stop = asyncio.Event()
                recording = record_monitored(
                    settings_for(exchange, tmp_path / "data"), stop, times=MonitorTimes(collect_s=0.1, manager_s=0.2)
                )
                task = asyncio.ensure_future(recording)
                await until(lambda: any("2 of 2 symbols" in each for each in heard) and heard.count("WATCHDOG=1") >= 4)
                stop.set()
                await task
                await until(lambda: "STATUS=stopping" in heard)
        return heard

    heard = run(main())
    assert heard[0].startswith("READY=1\nSTATUS=")
    assert "STATUS=2 of 2 symbols recording" in "\n".join(heard)
    assert heard.count("STATUS=stopping") == 1
    assert not any("READY" in each or "STATUS" in each for each in heard[heard.index("STATUS=stopping") + 1 :])


def test_the_line_an_hour(tmp_path):
    def lines():
        return [line for line in said if line["event"] == "still recording"]

    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            task = asyncio.ensure_future(
                record_monitored(
                    settings_for(exchange, tmp_path / "data"),
                    stop,
                    times=MonitorTimes(collect_s=0.1, clock_s=0.1, summary_s=0.3),
                )
            )
            await until(lambda: any(line["symbols"] == "2/2" and line["messages"] > 50 for line in lines()))
            stop.set()
            await task

    with structlog.testing.capture_logs() as said:
        run(main())
    values = next(line for line in lines() if line["symbols"] == "2/2" and line["messages"] > 50)
    assert values["bytes"] > values["messages"] * 100
    assert (values["gaps"], values["reconnects"]) == (0, 0)
    assert values["disk_free_bytes"] > 0


def test_the_status_stands_in_the_archive_and_says_at_last_that_it_stopped(tmp_path):
    directory = tmp_path / "data"

    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            times = MonitorTimes(collect_s=0.05)
            task = asyncio.ensure_future(record_monitored(settings_for(exchange, directory), stop, times=times))
            await until(lambda: (told := read_status(directory)) is not None and told.recording == 2 and told.lag.count)
            await exchange.push(Drop())
            await until(lambda: read_status(directory).gaps_by_cause.get("network", 0) >= 2)
            await until(lambda: (v := read_status(directory).verifier) is not None and v.ok and v.lag_s is not None)
            await until(lambda: read_status(directory).recording == 2)
            running = read_status(directory)
            stop.set()
            await task
            return running

    running = run(main())
    assert health_of(running, age_s=0).problems == []
    assert running.pid == os.getpid()
    assert not running.stopped
    assert running.frames["level3"] > 50
    assert running.fsync.count
    assert running.lag.quantile(0.99) < 10
    assert {each.channel for each in running.connections} == {"level3", "instrument"}
    assert running.rows[0].last_message_ns
    assert read_status(directory).stopped


def test_a_second_recorder_does_not_touch_the_status_of_the_first(tmp_path):
    directory = tmp_path / "data"

    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            times = MonitorTimes(collect_s=0.05)
            first = asyncio.ensure_future(record_monitored(settings_for(exchange, directory), stop, times=times))
            await until(lambda: read_status(directory) is not None)
            since_ns = read_status(directory).since_ns
            with pytest.raises(ArchiveLocked):
                await record_monitored(settings_for(exchange, directory), asyncio.Event(), times=times)
            told = read_status(directory)
            stop.set()
            await first
            return since_ns, told

    since_ns, told = run(main())
    assert told.since_ns == since_ns
    assert not told.stopped


def test_alerts_of_a_recording_from_its_start_to_its_end(tmp_path):
    hook = tmp_path / "hook.py"
    hook.write_text("import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()} {sys.stdin.read()}' + chr(10))")
    out = tmp_path / "alerts"

    def lines():
        return [line.partition(" ") for line in out.read_text().splitlines()] if out.exists() else []

    def alerts():
        said = [json.loads(alert) for _, _, alert in lines()]
        return [(alert["kind"], alert["cause"], sorted(alert["symbols"])) for alert in said]

    def delivered():
        return [pid for pid, _, _ in lines() if not is_running(int(pid))]

    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            wanted = ["start", "gap", "stop"]  # the machine's own disk may be low
            hook_command = f"{sys.executable} {hook} {out}"
            settings = settings_for(exchange, tmp_path / "data", alert_hook=hook_command, alerts=wanted, redundancy=1)
            times = MonitorTimes(collect_s=0.1)
            task = asyncio.ensure_future(record_monitored(settings, stop, times=times))
            await until(lambda: alerts() and read_status(tmp_path / "data").recording == 2)
            await exchange.push(Drop())
            await until(lambda: len(delivered()) == 2)  # a command that the end interrupts would run again
            stop.set()
            await task

    run(main())
    assert alerts() == [("start", "", []), ("gap", "network", ["BTC/USD", "ETH/USD"]), ("stop", "", [])]


def test_an_alert_command_that_hangs_holds_up_neither_recording_nor_its_end(tmp_path):
    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            settings = settings_for(exchange, tmp_path / "data", alert_hook="sleep 1000", alerts=["gap"])
            task = asyncio.ensure_future(record_monitored(settings, stop, times=MonitorTimes(collect_s=0.05)))
            status = partial(read_status, tmp_path / "data")
            await until(lambda: status() is not None and status().recording == 2)
            await exchange.push(Drop())
            await until(lambda: status().gaps_by_cause.get("network", 0) >= 2 and status().recording == 2)
            before = status().messages
            await until(lambda: status().messages > before + 500)
            stop.set()
            return await task

    assert run(main()).messages


def test_a_refused_key_is_told_before_the_end(tmp_path):
    hook = tmp_path / "hook.py"
    hook.write_text("import sys; open(sys.argv[1], 'a').write(sys.argv[2] + chr(10))")
    command = f"{sys.executable} {hook} {tmp_path / 'said'}"
    settings = Settings(output_dir=tmp_path, alert_hook=command, alerts=["refusal"])
    run(Alerting(settings, SystemClock()).finish(RefusedByKraken("the key may not", hint="Allow it")))
    said = (tmp_path / "said").read_text()
    assert said.endswith(": recording ends: the key may not. Allow it\n")


def test_what_waits_behind_a_slow_delivery_is_told_at_the_end(tmp_path):
    hook, said, first = tmp_path / "hook.py", tmp_path / "said", tmp_path / "first"
    hook.write_text(
        "import os, sys, time\n"
        "open(sys.argv[1], 'a').write(sys.argv[3] + chr(10))\n"
        "if not os.path.exists(sys.argv[2]):\n"
        "    open(sys.argv[2], 'w').close()\n"
        "    time.sleep(1000)\n"
    )
    command = f"{sys.executable} {hook} {said} {first}"
    clock = scenes.Clock()

    async def main():
        alerting = Alerting(
            Settings(output_dir=tmp_path, alert_hook=command, alerts=["gap", "silence"]), clock, DeliveryTimes(1_000.0)
        )
        for cause in ("network", "silence"):
            alerting.record(GapOpened(at_ns=1, channel="level3", symbol="BTC/USD", cause=cause, left_ns=1))
        clock.now_ns += 3 * 10**9
        sending = asyncio.ensure_future(alerting.run())
        await until(first.exists)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await alerting.finish(None)

    run(main())
    lines = sorted(line.partition(": ")[2] for line in said.read_text().splitlines())
    assert lines == ["a connection was silent and is replaced: BTC/USD", *["gap (network): BTC/USD"] * 2]


class BrokenTable(LiveTable):
    """A table that fails whenever it is shown something."""

    can_show = True

    def show(self, view):
        raise ZeroDivisionError


def test_a_display_that_fails_does_not_end_the_recording(tmp_path):
    async def main():
        async with Exchange(flow()) as exchange:
            stop = asyncio.Event()
            settings = settings_for(exchange, tmp_path / "data")
            task = asyncio.ensure_future(record_monitored(settings, stop, table=BrokenTable()))
            await until_sent(exchange, 200)
            await until(lambda: any("a display failed" in line["event"] for line in said))
            stop.set()
            return await task

    with structlog.testing.capture_logs() as said:
        assert run(main()).messages


def on_a_terminal(command, directory, env, until, then=signal.SIGINT):
    """Run a command on a pseudo-terminal of 24 x 100; returns what it drew and its exit code."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(command, cwd=directory, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn, deadline, signalled = b"", time.monotonic() + 60, False
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    drawn += os.read(ours, 65536)
                except OSError:  # Linux's way to say that the other end is closed
                    break
            if not signalled and until(drawn.decode(errors="replace")):
                process.send_signal(then)
                signalled = True
        return drawn.decode(errors="replace"), process.wait(processes.WAIT_S)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("table", [True, False])
def test_on_a_terminal_there_is_one_live_table(tmp_path, table):
    with simulate("--rate", "300") as exports:
        env = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
        env.update(exports, XDG_STATE_HOME=str(tmp_path / "state"), KRAKEN_L3_SYMBOLS="BTC/USD,ETH/USD", TERM="xterm")
        secret = exports["KRAKEN_API_SECRET"]
        command = [sys.executable, "-m", "kraken_l3", "record", *([] if table else ["--no-table"])]

        def has_both(text):
            data = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("l3-*.ndjson"))
            return "2 of 2 symbols" in text if table else b'"BTC/USD"' in data and b'"ETH/USD"' in data

        drawn, code = on_a_terminal(command, tmp_path, env, has_both)
    assert code == 0, drawn
    assert ("BTC/USD" in drawn) == table
    assert ("msg/s" in drawn) == table
    assert secret not in drawn
    assert "Traceback" not in drawn
    last = drawn[drawn.rindex("Recorded ") :]
    assert "of 2 of 2 symbols" in last
    assert "0 gaps" in last
    assert "Next: kraken-l3 verify data" in last
    if table:  # the end in order is no loss: the table stays as it was, and asks for nothing more
        final = drawn[drawn.rindex("Stopped after") :]
        assert "2 of 2 symbols" in final
        assert "Ctrl+C" not in final


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_that_is_stopped_does_not_hold_up_the_recording(tmp_path):
    """Ctrl+S: from then on every write to the terminal blocks."""
    import termios

    ours, theirs = pty.openpty()
    with simulate("--rate", "500") as exports:
        env = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
        env.update(exports, XDG_STATE_HOME=str(tmp_path / "state"), KRAKEN_L3_SYMBOLS="BTC/USD,ETH/USD", TERM="xterm")
        command = [sys.executable, "-m", "kraken_l3", "record"]
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        try:
            drawn, deadline = b"", time.monotonic() + processes.WAIT_S
            while b"2 of 2 symbols" not in drawn and time.monotonic() < deadline:
                drawn += os.read(ours, 65536)
            termios.tcflow(theirs, termios.TCOOFF)
            (file,) = (tmp_path / "data").glob("l3-*.ndjson")
            # several redraws, and more than the terminal's buffer would take
            wanted, deadline = file.stat().st_size + 300_000, time.monotonic() + processes.WAIT_S
            while file.stat().st_size < wanted and time.monotonic() < deadline:
                time.sleep(0.01)
            assert file.stat().st_size >= wanted
            process.terminate()
            assert process.wait(processes.WAIT_S) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)
    assert '"kind":"stop"' in "".join(path.read_text() for path in (tmp_path / "data").glob("journal-*"))


def test_without_a_terminal_the_log_is_json(tmp_path):
    from processes import RecordProcess

    with simulate("--rate", "300") as exports, RecordProcess(tmp_path, exports) as recorder:
        recorder.until_lines(50)
        recorder.process.terminate()
        assert recorder.wait() == 0, recorder.said
        events = [json.loads(line) for line in recorder.said.splitlines()]
    assert events[0]["event"] == "recording"
    assert len(events) < 6


def test_a_start_that_cannot_work_says_one_line(tmp_path):
    done = processes.run("record", directory=tmp_path, KRAKEN_L3_SYMBOLS="BTC/USD")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("kraken-l3: api_key: ")
