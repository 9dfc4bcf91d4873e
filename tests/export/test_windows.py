"""A window of time gives the rows that the whole gives for it, wherever it begins and ends."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, record
from plain import plain

from kraken_l3.api import Archive
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.exchange.written import write_archive
from kraken_l3.export.bulk import export_format, export_table
from kraken_l3.export.clock import ReceiveClock
from kraken_l3.export.events import EventsTable
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.model.window import Window, windows_of
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import Step, chains_in
from kraken_l3.rebuild.window import play_window

SECOND_NS = 1_000_000_000
SECOND_DAY = dt.date(2026, 11, 23)
MIDNIGHT_NS = day_start_ns(SECOND_DAY)
TABLES = {
    "events": EventsTable(),
    "changes": SnapshotsTable(levels=3, wide=True),
    "grid": SnapshotsTable(levels=5, grid_ns=SECOND_NS // 10, wide=True, keep_gaps=True),
}


def with_checkpoints(source: Path, *, day_starts: bool) -> Path:
    """Checkpoints of little data, as a verifier writes them while the days are recorded."""
    archive = open_archive(source)
    engine = make_engine(EngineOptions())
    for told in metadata_in(archive):
        engine.set_symbol(
            told.symbol, price_precision=told.price_precision, qty_precision=told.qty_precision, depth=told.depth
        )
    checkpointing = Checkpointing(engine, least_bytes=100)
    for number, path in enumerate(archive.files()):
        checkpoints = DayPaths.of(path).checkpoints
        if day_starts and number:
            checkpointing.begin_file(checkpoints)
        with DataFile(path) as file:
            for block in file.blocks(size=4096):
                engine.feed(block.data, block.first_line, block.offset)
                lines, end = block.data.count(b"\n"), block.offset + len(block.data)
                checkpointing.fed(checkpoints, block.first_line + lines, end, lines=lines, size=len(block.data))
    return source


@pytest.fixture(scope="module", params=["chain", "day starts", "none"])
def source(request, tmp_path_factory):
    symbols = ("BTC/USD",) if request.param == "chain" else ("BTC/USD", "ETH/USD")
    directory = tmp_path_factory.mktemp("windows") / "a"
    record(directory, symbols=symbols, messages=1_600, gap=True, start_ns=NIGHT_NS - 10 * SECOND_NS)
    if request.param == "none":
        return directory
    return with_checkpoints(directory, day_starts=request.param == "day starts")


def rows_of(source: Path, target: Path, table, **how) -> list[dict]:
    export_table(str(source), str(target), table, **how)
    return [
        {"symbol": path.parts[-3], **row}
        for path in sorted((target / table.name).rglob("*.parquet"))
        for row in plain(pq.ParquetFile(path).read())
    ]


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("name", TABLES)
def test_windowed_rows_are_those_of_the_whole_filtered(source, tmp_path, name, engine):
    table = TABLES[name]
    time = "ts_recv" if name == "events" else "timestamp"
    whole = rows_of(source, tmp_path / "whole", table, engine=engine)
    times = sorted({row[time] for row in whole} | {MIDNIGHT_NS})
    random = Random(7)
    edges = [random.choice(times) + random.choice((-1, 0, 1, SECOND_NS)) for _ in range(9)] + [MIDNIGHT_NS, 0]
    for number in range(8):
        start, end = sorted(random.sample(edges, 2))
        found = rows_of(source, tmp_path / str(number), table, engine=engine, windows=[Window(start, end)])
        assert found == [row for row in whole if start <= row[time] < end], (start, end)


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_the_api_gives_the_same_rows(source, engine):
    archive = Archive(source, engine=engine)
    every = archive.snapshots("BTC/USD", "change", 3).read_all()
    times = every["timestamp"].cast(pa.int64()).to_pylist()
    start, end = times[len(times) // 3], times[-5]
    wanted = [row for row, at in zip(plain(every), times) if start <= at < end]
    assert plain(archive.snapshots("BTC/USD", "change", 3, start=start, end=str(end)).read_all()) == wanted
    of_day = [row for row, at in zip(plain(every), times) if at >= MIDNIGHT_NS]
    assert plain(archive.snapshots("BTC/USD", "change", 3, day="2026-11-23").read_all()) == of_day
    both = archive.snapshots("BTC/USD", "change", 3, day=["2026-11-22", SECOND_DAY], start=start)
    assert plain(both.read_all()) == [row for row, at in zip(plain(every), times) if at >= start]
    assert [m.receipt.recv_ns >= MIDNIGHT_NS for m in archive.messages(day=SECOND_DAY)] == [True] * len(
        list(archive.messages(start=MIDNIGHT_NS))
    )


def test_playing_begins_at_a_checkpoint_and_ends_with_the_window(tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=1_600, start_ns=NIGHT_NS - 10 * SECOND_NS)
    with_checkpoints(source, day_starts=True)
    archive = open_archive(source)
    first, second = chains_in(archive)
    window = Window(MIDNIGHT_NS - 3 * SECOND_NS, MIDNIGHT_NS - 2 * SECOND_NS)
    engine = make_engine(EngineOptions(only=frozenset(["BTC/USD"])))
    clock = ReceiveClock(engine.name)
    only = frozenset(["BTC/USD"])
    played = list(play_window(engine, archive, metadata_in(archive), first, window, clock=clock, only=only))
    steps = [each for each in played if isinstance(each, Step)]
    size = archive.files()[0].stat().st_size
    assert 0.4 * size < steps[0].block.offset < 0.9 * size
    assert sum(len(step.block.data) for step in steps) < size / 2
    assert list(play_window(engine, archive, metadata_in(archive), second, window, clock=clock)) == []


def test_files_of_other_days_are_not_read_and_markers_know_the_window(tmp_path):
    source = with_checkpoints(record(tmp_path / "a", messages=800, start_ns=NIGHT_NS), day_starts=True)
    day = windows_of(Window(), [SECOND_DAY])
    made = export_table(str(source), str(tmp_path / "o"), EventsTable(), windows=day)
    assert {file.date for file in made.files} == {"2026-11-23"}
    assert made.bytes == open_archive(source).files()[1].stat().st_size
    whole = export_table(str(source), str(tmp_path / "o"), EventsTable())
    assert whole.already_there == len(made.files)  # a whole day is the same whoever asks for it
    part = export_table(str(source), str(tmp_path / "o"), EventsTable(), windows=[Window(MIDNIGHT_NS + SECOND_NS)])
    assert part.already_there == 0
    assert sum(f.rows for f in part.files) < sum(f.rows for f in made.files)
    again = export_table(str(source), str(tmp_path / "o"), EventsTable(), windows=[Window(MIDNIGHT_NS + SECOND_NS)])
    assert again.already_there == len(part.files)


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_for_other_tools_a_window_begins_with_the_orders_that_rest_then(source, tmp_path, engine):
    def lines(target: Path, day: str, **how) -> list[list[str]]:
        export_format(str(source), str(target), "tardis", ["BTC/USD"], engine=engine, **how)
        content = gzip.decompress((target / f"tardis/kraken_incremental_book_L2_{day}_BTC-USD.csv.gz").read_bytes())
        return [line.split(",") for line in content.decode().splitlines()[1:]]

    start, end = MIDNIGHT_NS - 6 * SECOND_NS, MIDNIGHT_NS - 5 * SECOND_NS
    whole = lines(tmp_path / "whole", "2026-11-22")
    found = lines(tmp_path / "part", "2026-11-22", windows=[Window(start, end)])
    opening = [line for line in found if int(line[3]) == start // 1000 and line[4] == "true"]
    assert found[len(opening) :] == [line for line in whole if start <= int(line[3]) * 1000 < end]
    levels: dict[tuple[str, str], str] = {}
    previous = ""
    for line in whole:
        if int(line[3]) * 1000 < start:
            if line[4] == "true" and previous != "true":
                levels.clear()
            levels[line[5], line[6]] = line[7]
            previous = line[4]
    assert {(line[5], line[6]): line[7] for line in opening} == {k: v for k, v in levels.items() if float(v)}


def test_for_other_tools_a_window_has_the_trades_received_within_it(tmp_path):
    source = tmp_path / "data"
    start_ns = MIDNIGHT_NS - 60 * SECOND_NS
    write_archive(source, duration_ns=120 * SECOND_NS, symbols=["BTC/USD"], rate=80.0, start_ns=start_ns)
    received = [(line.receipt.recv_ns, trade["trade_id"]) for line in open_archive(source).lines("trade")
                for trade in json.loads(line.payload)["data"]]  # fmt: skip
    assert len(received) > 20
    random = Random(3)
    # ends between the last message before a trade and the first behind it, and anywhere
    edges = [received[n][0] + 1 for n in range(3, len(received), 5)] + [random.choice(received)[0] for _ in range(4)]
    spans = [(end - random.randrange(1, 40) * SECOND_NS, end) for end in edges]
    spans += [(at, at + 1) for at, _ in received[::9]]  # a trade and no message
    for number, (start, end) in enumerate(spans):
        export_format(str(source), str(tmp_path / str(number)), "tardis", ["BTC/USD"], windows=[Window(start, end)])
        found = []
        for path in sorted((tmp_path / str(number) / "tardis").glob("kraken_trades_*")):
            found += [int(line.split(",")[4]) for line in gzip.decompress(path.read_bytes()).decode().splitlines()[1:]]
        assert found == [trade_id for at, trade_id in received if start <= at < end]
