"""Data that does not say when it happened: exported with null times, or left out and counted; never as of 1970."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from archives import record
from plain import plain

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.formats.event_stream import Source
from kraken_l3.export.formats.hftbacktest import export_hftbacktest
from kraken_l3.export.formats.lobster import export_lobster
from kraken_l3.export.formats.tardis import export_tardis
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import LocalStore
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import chains_in

NO_TIME = (Path(__file__).parent / "data/no_time.ndjson").read_bytes().rstrip()
TIMES = ["", "1969-12-31T23:59:59.5Z", "2300-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday"]
FORMATS = [export_tardis, export_lobster, export_hftbacktest]
EVENTS = 21


def file_with(directory: Path, time: str) -> Path:
    path = directory / "x.ndjson"
    path.write_bytes(NO_TIME[:-3] + f',"timestamp":"{time}"}}]}}\n'.encode() if time else NO_TIME + b"\n")
    return path


def source_of(path: Path, symbol: str) -> Source:
    archive = open_archive(path)
    [chain] = chains_in(archive)
    return Source(archive, symbol, metadata_in(archive), chain)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("table", [EventsTable(), SnapshotsTable(), SnapshotsTable(grid_ns=10**9)])
def test_tables_have_nulls_in_a_partition_of_null(tmp_path, time, table):
    result = export_table(str(file_with(tmp_path, time)), str(tmp_path / "o"), table)
    assert [file.date for file in result.files] == ["unknown"]
    [path] = (tmp_path / "o").rglob("*.parquet")
    assert path.parent.name == "date=__HIVE_DEFAULT_PARTITION__"
    rows = plain(pq.ParquetFile(path).read())
    assert len(rows) == (EVENTS if table.name == "events" else 1)
    for name in ("ts_event", "ts_recv", "timestamp"):
        assert {row.get(name) for row in rows} == {None}


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("export", FORMATS)
def test_other_tools_files_leave_it_out_and_count_it(tmp_path, time, export):
    written = export(source_of(file_with(tmp_path, time), "ETH/USD"), LocalStore(tmp_path / "o"))
    assert written == ([], [f"ETH/USD: {EVENTS} events left out: the data does not say when they happened"])
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").rglob("*"))


@pytest.fixture
def late(tmp_path):
    """A file whose first snapshot has no time, whose other messages do."""
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=300)
    lines = next(source.glob("l3-*.ndjson")).read_bytes().splitlines(keepends=True)
    head, _, tail = lines[0].rpartition(b',"timestamp":')
    lines[0] = head + tail[tail.index(b"}") :]
    assert b'"snapshot"' in lines[0]
    path = tmp_path / "late.ndjson"
    path.write_bytes(b"".join(lines))
    return path


def test_a_file_begins_with_the_book_at_the_first_known_time(late, tmp_path):
    written = export_tardis(source_of(late, "BTC/USD"), LocalStore(tmp_path))
    [note] = written.notes
    assert "events left out" in note
    assert [name.split("_")[-2] for name in written.names] == ["2026-11-22", "2026-11-22"]
    rows = gzip.decompress((tmp_path / written.names[0]).read_bytes()).decode().splitlines()
    first = rows[1].split(",")
    assert first[3] == rows[10].split(",")[3] > "1790000000000000"
    assert first[4] == "true"


def test_a_time_that_is_missing_later_is_the_one_before(tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=300)
    lines = next(source.glob("l3-*.ndjson")).read_bytes().splitlines(keepends=True)
    for number in range(100, 120):
        head, _, tail = lines[number].rpartition(b',"timestamp":')
        lines[number] = head + tail[tail.index(b"}") :]
    path = tmp_path / "holes.ndjson"
    path.write_bytes(b"".join(lines))
    result = export_table(str(path), str(tmp_path / "o"), EventsTable())
    assert [file.date for file in result.files] == ["2026-11-22"]
    written = export_tardis(source_of(path, "BTC/USD"), LocalStore(tmp_path))
    assert not written.notes
    for name in written.names:
        rows = gzip.decompress((tmp_path / name).read_bytes()).decode().splitlines()[1:]
        times = [int(row.split(",")[3]) for row in rows]
        assert times == sorted(times)
        assert min(times) > 1_790_000_000_000_000


def test_local_times_never_fall_where_the_messages_step_back(tmp_path):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=300)
    lines = next(source.glob("l3-*.ndjson")).read_bytes().splitlines(keepends=True)
    head, _, tail = lines[150].rpartition(b',"timestamp":"')
    lines[150] = head + b',"timestamp":"2026-11-22T01:00:00Z' + tail[tail.index(b'"') :]
    path = tmp_path / "back.ndjson"
    path.write_bytes(b"".join(lines))
    [changes, _] = export_tardis(source_of(path, "BTC/USD"), LocalStore(tmp_path)).names
    rows = gzip.decompress((tmp_path / changes).read_bytes()).decode().splitlines()[1:]
    times = [int(row.split(",")[3]) for row in rows]
    assert times == sorted(times)


def test_lobster_makes_no_file_of_an_empty_snapshot_alone(tmp_path):
    path = tmp_path / "l3-2026-11-22.ndjson"
    path.write_bytes(
        b'{"channel":"level3","type":"snapshot","data":[{"symbol":"A/B","checksum":0,"bids":[],"asks":[],'
        b'"timestamp":"2026-11-22T00:00:01Z"}]}\n'
    )
    assert export_lobster(source_of(path, "A/B"), LocalStore(tmp_path / "o")).names == []
    assert not list((tmp_path / "o").rglob("*.*"))
