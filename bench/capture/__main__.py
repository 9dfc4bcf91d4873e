"""`python -m bench.capture`: our whole recorder and one written as the original was, side by side, over TLS.

Ours runs as a user starts it, live verification included; the verifier is a process of its own and counted apart. CPU
is what the kernel charged to all threads of a process, between the snapshot and the last line in the file. Delays are
receive times (receipts) less the stamps that the sender put into the frames: one machine, one clock. A process that
only sleeps runs beside: by so much the machine, when it is busy with other things, makes everybody late.
At 4,000 frames a second they take turns of a second each, beside a client that drops what it receives: the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import trustme
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from kraken_l3.model.timestamps import parse_rfc3339

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 300
START_S = 30
STOP_S = 20
SLEEP_S = 0.002
OURS, NAIVE, FLOOR = "ours", "as the original", "dropping"
#: After a turn: the recorder has written by then, and its verifier looked.
SETTLE_S = 0.8
#: Our backoff reconnects at once only after this long in good health; then the cut comes.
HEALTHY_S = 62
DROP_RATE = 1_000
RECEIPT = struct.Struct("<qqQII")
COMMANDS = {
    OURS: ["-m", "kraken_l3", "record"],
    NAIVE: ["-m", "bench.capture.naive"],
    FLOOR: ["-m", "bench.capture.floor"],
}


class Place:
    """A directory with a certificate that the recorders trust."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.directory = directory
        self.cert, self.key, self.authority = (directory / name for name in ("cert.pem", "key.pem", "ca.pem"))
        issued.private_key_pem.write_to_path(self.key)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(self.cert, append=number > 0)
        authority.cert_pem.write_to_path(self.authority)


class Process:
    """A child that is gone when the block is left."""

    def __init__(self, command: list[str], **how: object) -> None:
        self.process = subprocess.Popen(command, cwd=ROOT, **how)  # type: ignore[call-overload]

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # so that our recorder ends its verifier too
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class FrameServer(Process):
    def __init__(self, place: Place, **options: float) -> None:
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, "-m", "bench.capture.server", "--cert", place.cert, "--key", place.key, *words]
        pipe = subprocess.PIPE
        super().__init__([str(word) for word in command], stdin=pipe, stdout=pipe, text=True)
        ready = self.until("ready")
        self.port, self.frame_bytes = ready["port"], ready["frame_bytes"]

    def until(self, event: str, timeout_s: float = WAIT_S) -> dict:
        watchdog = threading.Timer(timeout_s, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                fact = json.loads(line)
                if fact["event"] == event:
                    return fact
        finally:
            watchdog.cancel()
        raise SystemExit(f"the frame server ended before it was {event}")

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


class Recorder(Process):
    def __init__(self, kind: str, place: Place, port: int, name: str) -> None:
        self.directory = place.directory / name
        self.directory.mkdir()
        env = {key: value for key, value in os.environ.items() if not key.startswith("KRAKEN")}
        env.update(
            KRAKEN_API_KEY="bench",
            KRAKEN_API_SECRET="YmVuY2g=",
            KRAKEN_L3_SYMBOLS="BTC/USD",
            KRAKEN_L3_LIVENESS_TIMEOUT_S="300",  # a server is silent while others have their turn
            KRAKEN_L3_OUTPUT_DIR=str(self.directory),
            KRAKEN_L3_REDUNDANCY="1",  # the others have one connection too
            KRAKEN_L3_REST_URL=f"https://127.0.0.1:{port}",
            KRAKEN_L3_WS_URL=f"wss://127.0.0.1:{port}/v2",
            # this tree, whatever is installed; and whatever else the bench itself was given
            PYTHONPATH=os.pathsep.join((str(ROOT / "src"), str(ROOT), env.get("PYTHONPATH", ""))),
            SSL_CERT_FILE=str(place.authority),
            XDG_STATE_HOME=str(place.directory / f"state-{name}"),
        )
        if kind == OURS:
            env["KRAKEN_L3_PUBLIC_WS_URL"] = f"wss://127.0.0.1:{port}/public"
        self._said = self.directory.with_suffix(".log")
        with self._said.open("wb") as log:
            super().__init__([sys.executable, *COMMANDS[kind]], env=env, stdout=log, stderr=log)

    def cpu_ns(self) -> int:
        """Of all threads that live."""
        return _cpu_ns(self.process.pid)

    def resident_bytes(self) -> int:
        return _resident_bytes(self.process.pid)

    def children(self) -> list[int]:
        """The live verifier, when there is one."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]

    def must_be_verified(self) -> None:
        """What the verifier finds wrong costs a new subscription: such a run measured something else."""
        for path in self.directory.glob("journal-*.ndjson"):
            if b'"kind":"finding"' in path.read_bytes():
                raise SystemExit(f"the live verifier found mismatches: {path}")

    def until_lines(self, count: int) -> None:
        """Until the file has so many lines; `count` is a multiple of 100, as the original's flushes."""
        lines = offset = 0
        deadline = time.monotonic() + WAIT_S
        while lines < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"a recorder did not write {count} lines but {lines}:\n{self._said.read_text()[-2000:]}"
                )
            time.sleep(0.02)
            for path in self.directory.glob("l3-*.ndjson"):
                with path.open("rb") as file:
                    file.seek(offset)
                    while block := file.read(1 << 24):
                        lines += block.count(b"\n")
                        offset += len(block)


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(kind: str, place: Place, name: str, *, frames: int, rate: float = 0.0) -> dict:
    """One run: CPU a frame, and for our recorder memory and, when paced, delays."""
    with FrameServer(place, frames=frames - 1, rate=rate) as server:
        with Recorder(kind, place, server.port, name) as recorder:
            server.until("subscribed", START_S)
            time.sleep(1.5)
            memory = _MemoryWatch(recorder)
            before_ns, verifiers = recorder.cpu_ns(), recorder.children()
            verified_ns = sum(map(_cpu_ns, verifiers))
            server.go()
            with memory:
                with _Sleeper() as sleeper:
                    seconds = server.until("done")["seconds"]
                recorder.until_lines(frames)
            result = {
                "recorder": kind,
                "frames": frames,
                "frame_bytes": round(server.frame_bytes),
                "cpu_us": (recorder.cpu_ns() - before_ns) / 1e3 / frames,
                "frames_per_s": (frames - 1) / seconds,
                "resident_mb": memory.samples,
            }
            if verifiers == recorder.children() != []:
                result["verifier_cpu_us"] = (sum(map(_cpu_ns, verifiers)) - verified_ns) / 1e3 / frames
                result["verifier_mb"] = max(map(_resident_bytes, verifiers)) / 1e6
        recorder.must_be_verified()
        if rate and kind != NAIVE:  # the recorder has ended: lines are written before their receipts
            result["delay_ms"] = delays_ms(recorder.directory)
            result["sleeper_ms"] = sleeper.longest_ms
        shutil.rmtree(recorder.directory)
        return result


def take_turns(kinds: Sequence[str], place: Place, *, frames: int, rate: float, rounds: int) -> list[dict]:
    """CPU a frame, a row a turn: all run all the time, and one after the other receives for a second or so."""
    rows = []
    with ExitStack() as stack:
        running = []
        for kind in kinds:
            server = stack.enter_context(FrameServer(place, frames=frames, rate=rate))
            recorder = stack.enter_context(Recorder(kind, place, server.port, f"turns-{kind.replace(' ', '-')}"))
            server.until("subscribed", START_S)
            running.append((kind, server, recorder))
        time.sleep(1.5)
        for number in range(rounds + 1):
            for kind, server, recorder in running:
                verifiers = recorder.children()
                before_ns, verified_ns = recorder.cpu_ns(), sum(map(_cpu_ns, verifiers))
                server.go()
                server.until("done")
                time.sleep(SETTLE_S)
                row = {"recorder": kind, "cpu_us": (recorder.cpu_ns() - before_ns) / 1e3 / frames}
                if verifiers:
                    row["verifier_cpu_us"] = (sum(map(_cpu_ns, verifiers)) - verified_ns) / 1e3 / frames
                if number:  # the first turn warms up
                    rows.append(row)
        for kind, _, recorder in running:
            if kind == OURS:
                recorder.must_be_verified()
    return rows


class _MemoryWatch:
    """Resident megabytes, ten times a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[float] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.samples.append(self._recorder.resident_bytes() / 1e6)
            if self._over.wait(0.1):
                return


class _Sleeper:
    """How late a process that does nothing but sleep wakes up at worst: what the machine itself adds to a delay."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(SLEEP_S)
            self.longest_ms = max(self.longest_ms, (time.monotonic() - began - SLEEP_S) * 1e3)


def delays_ms(directory: Path) -> dict:
    """Receive time less the sender's stamp, of every frame after the snapshot."""
    found = []
    for path in sorted(directory.glob("l3-*.ndjson")):
        receipts = RECEIPT.iter_unpack(path.with_suffix(".receipts").read_bytes())
        for line, receipt in zip(path.read_bytes().splitlines(), receipts):
            if b'"type":"update"' in line[:50]:
                found.append((receipt[0] - parse_rfc3339(line[-34:-4].decode())) / 1e6)
    found.sort()
    return {"frames": len(found), "p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "max": found[-1]}


def reconnects(kinds: list[str], place: Place) -> list[dict]:
    """From a cut connection to the next snapshot, as the server sees it; all recorders wait at the same time."""
    with ExitStack() as stack:
        running = []
        for number, kind in enumerate(kinds):
            server = stack.enter_context(FrameServer(place, rate=DROP_RATE, drop_after_s=HEALTHY_S))
            stack.enter_context(Recorder(kind, place, server.port, f"drop-{number}"))
            running.append((kind, server))
        for _, server in running:
            server.until("subscribed", START_S)
        return [{"recorder": kind, "back_ms": server.until("back")["back_ms"]} for kind, server in running]


def report(results: dict, console: Console) -> None:
    """The table; the last column says what the issue asks for."""
    kinds = results["kinds"]
    table = Table(title="Capture over TLS, one record a frame of about 370 bytes", title_justify="left", box=None)
    for name in ("measurement", *kinds, "ratio", "asked for"):
        table.add_column(name, justify="left" if name in ("measurement", "asked for") else "right", no_wrap=True)
    for key, title, asked in (
        ("flood", "CPU us/frame, flood", "2 x less"),
        ("steady", "CPU us/frame, 4,000/s", "1.5 x less"),
    ):
        cpu = _medians(results.get(key, []), "cpu_us")
        if NAIVE in cpu:
            table.add_row(title, *(f"{cpu[k]:.1f}" for k in kinds), f"{cpu[NAIVE] / cpu[OURS]:.2f}", asked)
        if FLOOR in cpu:
            ratio = f"{cpu[OURS] / cpu[FLOOR]:.2f}"
            table.add_row("  picows that drops, ours to it", f"{cpu[FLOOR]:.1f}", "-", ratio, "at most 1.3")
        beside = _medians(results.get(key, []), "verifier_cpu_us")
        if beside and key == "steady":  # in a flood it is behind when the recorder is done
            table.add_row("  its live verifier beside", *(_cell(beside.get(k), ".2f") for k in kinds), "", "< 1")
    delay = {each["recorder"]: each["delay_ms"] for each in results.get("fast", [])}
    for name in ("p50", "p99", "max"):
        if delay:
            cells = (_cell(delay.get(k, {}).get(name), ".2f") for k in kinds)
            table.add_row(f"delay ms at 10,000/s, {name}", *cells, "", "< 100" if name == "max" else "")
    if delay:
        late = {each["recorder"]: each["sleeper_ms"] for each in results["fast"]}
        table.add_row("  a process that only sleeps, max", *(_cell(late.get(k), ".2f") for k in kinds))
    if "memory" in results:
        _report_memory(results["memory"], kinds, table)
    for kind_rows in _by_kind(results.get("reconnects", []), kinds):
        table.add_row("cut to next snapshot, ms", *kind_rows, "", "< 300")
    console.print(table)
    console.print(f"{results['machine']}; ratio: as the original / {OURS}", style="dim")


def _report_memory(memory: dict, kinds: list[str], table: Table) -> None:
    samples, frames = memory["resident_mb"], memory["frames"]
    for q in range(4):
        most = max(samples[len(samples) * q // 4 : max(1, len(samples) * (q + 1) // 4)])
        cells = (f"{most:.0f}" if k == OURS else "-" for k in kinds)
        asked = "< 120, flat" if q == 3 else ""
        table.add_row(f"MB resident, {frames / 1e6:g}M frames, part {q + 1}/4", *cells, "", asked)
    if "verifier_mb" in memory:
        cells = (f"{memory['verifier_mb']:.0f}" if k == OURS else "-" for k in kinds)
        table.add_row("  its live verifier beside", *cells)


def _medians(rows: list[dict], field: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if field in row:
            found.setdefault(row["recorder"], []).append(row[field])
    return {kind: statistics.median(values) for kind, values in found.items()}


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _by_kind(rows: list[dict], kinds: list[str]) -> list[list[str]]:
    found = {kind: [f"{row['back_ms']:.0f}" for row in rows if row["recorder"] == kind] for kind in kinds}
    count = max(map(len, found.values()))
    return [[found[kind][n] if n < len(found[kind]) else "-" for kind in kinds] for n in range(count)]


STEPS = ("flood", "steady", "fast", "memory", "reconnects")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.capture", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the figures for programs")
    parser.add_argument("--scale", type=int, default=1, help="divide the frames by this: a try, not a measurement")
    parser.add_argument("--only", choices=STEPS, nargs="+", default=STEPS, help="leave out the other measurements")
    options = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        raise SystemExit("bench.capture reads /proc/PID/task/*/schedstat, which only Linux has")
    kinds = [OURS, NAIVE]
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = 120
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as directory:
        results = run_all(kinds, Place(Path(directory)), options.scale, options.only, console)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        report(results, console)


def run_all(kinds: list[str], place: Place, scale: int, steps: Sequence[str], console: Console) -> dict:
    results: dict = {"kinds": kinds, "machine": describe_machine()}
    # (frames, frames a second, rounds: the recorders take turns, so that a busy machine is busy for all)
    runs = {"flood": (200_000, 0, 3), "fast": (200_000, 10_000, 1)}
    for key, (frames, rate, rounds) in runs.items():
        if key not in steps:
            continue
        results[key] = []
        for number in range((rounds if scale == 1 else 1) * len(kinds)):
            kind = kinds[number % len(kinds)]
            if key == "fast" and kind == NAIVE:
                continue  # it keeps no receive times
            with console.status(f"{key}: {kind}"):
                results[key].append(measure(kind, place, f"{key}-{number}", frames=_hundreds(frames, scale), rate=rate))
    if "steady" in steps:
        with console.status("4,000 frames a second, in turns"):
            rounds = max(1, 20 // scale)
            results["steady"] = take_turns([FLOOR, *kinds], place, frames=4_000, rate=4_000, rounds=rounds)
    if "memory" in steps:
        with console.status("memory over 5 million frames"):
            results["memory"] = measure(OURS, place, "memory", frames=_hundreds(5_000_000, scale))
    if "reconnects" in steps:
        with console.status(f"reconnecting (after {HEALTHY_S} s of good health)"):
            results["reconnects"] = reconnects([OURS, OURS, NAIVE], place)
    return results


def _hundreds(frames: int, scale: int) -> int:
    """The original flushes each 100: the last line must be one of those."""
    return max(1, frames // scale // 100) * 100


if __name__ == "__main__":
    main()
