"""One way through an archive: verification, the book at a moment and exported rows tell the same."""

import json
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import DataMissing
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import FileEnd, Step, chains_in, play
from kraken_l3.rebuild.verify import verify
from scenes import NOON_NS, SYMBOLS, Scene

DATA = Path(__file__).parent / "data"
MIDNIGHT_NS = parse_rfc3339("2026-11-23T00:00:00Z")


def verdicts(directory):
    """(messages, ok, bad) as `verify` counts them."""
    found = verify(directory)
    reports = found.symbols.values()
    bad = sum(report.bad for report in reports) + found.totals.malformed
    return sum(r.tally.messages for r in reports), sum(r.tally.ok for r in reports), bad


def exported(directory):
    """(messages, ok, bad) as an export counts them."""
    pytest.importorskip("pyarrow", reason="needs the extra 'research'")
    from kraken_l3.export.bulk import export_table
    from kraken_l3.export.events import EventsTable

    with tempfile.TemporaryDirectory() as target:
        report = export_table(str(directory), target, EventsTable())
    return report.messages, report.ok, report.bad


def grid_rows(directory, symbol, instants, **how):
    """{instant: row} of the instants, which must be multiples of one millisecond."""
    pytest.importorskip("pyarrow", reason="needs the extra 'research'")
    import kraken_l3

    table = kraken_l3.open(directory).snapshots(symbol, every="1ms", levels=5, **how).read_all()
    times = table.column("timestamp").cast("int64").to_pylist()
    rows = dict(zip(times, table.to_pylist()))
    return {instant: rows.get(instant) for instant in instants}


def top_of(image, levels=5):
    """The best levels of a book's snapshot message: two lists of (price, quantity)."""
    data = json.loads(image.message)["data"][0]
    sides = []
    for side in ("bids", "asks"):
        totals = {}
        for order in data[side]:
            totals[order["limit_price"]] = totals.get(order["limit_price"], 0) + order["order_qty"]
        sides.append([(price, pytest.approx(qty)) for price, qty in list(totals.items())[:levels]])
    return sides


def sides_of(row):
    return [list(zip(row[f"{side}_prices"], row[f"{side}_qtys"])) for side in ("bid", "ask")]


# A snapshot that comes before its acknowledgement, which the protocol allows


def thin_pair_with_a_late_acknowledgement(directory):
    lines = (DATA / "thin_pair_depth_100.ndjson").read_bytes().splitlines()
    symbol = json.loads(lines[0])["data"][0]["symbol"]
    scene = Scene(directory, symbols=[symbol], facts=False)
    scene.open_connection()
    scene.write(lines[:1])
    scene.acknowledge(100)
    scene.write(lines[1:])
    scene.close()
    return symbol, len(lines)


def test_the_first_depth_holds_from_the_first_line_in_every_reader(tmp_path):
    symbol, count = thin_pair_with_a_late_acknowledgement(tmp_path)
    assert verdicts(tmp_path) == (count, count, 0)
    assert exported(tmp_path) == (count, count, 0)
    found = book_at(tmp_path, symbol)
    assert (found.tally.depth, found.tally.depth_inferred, found.tally.state) == (100, False, State.SYNCED)


def another_depth_acknowledged_late(directory):
    scene = Scene(directory)
    scene.write(scene.flow(200))
    scene.gap()
    scene.open_connection()
    deeper = scene.flow(200, seed=2, depth=100)
    scene.write(deeper[:20])
    scene.acknowledge(100)
    scene.write(deeper[20:])
    scene.close()


def test_another_depth_holds_for_all_of_its_connection_in_every_reader(tmp_path):
    another_depth_acknowledged_late(tmp_path)
    assert verdicts(tmp_path) == (400, 400, 0)
    assert exported(tmp_path) == (400, 400, 0)
    found = book_at(tmp_path, "BTC/USD")
    assert (found.tally.depth, found.tally.state) == (100, State.SYNCED)


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_a_value_that_returns_is_told_again(engine):
    """Depth 10, 100, 10 on one connection; `data/README.md` tells where it comes from."""
    directory = DATA / "depth_10_100_10"
    found = verify(directory, engine_name=engine)
    assert (found.exit_code(), found.symbols["X/USD"].tally.ok) == (0, 9)
    assert exported(directory) == (9, 9, 0)
    assert book_at(directory, "X/USD", engine_name=engine).tally.state is State.SYNCED


# The edges of gaps


def test_a_moment_on_a_gaps_edge_is_not_in_it_in_any_reader(tmp_path):
    scene = Scene(tmp_path)
    scene.write(scene.flow(100))
    scene.clock.now_ns += 500_000_000
    scene.gap(seconds=2)
    scene.clock.now_ns -= scene.step_ns  # the snapshot's receive time is the right edge
    scene.write(scene.flow(100, seed=2))
    scene.close()
    (gap,) = gaps_in(open_archive(tmp_path), symbols=["BTC/USD"])
    left, right = gap.left_ns, gap.right_ns
    moments = {left: False, left + 1_000_000: True, right - 1_000_000: True, right: False}
    assert {at: gap.holds(at) for at in moments} == moments
    assert {at: bool(book_at(tmp_path, "BTC/USD", at_ns=at).gap) for at in moments} == moments
    rows = grid_rows(tmp_path, "BTC/USD", moments, keep_gaps=True)
    assert {at: row["over_gap"] for at, row in rows.items()} == moments


# All readers together


@st.composite
def archives(draw):
    """How to write an archive: parts (messages, depth, gap before, late acknowledgement), where it begins."""
    part = st.tuples(st.integers(1, 60), st.sampled_from([10, 100]), st.booleans(), st.integers(0, 5))
    parts = draw(st.lists(part, min_size=1, max_size=4))
    starts = [NOON_NS, MIDNIGHT_NS - NS_PER_S, MIDNIGHT_NS - 100_000_000]
    return parts, draw(st.sampled_from(starts)), draw(st.integers(0, 3)), draw(st.integers(0, 2**32))


def write_archive(directory, how):
    parts, start_ns, damaged, seed = how
    rng = random.Random(seed)
    scene = Scene(directory, depth=parts[0][1], now_ns=start_ns, facts=False)
    scene.journal_instruments()
    for number, (messages, depth, gap, late) in enumerate(parts):
        lines = scene.flow(messages, seed=rng.randrange(1_000), depth=depth)
        for _ in range(damaged if len(lines) > 4 else 0):
            at = rng.randrange(len(lines))
            lines[at] = lines[at].replace(b'"checksum":', b'"checksum":1') if rng.random() < 0.5 else lines[at][:-9]
        if number and gap:
            scene.gap(seconds=1)
        scene.open_connection()
        scene.write(lines[:late])
        scene.acknowledge(depth)
        scene.write(lines[late:])
    scene.close()


@given(how=archives(), block_bytes=st.integers(200, 40_000), data=st.data())
@settings(max_examples=25)
def test_verdicts_books_and_rows_agree(how, block_bytes, data):
    directory = Path(tempfile.mkdtemp())
    try:
        write_archive(directory, how)
        archive = open_archive(directory)
        counts = verdicts(directory)
        assert exported(directory) == counts

        engine = PythonEngine(EngineOptions())
        played = list(play(engine, archive, metadata_in(archive), block_bytes=block_bytes))
        tallies = engine.tallies()
        bad = sum(t.mismatched + t.malformed + sum(t.findings.values()) for t in tallies) + engine.totals().malformed
        assert (sum(t.messages for t in tallies), sum(t.ok for t in tallies), bad) == counts
        steps = [each for each in played if isinstance(each, Step)]
        assert b"".join(step.block.data for step in steps) == b"".join(p.read_bytes() for p in archive.files())
        assert [end.path for end in played if isinstance(end, FileEnd)] == archive.files()

        times = []
        for path in archive.files():
            with DataFile(path) as file:
                times += [receipt.recv_ns for receipt in file.receipts.read(0, len(file.receipts))]
        symbol = data.draw(st.sampled_from(SYMBOLS))
        at_ns = data.draw(st.sampled_from(times)) // 1_000_000 * 1_000_000
        try:
            image = book_at(directory, symbol, at_ns=at_ns).image
        except DataMissing:
            image = None
        row = grid_rows(directory, symbol, [at_ns], keep_gaps=True)[at_ns] if at_ns >= times[0] else None
        if row is not None:
            assert sides_of(row) == top_of(image)
    finally:
        shutil.rmtree(directory)


def test_days_are_played_as_they_were_written(tmp_path):
    """The clock steps back over a day and later forward again: 23, 22, 24."""
    scene = Scene(tmp_path, now_ns=MIDNIGHT_NS + NS_PER_DAY // 2)
    scene.write(scene.flow(100))
    scene.gap("clock", seconds=-NS_PER_DAY // NS_PER_S)
    scene.writer.restart_day(scene.clock.now_ns)
    scene.connect(scene.depth)
    lines = scene.flow(200, seed=2)
    scene.write(lines[:100])
    scene.clock.now_ns += 2 * NS_PER_DAY
    scene.write(lines[100:])
    scene.close()
    days = [part.file for part in verify(tmp_path).files]
    assert days == ["l3-2026-11-23.ndjson", "l3-2026-11-22.ndjson", "l3-2026-11-24.ndjson"]
    assert verdicts(tmp_path) == exported(tmp_path) == (300, 300, 0)
    assert [len(chain.files) for chain in chains_in(open_archive(tmp_path))] == [1, 2]
    whole = book_at(tmp_path, "BTC/USD")
    assert (whole.file, whole.tally.state) == ("l3-2026-11-24.ndjson", State.SYNCED)
    assert whole.line == 100
