"""Files of other recorders: split, packed, in envelopes, under other names. Read, or named; never passed over."""

import contextlib
import datetime as dt
import gzip
import io
import json
import shutil
from pathlib import Path

import pytest

import kraken_l3
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import day_sealing, seal
from kraken_l3.cli.commands import APP
from kraken_l3.clock import SystemClock
from kraken_l3.errors import UsageError
from kraken_l3.exchange.flow import generate
from kraken_l3.rebuild.playback import chains_in
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.sealing import describe
from kraken_l3.rebuild.verify import verify

SPLIT_DAY = Path(__file__).parent / "data" / "split_day"


@pytest.fixture(scope="module")
def lines():
    return list(generate(symbols=["BTC/USD", "ETH/USD"], messages=600, seed=7))


@pytest.fixture(params=["python", "native"])
def engine_name(request):
    if request.param == "native":
        pytest.importorskip("kraken_l3_native", reason="the native engine is not installed")
    return request.param


def write(path, lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def ok(found):
    return sum(report.tally.ok for report in found.symbols.values())


def reported(path, **options):
    report = Report(require_complete=False)
    report.add(path, verify(path, **options))
    return report


# -- names


def test_a_split_day_and_a_gzip_are_read(engine_name):
    found = verify(SPLIT_DAY, engine_name=engine_name)
    (symbol,) = found.symbols.values()
    assert (symbol.tally.messages, symbol.tally.ok, symbol.tally.mismatched) == (3, 2, 1)
    assert found.totals.malformed == 1
    assert [(at.file, at.note.kind) for at in found.notes if at.note.kind != "inferred"][:2] == [
        ("l3-2026-02-21-0001.ndjson", "incident_opened"),
        ("l3-2026-02-21-0001.ndjson", "malformed"),
    ]
    assert (found.exit_code(), found.unread) == (2, [])


def test_a_gzip_alone_is_not_damaged(engine_name):
    report = reported(SPLIT_DAY / "l3-2026-02-22.ndjson.gz", engine_name=engine_name)
    assert (report.verdict(), report.exit_code()) == ("verified", 0)


def test_books_go_on_from_part_to_part_and_into_the_next_day(tmp_path, lines, engine_name):
    write(tmp_path / "l3-2026-02-21.ndjson", lines[:200])
    write(tmp_path / "l3-2026-02-21-0001.ndjson", lines[200:300])
    (tmp_path / "l3-2026-02-21-0002.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines[300:400]) + b"\n"))
    write(tmp_path / "l3-2026-02-22.ndjson", lines[400:])
    found = verify(tmp_path, engine_name=engine_name)
    assert (ok(found), found.exit_code()) == (600, 0)
    assert [part.lines for part in found.files] == [200, 100, 100, 200]
    assert len(chains_in(open_archive(tmp_path))) == 1
    assert [line.payload for line in kraken_l3.open(tmp_path).messages()] == lines
    assert kraken_l3.open(tmp_path).book("BTC/USD") == kraken_l3.open(write(tmp_path / "all", lines)).book("BTC/USD")


def test_a_missing_part_ends_the_books(tmp_path, lines):
    write(tmp_path / "l3-2026-02-21.ndjson", lines[:200])
    write(tmp_path / "l3-2026-02-21-0002.ndjson", lines[300:])
    found = verify(tmp_path)
    assert (ok(found), found.exit_code()) == (200, 3)
    assert len(chains_in(open_archive(tmp_path))) == 2


def test_receipts_and_checkpoints_belong_to_the_first_part(tmp_path, lines):
    write(tmp_path / "l3-2026-02-21-0001.ndjson", lines)
    (tmp_path / "l3-2026-02-21.receipts").write_bytes(bytes(32))
    (tmp_path / "l3-2026-02-21.checkpoints").write_bytes(b"{}\n")
    found = verify(tmp_path)
    assert (ok(found), found.exit_code()) == (600, 0)


def test_a_moment_without_receipts_may_lie_in_an_earlier_file(tmp_path, lines):
    times = [json.loads(line)["data"][0]["timestamp"] for line in lines]
    write(tmp_path / "l3-2026-02-21.ndjson", lines[:300])
    write(tmp_path / "l3-2026-02-22.ndjson", lines[300:])
    whole = write(tmp_path / "all.dat", lines)
    at = times[200]
    assert kraken_l3.open(tmp_path).book("BTC/USD", at) == kraken_l3.open(whole).book("BTC/USD", at)


def test_nothing_is_verified_beside_data_that_is_not_looked_at(tmp_path, lines):
    write(tmp_path / "l3-2026-02-21.ndjson", lines)
    write(tmp_path / "theirs.ndjson", lines)
    report = reported(tmp_path)
    assert (report.verdict(), report.exit_code()) == ("not all looked at", 3)
    assert [each["file"] for each in report.as_dict()["unread"]] == ["theirs.ndjson"]
    assert [each.file for each in kraken_l3.open(tmp_path).unread()] == ["theirs.ndjson"]
    assert kraken_l3.open(tmp_path).verify().exit_code() == 3


def test_sealing_a_day_says_that_its_further_files_were_not_verified(tmp_path, lines):
    write(tmp_path / "l3-2026-02-21.ndjson", lines[:200])
    part = write(tmp_path / "l3-2026-02-21-0001.ndjson", lines[200:])
    sealing = day_sealing(OsFileSystem(), tmp_path, dt.date(2026, 2, 21))
    manifest = seal(sealing, filesystem=OsFileSystem(), clock=SystemClock(), describe=describe)
    assert manifest.contains.verdicts["verdict"] == "not all looked at"
    assert f"{part.name}: not verified when the day was sealed" in manifest.contains.missing
    assert manifest.file(part.name).bytes == part.stat().st_size
    assert (ok(verify(tmp_path)), verify(tmp_path).exit_code()) == (600, 0)


# -- envelopes

ENVELOPES = {
    "time": lambda m: b"1771632000.123 " + m,
    "msg": lambda m: b'{"ts":1771632000123,"msg":' + m + b"}",
    "raw_frame": lambda m: json.dumps({"ts": 1771632000.1, "raw_frame": m.decode()}).encode(),
    "frame": lambda m: json.dumps({"rx_ns": 1771632000123456789, "frame": m.decode()}).encode(),
    "array": lambda m: b"[" + m + b"]",
    "object": lambda m: b'{"t": 1, "m": %s}' % m.replace(b'"data":[{', b'"data":{').replace(b"}]}", b"}}"),
}


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES.keys())
def test_messages_in_envelopes_are_verified(tmp_path, lines, engine_name, envelope):
    path = write(tmp_path / "theirs.ndjson", map(envelope, lines))
    found = verify(path, engine_name=engine_name)
    assert (ok(found), found.exit_code()) == (600, 0)
    assert found.files[0].bytes == path.stat().st_size
    plain = write(tmp_path / "plain.ndjson", lines)
    assert kraken_l3.open(path).book("ETH/USD") == kraken_l3.open(plain).book("ETH/USD")
    assert kraken_l3.open(path).symbols == ["BTC/USD", "ETH/USD"]


def test_damage_in_envelopes_is_found_where_it_lies(tmp_path, lines, engine_name):
    wrapped = [ENVELOPES["frame"](line) for line in lines]
    wrapped[50] = wrapped[50][:90]
    del wrapped[40]
    found = verify(write(tmp_path / "theirs.ndjson", wrapped), engine_name=engine_name)
    assert found.exit_code() == 2
    (note,) = [at.note for at in found.notes if at.note.kind == "malformed"]
    assert (note.line, note.offset) == (49, sum(len(line) + 1 for line in wrapped[:49]))


def test_several_messages_on_a_line_are_not_looked_at(tmp_path, lines, engine_name):
    arrays = [b"[%s,%s]" % pair for pair in zip(lines[::2], lines[1::2])]
    report = reported(write(tmp_path / "theirs.ndjson", arrays), engine_name=engine_name)
    assert (report.verdict(), report.exit_code()) == ("not all looked at", 3)
    assert report.as_dict()["unread"][0]["lines"] == 300


@pytest.mark.parametrize("jobs", [1, 2])
def test_envelopes_in_the_middle_of_a_plain_file_are_counted(tmp_path, lines, engine_name, jobs):
    mixed = [*lines, *map(ENVELOPES["msg"], lines[-10:])]
    path = write(tmp_path / "theirs.ndjson", mixed)
    found = verify(path, engine_name=engine_name, jobs=jobs)
    assert (ok(found), found.exit_code()) == (600, 3)
    assert [str(each) for each in found.unread] == [
        "theirs.ndjson: 10 lines with level3 messages in a form that is not read"
    ]
    assert found.unread == kraken_l3.open(path).unread()


# -- exports


def test_each_part_of_a_day_has_its_own_table_file(tmp_path, lines):
    pytest.importorskip("pyarrow")
    from kraken_l3.export.bulk import export_table
    from kraken_l3.export.events import EventsTable

    split, whole = tmp_path / "split", tmp_path / "whole"
    split.mkdir()
    whole.mkdir()
    write(split / "l3-2026-02-21.ndjson", lines[:200])
    write(split / "l3-2026-02-21-0001.ndjson", map(ENVELOPES["time"], lines[200:]))
    write(whole / "l3-2026-02-21.ndjson", lines)
    found = export_table(str(split), str(tmp_path / "a"), EventsTable())
    expected = export_table(str(whole), str(tmp_path / "b"), EventsTable())
    assert sum(file.rows for file in found.files) == sum(file.rows for file in expected.files)
    assert (found.ok, found.exit_code()) == (600, 0)
    assert {Path(file.name).name for file in found.files} == {"part-0.parquet", "part-1.parquet"}
    again = export_table(str(split), str(tmp_path / "a"), EventsTable())
    assert again.already_there == len(found.files)


def test_rows_on_a_grid_are_those_of_a_day_in_one_file(tmp_path, lines):
    pytest.importorskip("pyarrow")
    split, whole = tmp_path / "split", tmp_path / "whole"
    split.mkdir()
    whole.mkdir()
    write(split / "l3-2026-02-21.ndjson", lines[:200])
    write(split / "l3-2026-02-21-0001.ndjson", lines[200:])
    write(whole / "l3-2026-02-21.ndjson", lines)
    found, expected = (kraken_l3.open(path).snapshots("BTC/USD", "10ms").read_all() for path in (split, whole))
    assert expected.num_rows > 100
    assert found == expected


# -- what is printed


def command(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = APP([*map(str, words)], standalone_mode=False)
    return code or 0, out.getvalue(), err.getvalue()


def test_every_command_says_what_it_does_not_look_at(tmp_path, lines):
    pytest.importorskip("pyarrow")
    directory = tmp_path / "a"
    directory.mkdir()
    write(directory / "l3-2026-02-21.ndjson", lines)
    write(directory / "theirs.ndjson", lines)
    said = "theirs.ndjson: level3 data under a name that is none of an archive"
    code, out, _ = command("verify", directory)
    assert (code, out.splitlines()[-1]) == (3, "not all looked at")
    assert f"Not looked at: {said}" in out
    assert json.loads(command("verify", directory, "--json")[1])["result"]["verdict"] == "not all looked at"
    code, out, _ = command("verify", directory, directory / "theirs.ndjson")
    assert (code, out.splitlines()[-1]) == (0, "verified")
    assert f"Not looked at: {said}" in command("info", directory)[1]
    code, _, err = command("book", directory, "--symbol", "BTC/USD")
    assert (code, f"warning: not looked at: {said}" in err) == (0, True)
    for table in ("events", "snapshots", "lobster"):
        code, _, err = command("export", table, directory, "--out", tmp_path / table)
        assert (code, f"warning: not looked at: {said}" in err) == (3, True), table


@pytest.mark.parametrize("words", [["verify"], ["info"]])
def test_a_directory_with_other_names_alone_says_which(tmp_path, lines, words):
    write(tmp_path / "theirs.ndjson", lines)
    with pytest.raises(UsageError) as caught:
        command(*words, tmp_path)
    assert "theirs.ndjson: level3 data under a name" in caught.value.hint


def test_a_hole_that_is_no_line_costs_no_other(tmp_path, lines, engine_name):
    """Longer than any line may be, as power cuts leave it in files that nobody repaired."""
    hole = 70 * 1024 * 1024
    path = tmp_path / "theirs.ndjson"
    with path.open("wb") as file:
        file.write(b"\n".join(lines[:300]) + b"\n")
        file.seek(hole, 1)
        file.write(b"\n" + b"\n".join(lines[300:]) + b"\n")
    found = verify(path, engine_name=engine_name)
    assert (ok(found), found.totals.malformed, found.totals.lines, found.exit_code()) == (600, 1, 601, 2)
    (note,) = [at.note for at in found.notes if at.note.kind == "malformed"]
    assert (note.line, note.offset) == (300, sum(len(line) + 1 for line in lines[:300]))
    assert found.files[0].bytes == path.stat().st_size


def test_a_gzip_is_not_packed_again(tmp_path):
    path = shutil.copy(SPLIT_DAY / "l3-2026-02-22.ndjson.gz", tmp_path)
    with pytest.raises(UsageError, match="it is packed already"):
        command("seal", path)
