"""`info` and `recover` as a user types them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    Rejected,
    Started,
    Stopped,
    TradeGap,
)
from kraken_l3.archive.receipts import MALFORMED
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_DAY, parse_rfc3339

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")
SECOND_NS = 1_000_000_000
DAY = "2026-11-22"
DATA = f"l3-{DAY}.ndjson"
DOCS = Path(__file__).parents[2] / "docs" / "archive-format.md"


class Clock:
    now_ns = NOON_NS

    def wall_ns(self):
        return self.now_ns

    def mono_ns(self):
        return self.now_ns - NOON_NS


def run(*arguments, cwd=None):
    command = [sys.executable, "-m", "kraken_l3", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=60)


def facts(*arguments):
    done = run(*arguments, "--json")
    return json.loads(done.stdout)["result"]


def message(symbol, kind="update"):
    return b'{"channel":"level3","type":"%s","data":[{"symbol":"%s","checksum":1}]}' % (kind.encode(), symbol.encode())


def at(seconds):
    return {"at_ns": NOON_NS + seconds * SECOND_NS}


@pytest.fixture
def recording(tmp_path):
    """Two symbols, one closed gap, one rejection, a trade gap; killed, not stopped."""
    directory = tmp_path / "data"
    writer = ArchiveWriter.open(directory, clock=Clock())
    writer.journal(Started(**at(0), version="0", host="h", boot_id="b", pid=1, config={}))
    writer.journal(Connected(**at(0), connection=1, url="x", channel="level3", symbols=["BTC/USD", "ETH/USD"]))
    for symbol in ("BTC/USD", "ETH/USD"):
        writer.journal(Acknowledged(**at(0), connection=1, channel="level3", symbol=symbol, depth=10))
        frames = [Frame(message(symbol, "snapshot"), NOON_NS, 0, 1), Frame(message(symbol), NOON_NS + 5, 0, 1)]
        writer.append("level3", frames)
    odd = b'{ "type":"update", "channel":"level3", "data":[{"checksum":1,"symbol":"ETH/USD"}]}'
    writer.append("level3", [Frame(odd, NOON_NS + 9 * SECOND_NS, 0, 1), Frame(b"<html>", NOON_NS, 0, 1, MALFORMED)])
    writer.append("instrument", [Frame(b'{"channel":"instrument","type":"snapshot","data":{}}', NOON_NS, 0, 2)])
    gap = {"channel": "level3", "symbol": "ETH/USD", "cause": "mismatch", "left_ns": NOON_NS}
    writer.journal(GapOpened(**at(1), **gap))
    writer.journal(GapClosed(**at(2), **gap, right_ns=NOON_NS + 345_000_000))
    for _ in range(2):
        error = "Currency pair not supported"
        writer.journal(Rejected(**at(3), connection=1, channel="level3", symbol="XBT/USD", error=error))
    writer.journal(TradeGap(**at(4), symbol="BTC/USD", last_id=10, next_id=14, connection=2))
    writer.close()  # without the records of an orderly stop
    return directory


class TestInfo:
    def test_a_table_for_people(self, recording):
        done = run("info", recording)
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 110
        assert re.search(r"^BTC/USD +2 +\d+ B +1 +12:00:00.000 +12:00:00.000", done.stdout, re.MULTILINE)
        assert re.search(r"level3 +ETH/USD +mismatch .* 0\.345 s", done.stdout)
        assert "Rejected by Kraken: level3 XBT/USD: Currency pair not supported (2 x" in done.stdout
        assert "ids between 10 and 14" in done.stdout
        assert "1 lines were malformed as received" in done.stdout
        assert done.stderr == ""

    def test_json_for_programs(self, recording):
        told = facts("info", recording)
        instruments, level3 = told["files"]
        assert level3["lines"] == 6
        assert level3["bytes"] == (recording / DATA).stat().st_size
        assert [(s["symbol"], s["lines"], s["snapshots"]) for s in level3["symbols"]] == [
            ("BTC/USD", 2, 1),
            ("ETH/USD", 3, 1),
        ]
        assert level3["symbols"][1]["last_received_ns"] == NOON_NS + 9 * SECOND_NS
        assert sum(s["bytes"] for s in level3["symbols"]) == level3["bytes"] - len(b"<html>\n")
        assert (level3["malformed"], level3["other_lines"], level3["connections"]) == (1, 1, [1])
        assert instruments["connections"] == [2]
        assert told["gaps"] == [
            {
                "channel": "level3",
                "symbol": "ETH/USD",
                "cause": "mismatch",
                "left_ns": NOON_NS,
                "right_ns": NOON_NS + 345_000_000,
                "seconds": 0.345,
            }
        ]
        assert [(c["connection"], c["ended_ns"]) for c in told["connections"]] == [(1, None)]
        assert told["rejected"][0]["times"] == 2
        assert told["missing"] == []

    def test_much_data_is_counted_only_when_asked_for(self, tmp_path):
        writer = ArchiveWriter.open(tmp_path, clock=Clock())
        writer.journal(Acknowledged(**at(0), connection=1, channel="level3", symbol="BTC/USD", depth=10))
        line = message("BTC/USD", "snapshot")[:-1] + b" " * 40_000_000 + b"}"
        writer.append("level3", [Frame(line, NOON_NS + n, 0, 1) for n in range(2)])
        writer.close()
        done = run("info", tmp_path)
        assert f"{DATA}: 2 lines, 76.3 MiB, received 12:00:00.000 to 12:00:00.000 UTC" in done.stdout
        assert "were not counted: --count reads the data for them" in done.stdout
        assert [(s["symbol"], s["lines"]) for s in facts("info", tmp_path)["files"][0]["symbols"]] == [
            ("BTC/USD", None)
        ]
        done = run("info", tmp_path, "--count")
        assert re.search(r"^BTC/USD +2 +76.3 MiB +2 +12:00:00.000 +12:00:00.000", done.stdout, re.MULTILINE)
        assert "not counted" not in done.stdout

    def test_a_gap_over_midnight_is_one_gap(self, tmp_path):
        clock = Clock()
        writer = ArchiveWriter.open(tmp_path, clock=clock)
        gap = {"channel": "level3", "symbol": "BTC/USD", "cause": "network", "left_ns": NOON_NS}
        writer.journal(Connected(**at(0), connection=1, url="x", channel="level3", symbols=["BTC/USD"]))
        writer.journal(GapOpened(**at(1), **gap))
        clock.now_ns += NS_PER_DAY
        writer.append("level3", [Frame(message("BTC/USD", "snapshot"), clock.now_ns, 0, 1)])
        writer.journal(GapClosed(at_ns=clock.now_ns, **gap, right_ns=clock.now_ns))
        writer.journal(Disconnected(at_ns=clock.now_ns, connection=1, cause="stop"))
        writer.journal(Stopped(at_ns=clock.now_ns, reason="SIGTERM"))
        writer.close()
        told = facts("info", tmp_path)
        assert [(g["cause"], g["seconds"]) for g in told["gaps"]] == [("network", 86_400.0)]
        assert len(told["connections"]) == 1
        assert told["stops"] == 1
        assert "24 h 00 min 00 s" in run("info", tmp_path).stdout

    def test_a_file_of_another_recorder_says_what_it_lacks(self, tmp_path):
        path = tmp_path / "btc.ndjson"
        path.write_bytes(b"\xef\xbb\xbf" + message("BTC/USD", "snapshot") + b"\r\n\r\n" + message("BTC/USD") + b"\r\n{")
        done = run("info", path)
        assert done.returncode == 0
        assert "no receipts" in done.stdout
        (file,) = facts("info", path)["files"]
        assert (file["lines"], file["other_lines"], file["has_receipts"]) == (3, 1, False)
        assert (file["symbols"][0]["lines"], file["symbols"][0]["snapshots"]) == (2, 1)

    def test_a_directory_without_journal_says_so(self, tmp_path):
        (tmp_path / DATA).write_bytes(message("BTC/USD") + b"\n")
        assert f"journal-{DAY}.ndjson: no journal" in run("info", tmp_path).stdout

    def test_many_symbols_fit_a_screen(self, tmp_path):
        lines = [message(f"S{i:03}/USD") for i in range(300) for _ in range(1 + i % 3)]
        (tmp_path / DATA).write_bytes(b"\n".join(lines) + b"\n")
        done = run("info", tmp_path)
        assert "270 more" in done.stdout
        assert len(done.stdout.splitlines()) < 45
        assert len(facts("info", tmp_path)["files"][0]["symbols"]) == 300

    def test_nothing_to_show_is_a_usage_error(self, tmp_path):
        for path in (tmp_path, tmp_path / "missing"):
            done = run("info", path)
            assert done.returncode == 1
            assert str(path) in done.stderr
            assert "Traceback" not in done.stderr


class TestRecover:
    def test_damage_is_set_aside_and_told_once(self, recording):
        size = (recording / DATA).stat().st_size
        with (recording / DATA).open("ab") as file:
            file.write(b'{"half')
        done = run("recover", recording)
        assert done.returncode == 2, done.stderr
        assert f"{DATA}: 6 bytes at offset {size} (torn) moved to l3-{DAY}.torn" in done.stdout
        assert "gap opened (cause crash) for BTC/USD, ETH/USD" in done.stdout
        assert (recording / f"l3-{DAY}.torn").read_bytes() == b'{"half'
        assert (recording / DATA).stat().st_size == size
        again = run("recover", recording)
        assert again.returncode == 0
        assert "Nothing to do" in again.stdout
        told = run("info", recording).stdout
        assert "6 bytes moved to" in told
        assert "The recording ends at 2026-11-22 12:00:" in told
        assert "(crash)" in told

    def test_a_crash_without_damage_ends_with_0(self, recording):
        done = run("recover", recording, "--json")
        assert done.returncode == 0
        told = json.loads(done.stdout)["result"]
        assert told["connections_closed"] == [1]
        assert {gap["symbol"] for gap in told["gaps_opened"]} == {"BTC/USD", "ETH/USD"}
        assert (told["repairs"], told["set_aside_bytes"]) == ([], 0)

    def test_a_directory_in_use_is_left_alone(self, tmp_path):
        writer = ArchiveWriter.open(tmp_path, clock=Clock())
        done = run("recover", tmp_path)
        assert done.returncode == 5
        assert f"pid {os.getpid()}" in done.stderr
        writer.close()

    def test_what_is_no_directory_is_a_usage_error(self, tmp_path):
        assert run("recover", tmp_path / "missing").returncode == 1
        assert run("recover").returncode == 1


def without_malformed(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))


class TestFormatDocument:
    def blocks(self, language):
        return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

    def test_its_python_runs(self, recording, monkeypatch, capsys):
        pytest.importorskip("numpy")
        without_malformed(recording / DATA)
        lines = (recording / DATA).read_bytes().count(b"\n")
        receipts_path = (recording / DATA).with_suffix(".receipts")
        receipts_path.write_bytes(receipts_path.read_bytes()[: 32 * lines])
        monkeypatch.chdir(recording)
        receipts, reader, _companion = self.blocks("python")  # that of a merged archive is not here
        names = {}
        exec(receipts, names)
        assert list(names["receipts"]["recv_ns"][:2]) == [NOON_NS, NOON_NS + 5]
        assert names["receipts"]["end_offset"][0] == len(message("BTC/USD", "snapshot")) + 1
        exec(reader, {})
        assert capsys.readouterr().out.startswith(f"{NOON_NS} b'")

    def test_its_shell_commands_run(self, recording):
        if subprocess.run(["sh", "-c", "command -v jq"], capture_output=True).returncode:
            pytest.skip("jq is not installed")
        without_malformed(recording / DATA)
        (shell,) = self.blocks("sh")
        done = subprocess.run(["sh", "-ec", shell], capture_output=True, text=True, cwd=recording)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "BTC/USD\t1"
        assert '"gap_closed"' in done.stdout

    def test_every_record_field_flag_and_cause_is_described(self):
        import msgspec

        from kraken_l3.archive import journal, receipts

        text = DOCS.read_text(encoding="utf-8")
        table = text[text.index("## Journal") : text.index("### Causes")]
        for record in journal.Record.__args__:
            info = msgspec.inspect.type_info(record)
            (row,) = re.findall(rf"^\| `{info.tag}` \|.*$", table, re.MULTILINE)
            own = [field.name for field in info.fields if field.name not in ("at_ns", "mono_ns", "restated")]
            assert all(f"`{name}`" in row for name in own), (info.tag, own)
        for name in ("NEWLINE_REPLACED", "RECEIVE_TIME_UNKNOWN", "MALFORMED"):
            assert f"| {getattr(receipts, name)} | `{name}` |" in text
        causes = journal.GapOpened.__doc__.split("Causes:")[1].split(".")[0]
        for cause in causes.replace("\n", " ").split(","):
            assert f"| `{cause.strip()}` |" in text
