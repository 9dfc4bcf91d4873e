"""Archives as a whole: facts, days, checkpoints, jobs, files of other recorders."""

import json
import re

import msgspec
import pytest

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints, read_checkpoints
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.exchange.flow import generate
from kraken_l3.model.events import State
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in, read_instruments
from kraken_l3.rebuild.playback import FileEnd, play
from kraken_l3.rebuild.verify import verify
from scenes import NOON_NS, SYMBOLS, Scene, recorded

MIDNIGHT_NS = parse_rfc3339("2026-11-23T00:00:00Z")


def total(findings, name):
    values = (getattr(report.tally, name) for report in findings.symbols.values())
    return sum(sum(value.values()) if isinstance(value, dict) else value for value in values)


def write(path, lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_a_whole_archive_with_facts_of_its_journal(tmp_path):
    findings = verify(recorded(tmp_path))
    assert findings.exit_code() == 0
    assert total(findings, "ok") == 400
    tally = findings.symbols["DOGE/USD"].tally
    assert (tally.depth, tally.price_precision, tally.depth_inferred, tally.precision_inferred) == (10, 7, False, False)


def test_books_go_on_over_midnight(tmp_path):
    directory = recorded(tmp_path, now_ns=MIDNIGHT_NS - 2 * NS_PER_S)
    assert len(open_archive(directory).files()) == 2
    findings = verify(directory)
    assert (findings.exit_code(), total(findings, "ok")) == (0, 400)
    assert [file.lines for file in findings.files] == [199, 201]


def test_a_day_alone_needs_its_checkpoints(tmp_path):
    directory = recorded(tmp_path, now_ns=MIDNIGHT_NS - 2 * NS_PER_S)
    second = open_archive(directory).files()[1]
    findings = verify(second)
    assert (findings.exit_code(), total(findings, "ok"), total(findings, "before_snapshot")) == (3, 0, 201)

    engine = PythonEngine()
    played = play(engine, open_archive(directory), metadata_in(open_archive(directory)))
    next(each for each in played if isinstance(each, FileEnd))
    played.close()
    Checkpointing(engine).begin_file(second.with_suffix(".checkpoints"))
    findings = verify(second)
    assert (findings.exit_code(), total(findings, "ok"), total(findings, "before_snapshot")) == (0, 201, 0)


def test_a_missing_day_takes_the_books(tmp_path):
    directory = recorded(tmp_path, now_ns=MIDNIGHT_NS - 2 * NS_PER_S)
    for path in list(directory.iterdir()):
        if "2026-11-23" in path.name:
            path.rename(path.with_name(path.name.replace("2026-11-23", "2026-11-24")))
    findings = verify(directory)
    assert total(findings, "unverifiable") == 201
    assert findings.symbols["BTC/USD"].tally.unverifiable.keys() == {"after_gap"}
    assert findings.exit_code() == 3


def test_a_new_depth_holds_from_its_acknowledgement_on(tmp_path):
    scene = Scene(tmp_path)
    scene.write(scene.flow(200, depth=10))
    scene.gap()
    scene.connect(100)
    scene.write(scene.flow(200, seed=2, depth=100))
    facts = metadata_in(open_archive(scene.close()))
    assert [(f.symbol, f.depth) for f in facts if f.depth == 100] == [(s, 100) for s in SYMBOLS]
    findings = verify(tmp_path)
    assert (findings.exit_code(), total(findings, "ok"), total(findings, "findings")) == (0, 400, 0)
    assert findings.symbols["BTC/USD"].tally.depth == 100


def test_first_bad_lines_stand_in_their_file(tmp_path):
    directory = recorded(tmp_path, now_ns=MIDNIGHT_NS - 2 * NS_PER_S)
    second = open_archive(directory).files()[1]
    data = second.read_bytes()
    second.write_bytes(re.sub(rb'"checksum":(\d)', lambda m: b'"checksum":%d' % ((int(m[1]) % 9) + 1), data, count=1))
    findings = verify(directory)
    (report,) = (r for r in findings.symbols.values() if r.bad)
    assert (report.first_bad_file, report.tally.first_bad.line, report.tally.first_bad.offset) == (second.name, 0, 0)
    assert (findings.exit_code(), report.tally.mismatched, report.tally.incidents) == (2, 1, 1)
    assert [at.file for at in findings.notes if at.note.kind == "incident_opened"] == [second.name]


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_jobs_find_the_same(tmp_path, engine):
    lines = list(generate(symbols=6, messages=1500, seed=4))
    del lines[700]
    path = write(tmp_path / "x.ndjson", [*lines, b"{", b'{"channel":"heartbeat"}'])
    done = []
    one = verify(path, engine_name=engine)
    two = verify(path, engine_name=engine, jobs=2, progress=done.append)
    assert sum(done) > 0
    assert two.totals == one.totals
    assert two.symbols == one.symbols
    assert one.exit_code() == two.exit_code() == 2
    assert one.totals.malformed == one.totals.not_data == 1


def test_a_file_that_lost_its_zeros(tmp_path):
    lines = [json.dumps(json.loads(line)).encode() for line in generate(symbols=3, messages=2000, seed=4)]
    findings = verify(write(tmp_path / "theirs.ndjson", lines))
    assert (findings.exit_code(), total(findings, "ok")) == (0, 2000)


def test_zeros_lost_in_the_whole_snapshot_are_found_by_its_checksum(tmp_path):
    made = PythonEngine()
    made.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
    rounded = [
        re.sub(rb'("order_qty":\d+\.\d{3})\d+', rb"\g<1>00000", line).replace(b'"checksum"', b'"old"')
        for line in generate(symbols=["BTC/USD"], messages=300, seed=4)
    ]
    lines = []
    for line in rounded:
        made.feed(line + b"\n", 0, 0)
        crc = re.search(rb'"checksum":(\d+)', made.export_book("BTC/USD").message)[1]
        short = json.dumps(json.loads(line)).encode()
        lines.append(short.replace(b'"data": [{', b'"data": [{"checksum": %s, ' % crc, 1))
    findings = verify(write(tmp_path / "theirs.ndjson", lines))
    assert (findings.exit_code(), total(findings, "ok")) == (0, 300)


def test_a_thin_book_of_a_deeper_subscription(tmp_path):
    """A snapshot of 8 levels looks like depth 10; that it was 100 shows later."""
    lines = list(generate(symbols=["BTC/USD"], messages=3000, depth=100, levels=9, seed=6))
    theirs = write(tmp_path / "theirs.ndjson", lines)
    findings = verify(theirs)
    assert findings.exit_code() == 0, findings.symbols


def test_damage_stays_damage_whatever_is_tried(tmp_path):
    lines = list(generate(symbols=["BTC/USD"], messages=500, seed=4))
    del lines[100]
    findings = verify(write(tmp_path / "x.ndjson", lines))
    assert findings.exit_code() == 2
    assert findings.symbols["BTC/USD"].tally.first_bad.line >= 100


def test_nothing_to_verify_is_not_fine(tmp_path):
    findings = verify(write(tmp_path / "x.ndjson", []))
    assert findings.exit_code() == 3


def test_instruments_from_a_file(tmp_path):
    pair = '{"symbol":"BTC/USD","price_precision":1,"qty_precision":8}'
    message = '{"channel":"instrument","type":"snapshot","data":{"pairs":[' + pair + "]}}"
    path = tmp_path / "i.json"
    for content in (message, message + "\n" + message + "\n", json.dumps(json.loads(message), indent=1)):
        path.write_text(content)
        assert [(i.symbol, i.price_precision) for i in read_instruments(path)] == [("BTC/USD", 1)]
    for content in ("", "nonsense"):
        path.write_text(content)
        if content:
            with pytest.raises(UsageError):
                read_instruments(path)
    with pytest.raises(UsageError):
        read_instruments(tmp_path / "absent")


def test_precisions_that_the_user_gives_are_final(tmp_path):
    directory = recorded(tmp_path)
    facts = metadata_in(open_archive(directory), [Instrument(symbol="BTC/USD", price_precision=3, qty_precision=2)])
    assert facts[0] == SymbolMetadata(0, "BTC/USD", 3, 2)
    assert {f[2:4] for f in facts if f.symbol == "BTC/USD"} == {(3, 2)}


# Books as of a moment


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("archive"))
    lines = scene.flow(400)
    scene.write(lines)
    scene.gap("network", 5)
    scene.connect(10)
    scene.write(scene.flow(200, seed=9))
    return scene.close()


def reference(directory, symbol, lines):
    (path,) = open_archive(directory).files()
    engine = PythonEngine(EngineOptions(only=frozenset([symbol])))
    engine.set_symbol(symbol, price_precision=1, qty_precision=8, depth=10)
    engine.feed(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]), 0, 0)
    return engine.export_book(symbol)


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("lines", [2, 57, 399, 400, 401, 599, 600])
def test_the_book_after_some_lines(archive, lines, engine):
    (path,) = open_archive(archive).files()
    found = book_at(path, "BTC/USD", line=lines, engine_name=engine)
    assert found.image == reference(archive, "BTC/USD", lines)
    assert found.line == lines


def test_the_book_at_a_moment_is_that_of_the_lines_received_by_then(archive):
    for lines in (3, 250, 400):
        at_ns = NOON_NS + lines * 10_000_000
        for moment in (at_ns, at_ns + 9_999_999):
            found = book_at(archive, "BTC/USD", at_ns=moment)
            assert (found.line, found.recv_ns) == (lines, at_ns)
            assert found.image == reference(archive, "BTC/USD", lines)


def test_checkpoints_are_used_and_change_nothing(archive, tmp_path):
    (path,) = open_archive(archive).files()
    wanted = book_at(path, "BTC/USD", line=300)
    checkpoints = path.with_suffix(".checkpoints")
    engine = PythonEngine()
    engine.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
    lines = path.read_bytes().splitlines(keepends=True)
    engine.feed(b"".join(lines[:200]), 0, 0)
    try:
        Checkpointing(engine).end_file(checkpoints, 200, 0)
        Checkpointing(engine).begin_file(checkpoints)
        made = [c for c in read_checkpoints(checkpoints) if c.symbol == "BTC/USD"]
        assert [c.line for c in made] == [0]
        end = sum(map(len, lines[:200]))
        checkpoints.unlink()
        append_checkpoints(checkpoints, [_at(made[0], 200, end), _at(made[0], 500, 10**9)])
        found = book_at(path, "BTC/USD", line=300)
        assert found.image == wanted.image
        assert found.tally.messages < 101
    finally:
        checkpoints.unlink()


def _at(checkpoint, line, end_offset):
    return msgspec.structs.replace(checkpoint, line=line, end_offset=end_offset)


def test_a_moment_in_a_gap_is_told(archive):
    found = book_at(archive, "BTC/USD", at_ns=NOON_NS + 4 * NS_PER_S + 2 * NS_PER_S)
    assert (found.gap, found.line) == ("network", 400)
    assert book_at(archive, "BTC/USD", at_ns=NOON_NS + 3 * NS_PER_S).gap == ""


def test_without_receipts_krakens_own_times_count(archive, tmp_path):
    (path,) = open_archive(archive).files()
    copy = write(tmp_path / "plain.ndjson", path.read_bytes().splitlines()[:400])
    lines = copy.read_bytes().splitlines()
    mine = [n for n, line in enumerate(lines) if b'"BTC/USD"' in line]
    stamp = re.findall(rb'"timestamp":"([^"]*)"', lines[mine[100]])[-1].decode()
    found = book_at(copy, "BTC/USD", at_ns=parse_rfc3339(stamp))
    assert found.line == mine[101]
    assert found.recv_ns is None
    assert book_at(copy, "BTC/USD", at_ns=parse_rfc3339("2100-01-01")).line == 400


@pytest.mark.parametrize(
    "asked", [{"symbol": "X/USD"}, {"symbol": "BTC/USD", "at_ns": NOON_NS - 1}, {"symbol": "BTC/USD", "at_ns": 0}]
)
def test_no_book_there(archive, asked):
    with pytest.raises(DataMissing):
        book_at(archive, **asked)


def test_lines_need_a_file(archive):
    with pytest.raises(UsageError):
        book_at(archive, "BTC/USD", line=3)


def test_a_book_out_of_step_says_so(tmp_path):
    lines = list(generate(symbols=["BTC/USD"], messages=300, seed=4))
    path = write(tmp_path / "x.ndjson", [*lines[:-1], lines[-1].replace(b'"checksum":', b'"checksum":1')])
    assert book_at(path, "BTC/USD").tally.state is State.DIVERGED


# Checkpoints as such


def test_checkpoints_survive_torn_lines(tmp_path):
    path = tmp_path / "l3-2026-11-22.checkpoints"
    one = Checkpoint(line=1, end_offset=10, symbol="A", reason="diverged")
    append_checkpoints(path, [one])
    with path.open("ab") as file:
        file.write(b'{"line":2,"end_off')
    append_checkpoints(path, [one, one])
    assert list(read_checkpoints(path)) == [one] * 3
    assert list(read_checkpoints(tmp_path / "absent")) == []


def test_checkpoints_come_with_the_data_and_only_for_books_in_step(tmp_path):
    path = tmp_path / "c.checkpoints"
    engine = PythonEngine()
    keeper = Checkpointing(engine, least_bytes=4 * 1024)  # so that a small file has some
    lines = list(generate(symbols=["BTC/USD"], messages=3000, seed=4))
    lines[2500:] = [line.replace(b'"checksum":', b'"checksum":1') for line in lines[2500:]]
    data = b"".join(line + b"\n" for line in lines)
    offset = 0
    for number, line in enumerate(lines):
        engine.feed(line + b"\n", number, offset)
        offset += len(line) + 1
        keeper.fed(path, number + 1, offset, lines=1, size=len(line) + 1)
    made = list(read_checkpoints(path))
    assert sum(len(c.snapshot or b"") for c in made) < len(data) / 15
    assert len(made) > 5
    good = [c for c in made if c.snapshot]
    assert {c.reason for c in made if not c.snapshot} == {"diverged"}
    assert max(c.line for c in good) <= 2500
    for c in good:
        other = PythonEngine()
        other.feed(data[: c.end_offset], 0, 0)
        assert other.export_book("BTC/USD").message == c.snapshot
    keeper.end_file(path, len(lines), offset)
    assert list(read_checkpoints(path))[-1].line in (len(lines), made[-1].line)
