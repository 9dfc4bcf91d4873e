"""An archive that is read in parts: whatever the cuts, jobs and engines, what is found is what one engine finds."""

import random
import re
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints, read_checkpoints
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.zstd import Frame, compress, encode_table
from kraken_l3.engine.python import PythonEngine
from kraken_l3.model.events import State
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.division import divide
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import FileBegin, Step, play
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.verify import MAX_NOTES, verify
from scenes import NOON_NS, Scene

MIDNIGHT_NS = parse_rfc3339("2026-11-23T00:00:00Z")
ONE = ("BTC/USD",)


def checkpoints_of(path):
    return path.with_name(path.name.split(".")[0] + ".checkpoints")


def write_checkpoints(directory, block_bytes=4_000):
    """A checkpoint of every symbol about every so many bytes, and at the first line of each day."""
    archive = open_archive(directory)
    engine = PythonEngine()
    for played in play(engine, archive, metadata_in(archive), block_bytes=block_bytes):
        if isinstance(played, FileBegin):
            Checkpointing(engine).begin_file(checkpoints_of(played.path))
        if not isinstance(played, Step):
            continue
        block = played.block
        made = []
        for tally in engine.tallies():
            image = engine.export_book(tally.symbol) if tally.state is State.SYNCED else None
            where = {"line": block.first_line + played.result.lines, "end_offset": block.offset + len(block.data)}
            about = {"symbol": tally.symbol, "depth": tally.depth}
            if image is None or tally.last_ok_line != tally.last_line:
                made.append(Checkpoint(**where, **about, reason=tally.state.name.lower()))
            else:
                book = {"newest_ns": image.newest_ns, "amending": list(image.amending)}
                made.append(Checkpoint(**where, **about, **book, message=msgspec.Raw(image.message)))
        append_checkpoints(checkpoints_of(played.path), made)


def rewrite(directory, change):
    """Checkpoints with a book go through `change`, which is given the one before of the same symbol too."""
    for path in open_archive(directory).files():
        made = list(read_checkpoints(checkpoints_of(path)))
        checkpoints_of(path).unlink()
        before = {}
        for number, each in enumerate(made):
            if each.snapshot is not None:
                made[number] = change(each, before.get(each.symbol))
                before[each.symbol] = each
        append_checkpoints(checkpoints_of(path), made)


def found_in(directory, part_bytes=1, **options):
    """All that a report tells but the engine and what is wrong with checkpoints, and these."""
    found = verify(directory, part_bytes=part_bytes, **options)
    report = Report(require_complete=False)
    report.add(directory, found)
    told = report.as_dict()
    del told["engine"], told["companions"]
    for rest in told["hidden"]:
        rest["where"] = rest["where"].replace(str(directory), "")
    for note in told["notes"]:
        if note["kind"] == "malformed":
            note["detail"] = ""  # each engine has its own words
    tallies = {symbol: each.tally for symbol, each in found.symbols.items()}
    return (told, tallies, found.files, found.exit_code()), found.lies


def without_cuts(directory, **options):
    """What one engine finds that never looks at a checkpoint behind a first line."""
    bare = Path(tempfile.mkdtemp())
    try:
        for each in directory.iterdir():
            shutil.copy(each, bare)
        for path in open_archive(bare).files():
            if checkpoints_of(path).exists():
                first = [each for each in read_checkpoints(checkpoints_of(path)) if each.line == 0]
                checkpoints_of(path).unlink()
                append_checkpoints(checkpoints_of(path), first)
        return found_in(bare, part_bytes=1 << 62, **options)[0]
    finally:
        shutil.rmtree(bare)


def parts_of(directory):
    archive = open_archive(directory)
    return divide(archive, metadata_in(archive), part_bytes=1)


@st.composite
def recordings(draw):
    """Parts of a recording: (messages, depth, gap before); where it begins; damaged lines; seed; size of blocks."""
    part = st.tuples(st.integers(5, 80), st.sampled_from([10, 100]), st.booleans())
    parts = draw(st.lists(part, min_size=1, max_size=4))
    start = draw(st.sampled_from([NOON_NS, MIDNIGHT_NS - NS_PER_S, MIDNIGHT_NS - 100_000_000]))
    symbols = draw(st.sampled_from([ONE, ONE, ("BTC/USD", "DOGE/USD")]))
    return parts, start, symbols, draw(st.integers(0, 3)), draw(st.integers(0, 2**32)), draw(st.integers(300, 9_000))


def record(directory, how):
    parts, start_ns, symbols, damaged, seed, block_bytes = how
    rng = random.Random(seed)
    scene = Scene(directory, symbols=symbols, depth=parts[0][1], now_ns=start_ns, facts=False)
    scene.journal_instruments()
    for number, (messages, depth, gap) in enumerate(parts):
        lines = scene.flow(messages, seed=rng.randrange(1_000), depth=depth)
        for _ in range(damaged):
            damage(lines, rng)
        if number and gap:
            scene.gap(seconds=1)
        scene.connect(depth)
        scene.write(lines)
    scene.close()
    write_checkpoints(directory, block_bytes)


def damage(lines, rng):
    at = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        lines[at] = lines[at].replace(b'"checksum":', b'"checksum":1')
    elif kind == 1:
        lines[at] = lines[at][:-9]
    elif kind == 2:
        lines[at] = re.sub(rb'("order_qty":)', rb"\g<1>0.00000000000000000001", lines[at], count=1)
    elif len(lines) > 2:
        del lines[at]


def swapped(checkpoint, before):
    return msgspec.structs.replace(checkpoint, message=before.message) if before is not None else checkpoint


def nudged(checkpoint, _before):
    """The last order of the book is another: no checksum covers it where the book is deep."""
    text = bytes(checkpoint.message)
    at = text.rindex(b'"order_id":"') + len(b'"order_id":"')
    return msgspec.structs.replace(checkpoint, message=msgspec.Raw(text[:at] + b"X" + text[at + 1 :]))


def earlier(checkpoint, _before):
    return msgspec.structs.replace(checkpoint, newest_ns=checkpoint.newest_ns + 1)


def shifted(checkpoint, _before):
    return msgspec.structs.replace(checkpoint, line=checkpoint.line + 1) if checkpoint.line else checkpoint


LIES = {"none": None, "of another line": swapped, "another order": nudged, "newer": earlier, "shifted": shifted}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@settings(max_examples=8)
@given(how=recordings(), seed=st.integers(0, 99), all_lie=st.booleans())
def test_any_division_finds_the_same(lie, how, seed, all_lie):
    directory = Path(tempfile.mkdtemp())
    try:
        record(directory, how)
        rng = random.Random(seed)
        if lie is not None:
            rewrite(directory, lambda each, before: lie(each, before) if all_lie or rng.random() < 0.3 else each)
        expected = without_cuts(directory, engine_name="python")
        runs = [found_in(directory, engine_name="auto", jobs=jobs) for jobs in (1, 2, 3, 7)]
        runs.append(found_in(directory, engine_name="python"))
        for found, lies in runs:
            assert found == expected
            assert lies == runs[0][1]
        if lie is None:
            assert runs[0][1] == []
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_the_python_engine_in_processes_too(lie, tmp_path):
    record(tmp_path, ([(150, 100, False), (60, 10, True)], MIDNIGHT_NS - NS_PER_S, ONE, 1, 5, 8_000))
    if lie is not None:
        rng = random.Random(1)
        rewrite(tmp_path, lambda each, before: lie(each, before) if rng.random() < 0.5 else each)
    done = []
    found, lies = found_in(tmp_path, engine_name="python", jobs=2, progress=done.append)
    assert found == without_cuts(tmp_path, engine_name="python")
    assert lies == found_in(tmp_path, engine_name="python")[1]
    assert sum(done) == sum(path.stat().st_size for path in open_archive(tmp_path).files())


def test_the_workers_of_a_cluster_too(tmp_path):
    distributed = pytest.importorskip("distributed")
    record(tmp_path, ([(150, 100, False), (60, 10, True)], MIDNIGHT_NS - NS_PER_S, ONE, 1, 5, 8_000))
    rng = random.Random(1)
    rewrite(tmp_path, lambda each, before: swapped(each, before) if rng.random() < 0.5 else each)
    expected = found_in(tmp_path)
    done = []
    in_threads = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **in_threads) as cluster:
        address = cluster.scheduler_address
        assert found_in(tmp_path, cluster=address, progress=done.append) == expected
        assert found_in(tmp_path, part_bytes=1 << 62, cluster=address)[0] == expected[0]  # nothing to divide
    assert sum(done) == sum(path.stat().st_size for path in open_archive(tmp_path).files())
    assert len(done) > 3


# Where it is cut


def whole(directory, messages=300, symbols=ONE, **options):
    scene = Scene(directory, symbols=symbols, **options)
    scene.write(scene.flow(messages))
    scene.close()
    write_checkpoints(directory)
    return directory


def test_parts_begin_at_checkpoints_and_cover_all(tmp_path):
    parts = parts_of(whole(tmp_path, now_ns=MIDNIGHT_NS - NS_PER_S))
    assert len(parts) > 5
    assert [part.begin and part.begin.place for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert parts[0].begin is parts[-1].end is None
    assert {part.begin.place.position.line for part in parts[1:]} & {0}  # midnight is one of them
    assert len({part.begin.place.path for part in parts[1:]}) == 2


def test_a_symbol_without_a_checkpoint_there_allows_no_cut(tmp_path):
    whole(tmp_path, symbols=("BTC/USD", "DOGE/USD"))
    assert len(parts_of(tmp_path)) > 3
    (path,) = open_archive(tmp_path).files()
    made = [c for c in read_checkpoints(checkpoints_of(path)) if c.line < 50 or c.symbol == "BTC/USD"]
    checkpoints_of(path).unlink()
    append_checkpoints(checkpoints_of(path), made)
    parts = parts_of(tmp_path)
    assert all(part.begin.place.position.line < 50 for part in parts[1:])


def test_nothing_is_cut_where_a_precision_or_depth_was_not_told(tmp_path):
    scene = Scene(tmp_path, symbols=ONE, facts=False)
    scene.connect(10)
    scene.write(scene.flow(200))
    scene.close()
    write_checkpoints(tmp_path)
    assert len(parts_of(tmp_path)) == 1
    archive = open_archive(tmp_path)
    pairs = [Instrument(symbol="BTC/USD", price_precision=1, qty_precision=8)]
    assert len(divide(archive, metadata_in(archive, pairs), part_bytes=1)) > 1


def test_nor_where_receipts_are_missing_or_a_checkpoint_stands_within_a_line(tmp_path):
    whole(tmp_path)
    rewrite(tmp_path, lambda each, _: msgspec.structs.replace(each, end_offset=each.end_offset + 1))
    assert len(parts_of(tmp_path)) == 1
    for receipts in tmp_path.glob("*.receipts"):
        receipts.unlink()
    assert len(parts_of(tmp_path)) == 1


def test_little_data_is_one_part(tmp_path):
    archive = open_archive(whole(tmp_path))
    assert len(divide(archive, metadata_in(archive))) == 1


def test_no_more_notes_are_kept_than_of_one_run(tmp_path):
    scene = Scene(tmp_path, symbols=ONE)
    lines = scene.flow(1_600)
    scene.write([each for line in lines for each in ((line, line[:-9]) if len(line) % 8 else (line,))])
    scene.close()
    write_checkpoints(tmp_path, 40_000)
    assert len(parts_of(tmp_path)) > 5
    expected = without_cuts(tmp_path)
    assert len(expected[0]["notes"]) == MAX_NOTES
    assert expected[0]["total"]["malformed"] > MAX_NOTES
    assert found_in(tmp_path, jobs=3)[0] == expected


# What a lie is told as


def test_a_lie_is_told_with_its_place(tmp_path):
    whole(tmp_path, depth=100)
    (path,) = open_archive(tmp_path).files()
    lines = checkpoints_of(path).read_bytes().split(b"\n")
    made = [msgspec.json.decode(line, type=Checkpoint) for line in lines if line]
    number = next(n for n, each in enumerate(made) if each.line > 100)
    made[number] = nudged(made[number], None)
    checkpoints_of(path).unlink()
    append_checkpoints(checkpoints_of(path), made)
    for jobs in (1, 2):
        (told,) = verify(tmp_path, part_bytes=1, jobs=jobs).lies
        offset = sum(len(line) + 1 for line in lines[:number])
        assert (told.file, told.line, told.offset) == (checkpoints_of(path).name, number, offset)
        assert "BTC/USD" in told.what
    report = Report(require_complete=False)
    report.add(tmp_path, verify(tmp_path, part_bytes=1))
    assert (report.exit_code(), report.companions) == (0, [told])


def test_another_text_of_the_same_book_is_no_lie(tmp_path):
    whole(tmp_path)

    def spaced(each, _):
        return msgspec.structs.replace(each, message=msgspec.Raw(bytes(each.message).replace(b'":', b'": ')))

    rewrite(tmp_path, spaced)
    assert len(parts_of(tmp_path)) > 3
    for jobs in (1, 2):
        found, lies = found_in(tmp_path, jobs=jobs)
        assert (found, lies) == (without_cuts(tmp_path, engine_name="python"), [])


# Behind damage that hides the rest of a file


def packed(data, damaged=None):
    """In frames of ten lines with a seek table, as a sealed file has it; one frame with a changed byte."""
    lines = data.splitlines(keepends=True)
    out, frames, start = b"", [], 0
    for number, first in enumerate(range(0, len(lines), 10)):
        content = b"".join(lines[first : first + 10])
        frame = bytearray(compress(content))
        frames.append(Frame(len(out), len(frame), start, len(content)))
        if number == damaged:
            frame[len(frame) // 2] ^= 0xFF
        out, start = out + bytes(frame), start + len(content)
    return out + encode_table(frames)


@pytest.mark.parametrize("damaged", [(3, None), (None, 3), (0, 7), (9, 0), (2, 15)])
def test_what_is_behind_a_frame_that_cannot_be_unpacked(tmp_path, damaged):
    whole(tmp_path, messages=250, now_ns=MIDNIGHT_NS - NS_PER_S)
    for path, frame in zip(open_archive(tmp_path).files(), damaged):
        path.with_name(path.name + ".zst").write_bytes(packed(path.read_bytes(), frame))
        path.unlink()
    assert len(parts_of(tmp_path)) > 5
    expected = without_cuts(tmp_path, engine_name="python")
    assert len(expected[0]["hidden"]) == sum(frame is not None for frame in damaged)
    for jobs in (1, 2, 3):
        assert found_in(tmp_path, jobs=jobs)[0] == expected
    assert found_in(tmp_path, engine_name="python")[0] == expected
