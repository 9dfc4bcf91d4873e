"""How tables come to be on disk: complete or not at all, the same each time, in any number of processes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, START_NS, record, write_checkpoints
from plain import plain

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_table, plan_jobs
from kraken_l3.export.events import EventsDay, EventsTable
from kraken_l3.export.job import run_job
from kraken_l3.export.naming import part_path
from kraken_l3.export.records import EVENT
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import LocalStore
from kraken_l3.export.table import Table
from kraken_l3.export.table_files import Memory, RowFiles
from kraken_l3.rebuild.playback import chains_in

EVENTS = EventsTable()
EVERY_100_MS = SnapshotsTable(grid_ns=100_000_000)
TABLES = [EVENTS, EVERY_100_MS, SnapshotsTable(levels=3, wide=True), SnapshotsTable(2, 10**9, wide=True)]


def tree(directory: Path) -> dict[str, bytes]:
    """Without the gaps, which are no job's, but of a whole export."""
    paths = [path for path in sorted(directory.rglob("*.parquet")) if path.parent.name != "gaps"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def export(source: Path, target: Path, options: Table = EVENTS, **how):
    return export_table(str(source), str(target), options, **how)


@pytest.mark.parametrize("options", TABLES)
def test_exporting_again_gives_the_same_bytes(tmp_path, options):
    source = record(tmp_path / "a", gap=True, trades=True)
    export(source, tmp_path / "o1", options)
    export(source, tmp_path / "o2", options)
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2") != {}


@pytest.mark.parametrize("options", TABLES)
def test_so_does_any_number_of_processes(tmp_path, options):
    source = record(tmp_path / "a", symbols=("BTC/USD", "ETH/USD", "DOGE/USD"), gap=True, start_ns=NIGHT_NS)
    one = export(source, tmp_path / "o1", options)
    two = export(source, tmp_path / "o2", options, jobs=3)
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2") != {}
    assert (one.files, one.messages, one.ok, one.bad) == (two.files, two.messages, two.ok, two.bad)


@pytest.mark.parametrize("options", TABLES)
def test_rows_put_aside_on_disk_come_back_the_same(tmp_path, options):
    source = record(tmp_path / "a", symbols=("BTC/USD", "ETH/USD", "DOGE/USD"))
    export(source, tmp_path / "o1", options)
    [job] = plan_jobs(str(source), str(tmp_path / "o2"), options)
    run_job(job, memory=Memory(block_bytes=10_000, spool_bytes=20_000))
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")
    assert not list((tmp_path / "o2").glob(".spool*"))


class FailsOnce(EventsDay):
    """Rows whose second row group cannot be made."""

    groups = 0

    def to_arrow(self, records, overflow_ids):
        self.groups += 1
        if self.groups == 2:
            raise MemoryError
        return super().to_arrow(records, overflow_ids)


def test_no_file_appears_without_one_of_its_row_groups(tmp_path):
    files = RowFiles(LocalStore(tmp_path), EVENTS, (), Memory(group_bytes=1))
    files.put("BTC/USD", None, 0, lambda _: FailsOnce(None), np.zeros(3 * 256, EVENT))
    with pytest.raises(MemoryError):
        files.publish([])
    files.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_metadata_tell_where_a_file_comes_from(tmp_path):
    source = record(tmp_path / "a")
    export(source, tmp_path / "o")
    path = tmp_path / "o" / part_path("events", "BTC/USD", open_archive(source).days[0])
    metadata = {k.decode(): v.decode() for k, v in pq.ParquetFile(path).metadata.metadata.items()}
    data = (source / "l3-2026-11-22.ndjson").read_bytes()
    [said] = json.loads(metadata["kraken_l3.sources"])
    assert said == {
        "name": "l3-2026-11-22.ndjson",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "lines": data.count(b"\n"),
    }
    assert metadata["kraken_l3.symbol"] == "BTC/USD"
    assert metadata["kraken_l3.schema_version"] == "3"
    assert metadata["kraken_l3.program"].startswith("kraken-l3-recorder ")


def test_an_interrupted_job_leaves_nothing_half_made_and_goes_on(tmp_path):
    source = record(tmp_path / "a", messages=3_000, start_ns=NIGHT_NS)
    export(source, tmp_path / "whole")
    [job] = plan_jobs(str(source), str(tmp_path / "o"), EVENTS)
    size = (source / "l3-2026-11-22.ndjson").stat().st_size
    seen = 0

    def interrupt(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, interrupt)
    first_day = {name: data for name, data in tree(tmp_path / "whole").items() if "2026-11-22" in name}
    assert tree(tmp_path / "o") == first_day
    assert not [p for p in (tmp_path / "o").rglob("*") if p.name.startswith(".")]
    report = export(source, tmp_path / "o")
    assert report.already_there == len([name for name in first_day if name.startswith("events")])
    assert tree(tmp_path / "o") == tree(tmp_path / "whole")


def test_what_was_made_is_not_made_again_until_something_changes(tmp_path):
    source = record(tmp_path / "a")
    export(source, tmp_path / "o")
    path = tmp_path / "o" / part_path("events", "BTC/USD", open_archive(source).days[0])
    before = path.stat().st_ino
    assert export(source, tmp_path / "o").already_there == 2
    assert path.stat().st_ino == before
    data = source / "l3-2026-11-22.ndjson"
    data.write_bytes(data.read_bytes() + data.read_bytes().splitlines(keepends=True)[0])
    assert export(source, tmp_path / "o").already_there == 0
    path.unlink()
    assert export(source, tmp_path / "o").already_there == 0
    assert path.exists()


@pytest.mark.parametrize("options", TABLES)
def test_of_the_journal_only_what_changes_rows_has_a_day_exported_again(tmp_path, options):
    source = record(tmp_path / "a")
    made = len(export(source, tmp_path / "o", options).files)
    journal = source / "journal-2026-11-22.ndjson"
    at = {"at_ns": START_NS + 10**9, "mono_ns": 0}
    with journal.open("ab") as file:
        file.write(msgspec.json.encode({"kind": "rotated", **at, "next_day": "2026-11-23"}) + b"\n")
    assert export(source, tmp_path / "o", options).already_there == made
    gap = {"channel": "level3", "symbol": "BTC/USD", "cause": "network", "left_ns": START_NS, "connection": 1}
    with journal.open("ab") as file:
        file.write(msgspec.json.encode({"kind": "gap_opened", **at, **gap}) + b"\n")
    again = 0 if options.name == "snapshots" else made
    assert export(source, tmp_path / "o", options).already_there == again


@pytest.mark.parametrize("options", TABLES)
def test_a_day_with_checkpoints_stands_alone_and_gives_the_same_rows(tmp_path, options):
    source = record(tmp_path / "a", messages=3_000, start_ns=NIGHT_NS)
    export(source, tmp_path / "o1", options)
    assert len(chains_in(open_archive(source))) == 1
    write_checkpoints(source)
    assert [len(chain.files) for chain in chains_in(open_archive(source))] == [1, 1]
    export(source, tmp_path / "o2", options, jobs=2)
    whole, alone = _rows(tmp_path / "o1"), _rows(tmp_path / "o2")
    if options.name == "snapshots" and options.grid_ns is None:
        for name, rows in alone.items():  # a day's first change is always shown: what was before it is not
            rows[: len(rows) - len(whole[name])] = []
    for name, rows in alone.items():
        if rows[0].get("ofi", 0) is None:  # nor is what flowed up to it, nor the line of a message of the day before
            whole[name][0].update(ofi=None, line=rows[0]["line"])
    assert whole == alone != {}
    (source / "l3-2026-11-22.ndjson").unlink()
    export(source, tmp_path / "o3", options)
    second_day = {name: rows for name, rows in _rows(tmp_path / "o2").items() if "2026-11-23" in name}
    assert _rows(tmp_path / "o3") == second_day != {}


def _rows(directory: Path) -> dict[str, list]:
    return {name: plain(pq.ParquetFile(directory / name).read()) for name in tree(directory)}


@pytest.mark.parametrize("options", TABLES)
def test_either_engine_gives_the_same_bytes(tmp_path, options):
    pytest.importorskip("kraken_l3_native", reason="the native engine is not installed")
    source = record(tmp_path / "a", gap=True, trades=True, start_ns=NIGHT_NS)
    export(source, tmp_path / "o1", options, engine="python")
    export(source, tmp_path / "o2", options, engine="native")
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2") != {}


@pytest.mark.parametrize("options", TABLES)
def test_a_sealed_day_gives_the_same_bytes_and_is_not_made_again(tmp_path, options):
    source = record(tmp_path / "a", start_ns=NIGHT_NS, messages=3_000)
    made = export(source, tmp_path / "o1", options).files
    subprocess.run([sys.executable, "-m", "kraken_l3", "seal", str(source)], check=True, capture_output=True)
    assert (source / "l3-2026-11-22.ndjson.zst").exists()
    export(source, tmp_path / "o2", options)
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2") != {}
    assert export(source, tmp_path / "o1", options).already_there == len(made)


def test_lines_that_are_no_data_make_no_rows_and_no_fault(tmp_path):
    garbage = tmp_path / "x.ndjson"
    garbage.write_bytes(b"garbage\n")
    for options in TABLES:
        result = export(garbage, tmp_path / "o", options)
        assert (result.files, result.bad, result.exit_code()) == ([], 1, 2)


@pytest.mark.parametrize("symbol", ["", "X" * 100_000, "aapl/USD", "\u202e[/red]"])
def test_odd_symbols_have_files_of_their_own(tmp_path, symbol):
    line = {
        "channel": "level3",
        "type": "snapshot",
        "data": [{"symbol": symbol, "checksum": 0, "bids": [], "asks": [], "timestamp": "2026-11-22T00:00:01Z"}],
    }
    odd = tmp_path / "x.ndjson"
    lines = [msgspec.json.encode(line)]
    line["data"][0]["symbol"] = "AAPL/USD"
    odd.write_bytes(b"\n".join([*lines, msgspec.json.encode(line)]) + b"\n")
    result = export(odd, tmp_path / "o")
    assert len({file.name.lower() for file in result.files}) == len(result.files) >= 1
    for file in result.files:
        stored = pq.ParquetFile(tmp_path / "o" / file.name).metadata.metadata[b"kraken_l3.symbol"]
        assert stored.decode() == file.symbol
