"""`seal` and `check` as a user types them, and every other command on what they leave."""

import datetime as dt
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.journal import Acknowledged, Connected, Disconnected, Started, Stopped
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339

DAYS = ("2026-03-01", "2026-03-02")
START_NS = parse_rfc3339("2026-03-01T23:59:00Z")
MESSAGES = 3000
SYMBOLS = ["BTC/USD", "ETH/USD"]
L3 = [f"l3-{day}.ndjson" for day in DAYS]


class Clock:
    now_ns = START_NS

    def wall_ns(self):
        return self.now_ns

    def mono_ns(self):
        return self.now_ns - START_NS


def run(*words):
    done = subprocess.run([sys.executable, "-m", "kraken_l3", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def as_json(*words, code=0):
    found, out, err = run(*words, "--json")
    assert found == code, err
    return json.loads(out)["result"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A recording over midnight, ended in order, long ago."""
    directory = tmp_path_factory.mktemp("original")
    clock = Clock()
    writer = ArchiveWriter.open(directory, clock=clock)

    def note(kind, **fields):
        writer.journal(kind(at_ns=clock.wall_ns(), mono_ns=clock.mono_ns(), **fields))

    note(Started, version="0", host="h", boot_id="b", pid=1, config={})
    note(Connected, connection=1, url="wss://x", channel="level3", symbols=SYMBOLS)
    for symbol in SYMBOLS:
        note(Acknowledged, connection=1, channel="level3", symbol=symbol, depth=10)
    step = 2 * 60 * NS_PER_S // MESSAGES
    trades = []
    for line in generate(symbols=SYMBOLS, messages=MESSAGES, seed=1, start_ns=START_NS, trades=trades.append):
        clock.now_ns += step
        writer.append("level3", [Frame(line, clock.now_ns, clock.mono_ns(), 1, 0)])
        for trade in trades:
            writer.append("trade", [Frame(trade, clock.now_ns, clock.mono_ns(), 1, 0)])
        trades.clear()
    writer.sync()
    note(Disconnected, connection=1, cause="stop", last_frame_ns=clock.wall_ns())
    note(Stopped, reason="SIGTERM")
    writer.close()
    return directory


@pytest.fixture
def archive(original, tmp_path):
    return shutil.copytree(original, tmp_path / "archive")


@pytest.fixture(scope="module")
def sealed(original, tmp_path_factory):
    directory = shutil.copytree(original, tmp_path_factory.mktemp("sealed") / "archive")
    code, out, err = run("seal", directory)
    assert (code, err) == (0, ""), err
    assert "verified" in out
    return directory


def payloads(directory, stream="level3"):
    return [(line.payload, line.receipt) for line in open_archive(directory).lines(stream)]


class TestSeal:
    def test_every_day_is_sealed_with_its_verdicts(self, original, sealed):
        names = {path.name for path in sealed.iterdir()}
        assert not names & {*L3, *(name.replace("l3", "trade") for name in L3)}
        for day, name in zip(DAYS, L3):
            manifest = json.loads((sealed / f"l3-{day}.manifest.json").read_text())
            plain = (original / name).read_bytes()
            entry = next(file for file in manifest["files"] if file["name"] == f"{name}.zst")
            assert entry["content"]["bytes"] == len(plain)
            assert entry["content"]["lines"] == plain.count(b"\n")
            contains = manifest["contains"]
            level3 = next(stream for stream in contains["streams"] if stream["stream"] == "level3")
            assert level3["symbols"] == SYMBOLS
            assert level3["first_received_ns"] < level3["last_received_ns"]
            assert contains["depths"] == dict.fromkeys(SYMBOLS, 10)
            assert contains["verdicts"]["total"]["messages"] == plain.count(b"\n")
            assert contains["verdicts"]["total"]["mismatched"] == 0
            alone = any("day alone" in text for text in contains["missing"])
            assert alone == (day == DAYS[1])  # nobody wrote checkpoints for its start

    def test_again_there_is_nothing_to_do(self, sealed):
        before = {path: path.stat().st_mtime_ns for path in sealed.iterdir()}
        del before[sealed / "seal.lock"]
        code, out, _ = run("seal", sealed)
        assert (code, out) == (0, "Nothing to seal.\n")
        assert {path: path.stat().st_mtime_ns for path in before} == before

    def test_one_day_by_its_date_or_its_file(self, archive):
        facts = as_json("seal", archive, "--day", DAYS[0])
        assert [sealed["day"] for sealed in facts["sealed"]] == [DAYS[0]]
        facts = as_json("seal", archive / L3[1])
        assert [sealed["day"] for sealed in facts["sealed"]] == [DAYS[1]]
        assert facts["sealed"][0]["files"][0]["name"] == f"{L3[1]}.zst"

    def test_a_recorders_own_day_is_left_alone(self, archive):
        lock = DirectoryLock(archive)
        try:
            facts = as_json("seal", archive)
            assert [sealed["day"] for sealed in facts["sealed"]] == [DAYS[0]]
            assert "was not sealed" in facts["remarks"][0]
            code, _, err = run("seal", archive, "--day", DAYS[1])
            assert (code, "not closed" in err) == (1, True)
        finally:
            lock.release()
        assert (archive / L3[1]).exists()

    def test_two_at_once_do_not_meddle(self, archive):
        lock = DirectoryLock(archive, "seal.lock")
        code, _, err = run("seal", archive)
        lock.release()
        assert code == 5
        assert "seal" in err

    def test_a_file_of_another_recorder(self, archive, tmp_path):
        path = tmp_path / "btc.ndjson"
        lines = b"".join(line + b"\n" for line in generate(messages=200, seed=2))
        path.write_bytes(lines)
        assert "btc.ndjson.zst" in run("seal", path)[1]
        assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == [
            "btc.manifest.json",
            "btc.ndjson.zst",
            "seal.lock",
        ]
        assert as_json("verify", f"{path}.zst")["lines"] == 200
        assert run("check", f"{path}.zst")[0] == 0

    def test_two_copies_that_differ_are_damage_and_the_other_days_are_sealed(self, archive):
        (archive / f"{L3[0]}.zst").write_bytes(b"")
        code, out, _ = run("seal", archive)
        assert code == 2
        assert "Nothing was removed" in out
        assert (archive / L3[0]).exists()
        assert (archive / f"{L3[1]}.zst").exists()

    @pytest.mark.parametrize(
        ("words", "what"),
        [
            (["nowhere"], "no such file"),
            ([str(Path(__file__).parent)], "no archive here"),
            ([".", "--day", "yesterday"], "not a date"),
            ([".", "--day", "2001-01-01"], "not closed, or not recorded"),
        ],
    )
    def test_what_cannot_work_is_said(self, archive, words, what):
        code, _, err = run("seal", archive if words[0] == "." else words[0], *words[1:])
        assert code == 1
        assert what in err

    def test_it_gives_way_when_asked(self, archive):
        assert run("seal", "--low-priority", archive)[0] == 0


class TestKilled:
    @pytest.mark.parametrize("seed", range(3))
    def test_at_random_moments_nothing_is_lost_and_again_finishes(self, original, archive, seed):
        rng = random.Random(seed)
        before = {stream: payloads(original, stream) for stream in ("level3", "trade")}
        for _ in range(4):
            child = subprocess.Popen([sys.executable, "-m", "kraken_l3", "seal", archive], stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 20
            while not (archive / "seal.lock").exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(rng.random() * 0.5)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert {stream: payloads(archive, stream) for stream in before} == before
        assert run("seal", archive)[0] == 0
        assert {stream: payloads(archive, stream) for stream in before} == before
        assert run("check", archive)[0] == 0
        assert not list(archive.glob("*.tmp"))
        assert not (archive / L3[0]).exists()


def without_names(facts, *left_out):
    text = json.dumps({name: value for name, value in facts.items() if name not in left_out})
    return json.loads(text.replace(".ndjson.zst", ".ndjson"))


class TestOtherCommands:
    def test_verify(self, original, sealed):
        plain, packed = (as_json("verify", path) for path in (original, sealed))
        assert plain["total"]["ok"] == MESSAGES
        assert without_names(packed, "paths", "seconds") == without_names(plain, "paths", "seconds")

    def test_info(self, original, sealed):
        plain, packed = (as_json("info", path) for path in (original, sealed))
        journal = ("path", "starts", "stops")
        assert without_names(packed, *journal) == without_names(plain, *journal)

    @pytest.mark.parametrize("at", ["2026-03-01T23:59:30Z", "2026-03-02T00:00:00Z", "2026-03-02T00:00:40Z"])
    def test_book(self, original, sealed, at):
        plain, packed = (as_json("book", path, "--symbol", "ETH/USD", "--at", at) for path in (original, sealed))
        assert without_names(packed, "path") == without_names(plain, "path")

    def test_lines_from_a_moment_on(self, original, sealed):
        moment = START_NS + 90 * NS_PER_S
        plain, packed = (
            [line.payload for line in open_archive(path).lines(start_ns=moment)] for path in (original, sealed)
        )
        assert packed == plain != []

    @pytest.mark.parametrize("number", [0, 1, 700, MESSAGES])
    def test_seeking(self, original, sealed, number):
        plain, packed = (DataFile(open_archive(path).files()[0]) for path in (original, sealed))
        with plain, packed:
            assert packed.at_line(number) == plain.at_line(number)
            offset = plain.at_line(number).offset
            assert packed.at_offset(offset + 3) == plain.at_offset(offset + 3)

    def test_export(self, original, sealed, tmp_path):
        pyarrow = pytest.importorskip("pyarrow.parquet")
        tables = []
        for path, name in ((original, "plain"), (sealed, "packed")):
            code, _, err = run("export", "events", path, "--out", tmp_path / name)
            assert code == 0, err
            files = sorted((tmp_path / name / "events").rglob("*.parquet"))
            tables.append([(file.name, pyarrow.read_table(file)) for file in files])
        assert len(tables[0]) == 4
        assert tables[0] == tables[1]

    def test_a_recorder_goes_on_beside_sealed_days(self, original, archive):
        run("seal", archive)
        clock = Clock()
        clock.now_ns = time.time_ns()
        writer = ArchiveWriter.open(archive, clock=clock)
        writer.append("level3", [Frame(b'{"a":1}', clock.now_ns, 1, 2, 0)])
        day = writer.day
        writer.close()
        assert day > dt.date(2026, 3, 2)
        assert payloads(archive)[:-1] == payloads(original)
        assert run("check", archive)[0] == 0


class TestCheck:
    @pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
    @pytest.mark.parametrize("target", ["/dev/zero", "missing", "."])
    def test_links_for_journals_do_not_stop_it(self, sealed, tmp_path, target):
        archive = shutil.copytree(sealed, tmp_path / "archive")
        for journal in archive.glob("journal-*"):
            journal.unlink()
            journal.symlink_to(target)
        code, out, err = run("check", archive)
        assert (code in (2, 3), err) == (True, "")
        assert "journal-" in out
        assert run("seal", archive)[0] in (0, 5)
        assert run("recover", archive)[0] in (0, 5)

    def test_all_well(self, sealed):
        facts = as_json("check", sealed)
        assert [manifest["faults"] for manifest in facts["manifests"]] == [[], []]
        assert "unchanged" in run("check", sealed)[1]

    def test_one_flipped_byte(self, sealed, tmp_path):
        archive = shutil.copytree(sealed, tmp_path / "archive")
        path = archive / f"{L3[0]}.zst"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
        facts = as_json("check", archive, code=2)
        [fault] = [fault for manifest in facts["manifests"] for fault in manifest["faults"]]
        assert (fault["file"], fault["frame"], fault["first_line"]) == (path.name, 0, 0)
        code, out, _ = run("check", path)
        assert code == 2
        assert f"{path.name}: frame 0 (lines 0 to " in out
        code, out, _ = run("verify", archive)
        assert code == 2
        assert "Unreadable from here" in out
        assert "kraken-l3 check" in out

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
    def test_a_name_that_no_manifest_can_hold_is_refused(self, tmp_path):
        path = tmp_path / "l3-\udcff.ndjson"
        path.write_bytes(b"{}\n")
        code, _, err = run("seal", path)
        assert (code, "is not UTF-8" in err) == (1, True)
        assert path.read_bytes() == b"{}\n"

    def test_nothing_to_check_against(self, original, tmp_path):
        facts = as_json("check", original, code=3)
        assert facts["not_sealed"] == [DAYS[0]]
        (tmp_path / "empty").mkdir()
        code, out, _ = run("check", tmp_path / "empty")
        assert (code, "No manifest" in out) == (3, True)
        assert run("check", original / L3[0])[0] == 3

    def test_a_missing_file(self, sealed, tmp_path):
        archive = shutil.copytree(sealed, tmp_path / "archive")
        (archive / f"trade-{DAYS[0]}.receipts").unlink()
        code, out, _ = run("check", archive)
        assert code == 3
        assert "is missing" in out
        assert run("check", archive / f"l3-{DAYS[1]}.manifest.json")[0] == 0
