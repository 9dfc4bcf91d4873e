"""Other tools' files of many pairs: one reading of a chain of days makes what a reading for each makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from archives import NIGHT_NS, record, write_checkpoints
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.bulk import export_format
from kraken_l3.export.format_job import FormatJob, run_format_job
from kraken_l3.export.pair_spool import PairSpool
from kraken_l3.export.pairs import EventBatch, in_larger_batches, read_pairs
from kraken_l3.export.result import ExportResult
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import chains_in

SYMBOLS = ("ADA/USD", "BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")
FORMATS = ("tardis", "lobster", "hftbacktest")


@pytest.fixture(scope="module", params=["one chain", "two chains"])
def source(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pairs") / "a"
    source = record(directory, symbols=SYMBOLS, messages=3_000, gap=True, trades=True, start_ns=NIGHT_NS, rate=100.0)
    if request.param == "two chains":
        write_checkpoints(source)
    return source


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file() and "_jobs" not in path.parts)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", FORMATS)
def test_one_reading_for_all_pairs_gives_the_bytes_of_one_for_each(source, tmp_path, name):
    for symbol in SYMBOLS:
        export_format(str(source), str(tmp_path / "each"), name, [symbol])
    done: list[int] = []
    together = export_format(str(source), str(tmp_path / "all"), name, SYMBOLS, progress=done.append)
    assert files(tmp_path / "all") == files(tmp_path / "each")
    assert not list((tmp_path / "all").rglob(".*"))
    assert together.exit_code() == 0
    assert sum(done) == together.bytes == sum(path.stat().st_size for path in open_archive(source).files())
    assert min(done) >= 0


def test_the_pairs_are_shared_among_processes(source, tmp_path):
    done: list[int] = []
    one = export_format(str(source), str(tmp_path / "one"), "lobster", SYMBOLS)
    two = export_format(str(source), str(tmp_path / "two"), "lobster", SYMBOLS, jobs=3, progress=done.append)
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert [file.name for file in two.files] == [file.name for file in one.files]
    assert (two.messages, two.ok) == (one.messages, one.ok)


def test_pairs_that_are_done_are_not_read_again(source, tmp_path):
    export_format(str(source), str(tmp_path), "lobster", SYMBOLS[:2])
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("lobster/*")}
    result = export_format(str(source), str(tmp_path), "lobster", SYMBOLS)
    assert result.already_there == len(made)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    done: list[int] = []
    again = export_format(str(source), str(tmp_path), "lobster", SYMBOLS, progress=done.append)
    assert again.already_there == len(again.files)
    assert (again.messages, again.lines, sum(done)) == (result.messages, result.lines, again.bytes)


def test_a_stop_leaves_the_pairs_that_were_finished(source, tmp_path):
    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        if len(list(tmp_path.glob("_jobs/*"))) == 2:
            raise Stop

    with pytest.raises(Stop):
        export_format(str(source), str(tmp_path), "tardis", SYMBOLS, progress=stop)
    assert len(list(tmp_path.glob("_jobs/*"))) == 2
    assert not list(tmp_path.rglob(".*"))
    assert export_format(str(source), str(tmp_path), "tardis", SYMBOLS).already_there > 0


@pytest.mark.parametrize("name", ["tardis", "lobster"])
def test_what_does_not_fit_the_memory_goes_through_a_file(source, tmp_path, name):
    archive = open_archive(source)
    for chain in chains_in(archive):
        for out, memory_bytes in (("much", 1 << 27), ("little", 50_000)):
            job = FormatJob(str(source), str(tmp_path / out), name, SYMBOLS, chain, tuple(metadata_in(archive)))
            run_format_job(job, memory_bytes=memory_bytes)
    assert files(tmp_path / "little") == files(tmp_path / "much")


def test_a_precision_that_changes_is_found_in_the_spool_too(tmp_path):
    lines = []
    for second, (price, qty) in enumerate((("100.5", "1.25"), ("100.25", "2"))):
        for symbol in ("X/USD", "Y/USD"):
            at = f"2026-11-20T10:00:0{second}.000000000Z"
            order = f'{{"order_id":"OBHHHH-HHHHH-HHHHHH","limit_price":{price},"order_qty":{qty},"timestamp":"{at}"}}'
            data = f'{{"symbol":"{symbol}","checksum":1,"bids":[{order}],"asks":[],"timestamp":"{at}"}}'
            lines.append(f'{{"channel":"level3","type":"snapshot","data":[{data}]}}')
    path = tmp_path / "l3.ndjson"
    path.write_text("\n".join(lines) + "\n")
    export_format(str(path), str(tmp_path / "out"), "lobster", ["X/USD", "Y/USD"])
    for symbol in ("X-USD", "Y-USD"):
        scales = json.loads(next((tmp_path / "out").glob(f"lobster/{symbol}*_scales.json")).read_text())
        assert scales["size_scale"] == 2
        message = next((tmp_path / "out").glob(f"lobster/{symbol}*_message_*")).read_text()
        assert message.splitlines()[0].split(",")[3:5] == ["125", "1005000"]


def batches_of(source: Path, symbols) -> list[EventBatch]:
    archive = open_archive(source)
    found = []
    for chain in chains_in(archive):
        counted = {symbol: ExportResult() for symbol in symbols}
        found += read_pairs(archive, chain, symbols, metadata_in(archive), counted, book=SnapshotsTable(3))
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400_000), st.integers(1, 5_000))
def test_a_spool_gives_back_each_pair_as_it_came(source, memory_bytes, rows):
    batches = batches_of(source, SYMBOLS[:3])
    spool = PairSpool(memory_bytes)
    for batch in batches:
        spool.add(batch)
    for symbol in SYMBOLS[:3]:
        came = list(in_larger_batches((each for each in batches if each.symbol == symbol), rows))
        for _ in range(2):
            given_back = list(spool.batches(symbol))
            for column in ("line", "order_id", "price", "flags"):
                expected = np.concatenate([batch.records[column] for batch in came])
                assert (np.concatenate([batch.records[column] for batch in given_back]) == expected).all()
            books = [
                np.concatenate([b.book["bid_price"] for b in each if b.book is not None]) for each in (came, given_back)
            ]
            assert (books[0] == books[1]).all()
            assert [b.day for b in given_back if b.begins_day] == [b.day for b in came if b.begins_day]
    spool.close()
