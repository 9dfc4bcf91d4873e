"""Metrics and health: over HTTP from a status, and from a real recorder with its web process."""

import asyncio
import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kraken_l3.monitor.status import ConnectionStatus, RecorderStatus, SymbolStatus, encode_status
from kraken_l3.monitor.status_file import read_status
from kraken_l3.web.probes import Probes
from kraken_l3.web.status_lines import StatusLines
from processes import RecordProcess, is_running, simulate

S = 10**9
NOW_NS = 1_790_000_000_000_000_000


class StandingClock:
    """A clock that is moved by hand."""

    now_ns = 5 * S

    def wall_ns(self):
        return NOW_NS

    def mono_ns(self):
        return self.now_ns


def sound():
    row = SymbolStatus(symbol="BTC/USD", connection=1, state="recording", messages=1, last_snapshot_ns=NOW_NS)
    connection = ConnectionStatus(number=1, channel="level3", symbols=1, last_frame_ns=NOW_NS)
    return RecorderStatus(now_ns=NOW_NS, since_ns=NOW_NS, directory="d", rows=[row], connections=[connection])


def asked(probes):
    answers = [asyncio.run(each(None)) for each in (probes.health, probes.metrics)]
    health, metrics = (answer.body.decode() for answer in answers)
    return answers[0].status, [problem["why"] for problem in json.loads(health)["problems"]], metrics


def test_health_goes_with_the_status_and_its_age():
    clock = StandingClock()
    line = StatusLines(clock)
    probes = Probes(line, clock)
    assert asked(probes)[:2] == (503, ["the recorder has not told its status yet"])
    clock.now_ns += S
    line.line, line.received_ns = encode_status(sound()), clock.now_ns
    status, why, metrics = asked(probes)
    assert (status, why) == (200, [])
    assert "kraken_l3_healthy 1.0" in metrics
    clock.now_ns += 6 * S
    status, why, metrics = asked(probes)
    assert (status, why) == (503, ["the recorder has told nothing for 6 s"])
    assert "kraken_l3_healthy 0.0" in metrics
    assert "kraken_l3_status_age_seconds 6.0" in metrics
    line.line, line.received_ns = b'{"of":"another version"}', clock.now_ns
    assert asked(probes)[:2] == (503, ["the recorder has not told its status yet"])


def test_however_many_ask_metrics_are_made_twice_a_second():
    clock = StandingClock()
    line = StatusLines(clock)
    probes = Probes(line, clock)
    line.line, line.received_ns = encode_status(sound()), clock.now_ns
    first = asyncio.run(probes.metrics(None)).body
    clock.now_ns += S // 4
    assert asyncio.run(probes.metrics(None)).body is first
    clock.now_ns += S // 2
    assert asyncio.run(probes.metrics(None)).body != first


def get(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def served(recorder):
    """The URLs that the recorder's web processes have told so far."""
    events = [json.loads(line) for line in recorder.said.splitlines() if line.startswith("{")]
    return [event["url"] for event in events if event.get("event") == "serving"]


def web_children(recorder):
    pids = Path(f"/proc/{recorder.process.pid}/task/{recorder.process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"--recorder" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked up in /proc")
def test_a_recorder_serves_metrics_and_health_and_its_web_process_may_die(tmp_path):
    token = "a-token-of-the-tests"
    asking = {"Authorization": f"Bearer {token}"}
    with simulate("--rate", "300") as exports:
        exports["KRAKEN_L3_HTTP"], exports["KRAKEN_L3_HTTP_TOKEN"] = "127.0.0.1:0", token
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until(lambda: served(recorder))
            url = served(recorder)[0]
            recorder.until(lambda: get(f"{url}healthz", **asking)[0] == 200)
            assert get(f"{url}healthz")[0] == 401
            status, text = get(f"{url}metrics", **asking)
            assert status == 200
            names = {family.name for family in text_string_to_metric_families(text)}
            assert {"kraken_l3_frames", "kraken_l3_lag_seconds", "kraken_l3_verdicts"} <= names
            for secret in (token, exports["KRAKEN_API_SECRET"], exports["KRAKEN_API_KEY"], str(tmp_path)):
                assert secret not in text
            (child,) = web_children(recorder)
            environment = Path(f"/proc/{child}/environ").read_text()
            assert exports["KRAKEN_API_SECRET"] not in environment
            assert exports["KRAKEN_API_KEY"] not in environment

            os.kill(child, signal.SIGKILL)
            recorder.until(lambda: len(served(recorder)) == 2)
            recorder.until(lambda: get(f"{served(recorder)[1]}healthz", **asking)[0] == 200)
            (again,) = web_children(recorder)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
            assert not is_running(again)
    assert token not in recorder.said
    assert token not in "".join(path.read_text() for path in recorder.output.glob("journal-*"))


@pytest.mark.soak
def test_an_attack_on_the_web_process_costs_the_recording_nothing(tmp_path):
    """Connections that hold, headers that never end, paths that lead out, and a hundred who ask at once."""

    async def attack(port, seconds):
        async def send(*pieces, every_s=0.0):
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(every_s)
                    await asyncio.wait_for(reader.read(), 1)
                finally:
                    writer.transport.abort()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

        async def again(*pieces, every_s=0.0):
            while asyncio.get_running_loop().time() < until:
                await send(*pieces, every_s=every_s)

        until = asyncio.get_running_loop().time() + seconds
        head = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        work = [again(head, *[b"X: y\r\n"] * 20, every_s=0.1) for _ in range(400)]
        work += [again(head + b"X: " + b"x" * 200_000) for _ in range(20)]
        work += [again(b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") for _ in range(20)]
        work += [again(head + b"\r\n") for _ in range(100)]
        await asyncio.gather(*work)

    with simulate("--rate", "1000") as exports:
        exports["KRAKEN_L3_HTTP"] = "127.0.0.1:0"
        with RecordProcess(tmp_path, exports) as recorder:
            recorder.until(lambda: served(recorder))
            url = served(recorder)[0]
            recorder.until(lambda: get(f"{url}healthz")[0] == 200)
            before = read_status(recorder.output).messages
            asyncio.run(attack(int(url.rstrip("/").rpartition(":")[2]), 8))
            after = read_status(recorder.output)
            assert after.messages > before + 2_000
            assert (after.gaps, after.reconnects, after.paused) == (0, 0, False)
            recorder.until(lambda: get(f"{served(recorder)[-1]}healthz")[0] == 200)
            recorder.process.terminate()
            assert recorder.wait() == 0, recorder.said
