"""Live verification of an archive that a writer is filling."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import ArchiveError
from kraken_l3.model.frames import Frame
from kraken_l3.model.live import ResyncRequest, VerifierFinding, VerifierProgress, decode_live
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.live import POLL_S, LiveVerifier
from kraken_l3.rebuild.verify import verify
from scenes import SYMBOLS, Clock, Scene, recorded

WAIT_S = 20.0
MIDNIGHT_NS = parse_rfc3339("2026-11-23T00:00:00Z")


class WallClock(Clock):
    """Its wall clock stands still, so that nobody is silent; the other one runs."""

    def mono_ns(self):
        return time.monotonic_ns()


class Live:
    """A live verifier in a thread; `words` is what it said."""

    def __init__(self, directory, clock=None, **options):
        self.words = []
        options["clock"] = clock or WallClock()
        self._stop = threading.Event()
        self.verifier = LiveVerifier(directory, self.words.append, stop=self._stop, poll_s=0.01, **options)
        self._thread = threading.Thread(target=self.verifier.run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def said(self, kind):
        return [message for message in self.words if isinstance(message, kind)]

    def until(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert self._thread.is_alive()
            assert time.monotonic() < deadline, self.words
            time.sleep(0.01)

    def until_line(self, line):
        self.until(lambda: (at := self.verifier._at) is not None and at[1].line >= line)


def spoil(line):
    return line.replace(b'"checksum":', b'"checksum":1')


@pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs and symbolic links")
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["journal-2026-11-22.ndjson", "trade-2026-11-22.ndjson"])
def test_what_is_no_file_is_not_read(tmp_path, name, make):
    recorded(tmp_path, messages=40)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with Live(tmp_path) as live:
        live.until(lambda: any(word.ok == 40 for word in live.said(VerifierProgress)))


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_checkpoints_are_not_written_through_a_link(tmp_path):
    archive = recorded(tmp_path / "archive", messages=40)
    (archive / "l3-2026-11-22.checkpoints").symlink_to(tmp_path / "elsewhere")
    stop = threading.Event()
    stop.set()
    with pytest.raises(ArchiveError, match="symbolic link"):
        LiveVerifier(archive, lambda message: None, stop=stop).run()
    assert not (tmp_path / "elsewhere").exists()


def test_a_mismatch_is_told_while_the_recording_goes_on(tmp_path):
    scene = Scene(tmp_path)
    lines = scene.flow(400)
    bad = next(n for n in range(200, 400) if b'"BTC/USD"' in lines[n])
    with Live(tmp_path) as live:
        scene.write(lines[:150])
        live.until_line(150)
        scene.write([*lines[150:bad], spoil(lines[bad]), *lines[bad + 1 :]])
        live.until_line(400)
    (resync,) = live.said(ResyncRequest)
    assert (resync.symbol, resync.cause) == ("BTC/USD", "mismatch")
    verified = max(n for n in range(bad) if b'"BTC/USD"' in lines[n])
    assert resync.left_ns == scene.clock.now_ns - (399 - verified) * scene.step_ns
    (finding,) = live.said(VerifierFinding)
    assert (finding.what, finding.line) == ("mismatch", bad)
    assert finding.expected != finding.computed
    last = live.said(VerifierProgress)[-1]
    assert (last.line, last.messages, last.ok, last.mismatched) == (400, 400, 399, 1)
    scene.close()


def test_each_snapshot_allows_for_another_resync(tmp_path):
    scene = Scene(tmp_path, symbols=("BTC/USD",))
    with Live(tmp_path) as live:
        for seed in (1, 2):
            lines = scene.flow(20, seed=seed)
            scene.write([*lines[:10], *map(spoil, lines[10:])])
        live.until_line(40)
    assert [found.line for found in live.said(VerifierFinding)] == [10, 30]
    assert len(live.said(ResyncRequest)) == 2
    scene.close()


def test_what_was_there_before_is_not_told_again_but_what_is_still_wrong_is(tmp_path):
    scene = Scene(tmp_path)
    lines = scene.flow(300)
    btc = [n for n in range(300) if b'"BTC/USD"' in lines[n]]
    doge = [n for n in range(300) if b'"DOGE/USD"' in lines[n]]
    for n in btc[20:]:
        lines[n] = spoil(lines[n])
    lines[doge[-1]] = spoil(lines[doge[-1]])
    scene.write(lines[:250])
    with Live(tmp_path) as live:
        live.until_line(250)
        assert live.said(ResyncRequest) == []
        scene.write(lines[250:])
        live.until_line(300)
    assert live.said(VerifierFinding) != []
    assert {w.line for w in live.said(VerifierFinding)} == {doge[-1]}
    left = {request.symbol: request.left_ns for request in live.said(ResyncRequest)}
    received = [scene.clock.now_ns - (299 - n) * scene.step_ns for n in range(300)]
    assert left == {"BTC/USD": received[btc[19]], "DOGE/USD": received[doge[-2]]}
    scene.close()


def test_it_goes_on_where_it_stopped(tmp_path):
    scene = Scene(tmp_path)
    lines = scene.flow(400)
    with Live(tmp_path) as live:
        scene.write(lines[:300])
        live.until_line(300)
    scene.write(lines[300:350])
    with Live(tmp_path) as again:
        again.until_line(350)
        scene.write(lines[350:])
        again.until_line(400)
    last = again.said(VerifierProgress)[-1]
    assert (last.messages, last.ok, last.line) == (100, 100, 400)
    assert again.said(ResyncRequest) == []
    scene.close()


def test_a_file_cut_by_recovery_is_read_anew(tmp_path):
    scene = Scene(tmp_path)
    scene.write(scene.flow(300))
    with Live(tmp_path) as live:
        live.until_line(300)
    scene.close()
    (data,) = open_archive(tmp_path).files()
    receipts = data.with_suffix(".receipts")
    kept = 200
    data.write_bytes(b"".join(data.read_bytes().splitlines(keepends=True)[:kept]))
    receipts.write_bytes(receipts.read_bytes()[: 32 * kept])
    with Live(tmp_path) as again:
        again.until_line(kept)
    assert again.said(VerifierProgress)[-1].ok == kept


def test_midnight_begins_a_day_with_checkpoints_that_stand_alone(tmp_path):
    scene = Scene(tmp_path, now_ns=MIDNIGHT_NS - NS_PER_S)
    lines = scene.flow(300)
    with Live(tmp_path) as live:
        scene.write(lines[:90])
        live.until_line(90)
        scene.write(lines[90:])
        live.until(lambda: any(w.file == "l3-2026-11-23.ndjson" for w in live.said(VerifierProgress)))
    scene.close()
    second = open_archive(tmp_path).files()[1]
    starts = [c for c in read_checkpoints(second.with_suffix(".checkpoints")) if c.line == 0]
    assert {c.symbol for c in starts} == set(SYMBOLS)
    assert all(c.snapshot for c in starts)
    findings = verify(second)
    assert findings.exit_code() == 0
    assert {s: r.tally.before_snapshot for s, r in findings.symbols.items()} == dict.fromkeys(SYMBOLS, 0)


def starts_of_second_day(directory):
    return [c for c in read_checkpoints(directory / "l3-2026-11-23.checkpoints") if c.line == 0]


def test_what_was_written_before_it_is_told_to_stop_is_verified_over_midnight_too(tmp_path):
    scene = Scene(tmp_path, now_ns=MIDNIGHT_NS - NS_PER_S)
    lines = scene.flow(300)
    scene.write(lines[:50])
    words = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            if timeout == POLL_S and not self.is_set():
                scene.write(lines[50:])  # the writer's last words, then the word to stop
                self.set()
            return self.is_set()

    LiveVerifier(tmp_path, words.append, stop=Stop(), clock=WallClock()).run()
    scene.close()
    last = words[-1]
    assert (last.file, last.line, last.messages, last.ok) == ("l3-2026-11-23.ndjson", 300 - 99, 300, 300)
    assert {c.symbol for c in starts_of_second_day(tmp_path) if c.snapshot} == set(SYMBOLS)


def test_the_books_of_a_midnight_that_it_missed_are_found_in_the_day_before(tmp_path):
    scene = Scene(tmp_path, now_ns=MIDNIGHT_NS - NS_PER_S)
    lines = scene.flow(300)
    with Live(tmp_path) as live:
        scene.write(lines[:50])
        live.until_line(50)
    scene.write(lines[50:])
    with Live(tmp_path) as again:
        again.until(lambda: again.said(VerifierProgress)[-1:] and again.said(VerifierProgress)[-1].messages == 250)
    scene.close()
    assert again.said(VerifierProgress)[-1].ok == 250
    assert {c.symbol for c in starts_of_second_day(tmp_path) if c.snapshot} == set(SYMBOLS)


def test_it_waits_for_the_first_file(tmp_path):
    with Live(tmp_path) as live:
        time.sleep(0.05)
        scene = Scene(tmp_path)
        scene.write(scene.flow(50))
        live.until(lambda: live.said(VerifierProgress))
        live.until_line(50)
    scene.close()


def test_silence_is_told(tmp_path):
    scene = Scene(tmp_path)
    clock = WallClock(scene.clock.now_ns)
    btc = [line for line in scene.flow(300) if b'"BTC/USD"' in line]
    with Live(tmp_path, clock=clock) as live:
        scene.write(scene.flow(300))
        live.until_line(300)
        clock.now_ns = scene.clock.now_ns + 601 * NS_PER_S
        live.until(lambda: len(live.said(ResyncRequest)) == 2)
        assert {w.symbol for w in live.said(ResyncRequest)} == set(SYMBOLS)
        assert {w.cause for w in live.said(ResyncRequest)} == {"silent_symbol"}
        silent_ns = {clock.now_ns - w.left_ns for w in live.said(ResyncRequest)}
        assert all(590 * NS_PER_S < ns < 610 * NS_PER_S for ns in silent_ns)
    assert btc
    scene.close()


def test_trades_without_messages_are_told(tmp_path):
    scene = Scene(tmp_path)
    clock = WallClock(scene.clock.now_ns)
    with Live(tmp_path, clock=clock) as live:
        scene.write(scene.flow(300))
        live.until_line(300)
        trade = (
            '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1.0,"qty":1.0,'
            '"ord_type":"limit","trade_id":%d,"timestamp":"2026-11-22T12:00:30.000000Z"}]}'
        )
        now = scene.clock.now_ns + 61 * NS_PER_S
        scene.writer.append("trade", [Frame((trade % n).encode(), now, now, 2) for n in range(5)])
        scene.writer.append("trade", [Frame(b"{}", now, now, 2)])
        scene.writer.flush()
        clock.now_ns = now
        live.until(lambda: live.said(ResyncRequest))
    assert [(w.symbol, w.cause) for w in live.said(ResyncRequest)] == [("BTC/USD", "silent_symbol")]
    scene.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_as_a_process_it_ends_when_stdin_closes_and_not_by_ctrl_c(tmp_path):
    scene = Scene(tmp_path)
    lines = scene.flow(200)
    scene.write(lines[:100])
    command = [sys.executable, "-m", "kraken_l3", "verify-live", str(tmp_path), "--poll", "0.02"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        first = decode_live(process.stdout.readline())
        assert first.line in range(101)
        process.send_signal(signal.SIGINT)
        scene.write([*lines[100:150], spoil(lines[150]), *lines[151:]])
        found = []
        while "mismatch" not in [message.cause for message in found if isinstance(message, ResyncRequest)]:
            found.append(decode_live(process.stdout.readline()))  # by the machine's clock all are silent for long, too
        assert [message.line for message in found if isinstance(message, VerifierFinding)] == [150]
        rest, _ = process.communicate("", timeout=WAIT_S)
        assert decode_live(rest.splitlines()[-1]).line == 200
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    scene.close()
