"""Whatever the files beside the data are: every command reads the data without them, and `verify` tells of them."""

import contextlib
import io
import json
import os
import shutil
import threading

import pytest

import kraken_l3
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import RECEIPT_BYTES
from kraken_l3.archive.sealing import day_sealing, seal
from kraken_l3.archive.summary import summarise
from kraken_l3.cli.commands import APP
from kraken_l3.clock import SystemClock
from kraken_l3.model.frames import Frame
from kraken_l3.rebuild.live import LiveVerifier
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.sealing import describe
from kraken_l3.rebuild.verify import verify
from scenes import NOON_NS, Scene

DAY = "2026-11-22"
DATA = f"l3-{DAY}.ndjson"
MESSAGES = 400

COMPANIONS = (
    f"l3-{DAY}.receipts",
    f"journal-{DAY}.ndjson",
    f"l3-{DAY}.checkpoints",
    f"l3-{DAY}.manifest.json",
    f"l3-{DAY}.repair",
    f"l3-{DAY}.torn",
    f"instruments-{DAY}.ndjson",
    f"instruments-{DAY}.receipts",
    f"trade-{DAY}.ndjson",
    f"trade-{DAY}.receipts",
)
ABSURD = (
    b'{"kind":"ack","at_ns":99999999999999999999,"connection":-1,"channel":"level3","symbol":"","depth":10}\n'
    b'{"kind":"instruments","at_ns":1,"instruments":[{"symbol":"BTC/USD","price_precision":99,"qty_precision":-4}]}\n'
    b'{"kind":"rotated","at_ns":1,"next_day":"2026-02-31"}\n{"line":-1,"end_offset":1e99,"symbol":"BTC/USD"}\n'
)
DAMAGE = {
    "empty": lambda _: b"",
    "no text": lambda old: b"\xff" * max(len(old), 64),
    "NULs": lambda old: bytes(max(len(old), 64)),
    "nested": lambda _: b"[" * 100_000,
    "cut": lambda old: old[: len(old) * 2 // 3],
    "its head is gone": lambda old: old[len(old) // 3 :],
    "bits": lambda old: bytes(byte ^ (0x10 if at % 97 == 5 else 0) for at, byte in enumerate(old)),
    "absurd": lambda old: ABSURD + old,
    "packed": lambda old: b"BZh9" + old,
    "gzip": lambda old: b"\x1f\x8b\x08" + old,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    scene = Scene(directory)
    lines = scene.flow(MESSAGES)
    scene.write(lines[:100])
    scene.gap()
    scene.write(lines[100:])
    pair = b'{"channel":"instrument","type":"snapshot","data":{"pairs":[{"symbol":"BTC/USD","price_precision":1}]}}'
    trade = b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1,"qty":1}]}'
    for stream, line in (("instrument", pair), ("trade", trade)):
        scene.writer.append(stream, [Frame(line, NOON_NS, 1, 1)])
    scene.close()
    stop = threading.Event()
    stop.set()
    LiveVerifier(directory, lambda _: None, stop=stop).run()
    names = DATA, f"trade-{DAY}.ndjson", f"instruments-{DAY}.ndjson"
    plain = {name: (directory / name).read_bytes() for name in names}
    sealing = day_sealing(OsFileSystem(), directory, open_archive(directory).days[0])
    seal(sealing, filesystem=OsFileSystem(), clock=SystemClock(), describe=describe)
    for name, content in plain.items():
        (directory / f"{name}.zst").unlink()
        (directory / name).write_bytes(content)
    (directory / f"l3-{DAY}.repair").write_bytes(b'{"repairs":[]}')
    assert {DATA, *COMPANIONS} - {path.name for path in directory.iterdir()} == {f"l3-{DAY}.torn"}
    return directory


def command(*words):
    """Exit code and output of a command, stderr last."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = APP([*map(str, words)], standalone_mode=False)
    return code or 0, out.getvalue(), err.getvalue()


def look(directory):
    """All commands, and what they make of the data."""
    report = Report(require_complete=False)
    report.add(directory, verify(directory))
    info = summarise(open_archive(directory))
    archive = kraken_l3.open(directory)
    lines = [line.payload for line in archive.messages()]
    return {
        "ok": report.total()["ok"],
        "code": report.exit_code(),
        "lines": next(file.lines for file in info.files if file.name == DATA),
        "payloads": lines,
        "book": archive.book("BTC/USD").bids[:10],
        "symbols": archive.symbols,
    }, report


@pytest.fixture(scope="module")
def expected(whole):
    return look(whole)[0]


@pytest.mark.parametrize("name", COMPANIONS)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_the_data_is_read_without_a_damaged_companion(whole, expected, tmp_path, name, damage):
    directory = shutil.copytree(whole, tmp_path / "a")
    old = (directory / name).read_bytes() if (directory / name).exists() else b"{}"
    (directory / name).write_bytes(damage(old))
    found, report = look(directory)
    assert found == expected
    if name.endswith(("receipts", "manifest.json")) and name.startswith("l3") and damage(old) != b"":
        assert name in {each.file for each in report.companions} or damage is DAMAGE["cut"]


@pytest.mark.parametrize("line", [0, 3, MESSAGES // 2])
def test_a_receive_time_at_the_end_of_time_ends_no_reading(whole, expected, tmp_path, line):
    directory = shutil.copytree(whole, tmp_path / "a")
    path = directory / f"l3-{DAY}.receipts"
    receipts = bytearray(path.read_bytes())
    receipts[line * RECEIPT_BYTES : line * RECEIPT_BYTES + 8] = (2**63 - 1).to_bytes(8, "little")
    path.write_bytes(receipts)
    archive = kraken_l3.open(directory)
    assert [each.payload for each in archive.messages()] == expected["payloads"]
    assert archive.events("BTC/USD").read_all().num_rows == kraken_l3.open(whole).events("BTC/USD").read_all().num_rows


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs")
@pytest.mark.parametrize("name", COMPANIONS)
@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "dangling link"])
def test_nor_one_that_is_no_file(whole, expected, tmp_path, name, kind):
    directory = shutil.copytree(whole, tmp_path / "a")
    path = directory / name
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nowhere/at/all")
    found, _ = look(directory)
    assert found == expected


@pytest.mark.parametrize("name", [f"journal-{DAY}.ndjson", f"l3-{DAY}.receipts", f"l3-{DAY}.checkpoints"])
def test_every_command_goes_on_and_verify_tells(whole, tmp_path, name):
    pytest.importorskip("pyarrow")
    directory = shutil.copytree(whole, tmp_path / "a")
    (directory / name).write_bytes(DAMAGE["bits"]((directory / name).read_bytes()))
    code, out, _ = command("verify", directory)
    assert (code, f"Damaged beside the data, and read without: {name}, line" in out) == (0, True)
    _, out, _ = command("verify", directory, "--json", "--require-complete")
    assert name in {each["file"] for each in json.loads(out)["result"]["companions"]}
    code, _, err = command("book", directory, "--symbol", "BTC/USD")
    assert (code, f"read without: {name}" in err) == (0, name.startswith("journal"))
    assert name in command("info", directory)[1]
    for table in ("events", "snapshots"):
        code, out, err = command("export", table, directory, "--out", tmp_path / "o", "--json")
        assert (code, json.loads(out)["result"]["ok"], f"read without: {name}" in err) == (0, MESSAGES, True)


def test_gaps_may_be_missing_where_a_journal_is_damaged(tmp_path):
    directory = Scene(tmp_path).close()
    (tmp_path / DATA).write_bytes(b"")
    with (tmp_path / f"journal-{DAY}.ndjson").open("ab") as file:
        file.write(b"\xff\n")
    report = Report(require_complete=True)
    report.companions = []
    report.add(directory, verify(directory))
    assert [each.is_journal for each in report.companions] == [True]
    assert report.exit_code() == 3
