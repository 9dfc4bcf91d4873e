"""Many processes, a cluster, and object storage; and that other libraries read the tree that comes of it."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archives import record

import kraken_l3
from kraken_l3.archive.remote import RemoteFile
from kraken_l3.errors import UsageError
from kraken_l3.export.bulk import export_table, plan_jobs
from kraken_l3.export.events import EventsTable
from kraken_l3.export.snapshots import SnapshotsTable

ROOT = Path(__file__).resolve().parents[2]
EVENTS = EventsTable()
SNAPSHOTS = SnapshotsTable(grid_ns=1_000_000_000)


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bulk") / "a", messages=2_000, gap=True)


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("bulk") / "o"
    for options in (EVENTS, SNAPSHOTS):
        export_table(str(source), str(target), options)
    return target


# -- jobs


@pytest.mark.parametrize(
    ("pairs", "wanted", "shares"),
    [
        (["BTC/USD"], None, 1),
        (["BTC/USD", "ETH/USD", "ADA/USD"], None, 3),
        (["BTC/USD", "ETH/USD", "ADA/USD"], ["ADA/USD"], 1),
        (["BTC/USD", "ETH/USD", "ADA/USD"], ["ADA/USD", "BTC/USD", "XRP/USD"], 2),
        (["BTC/USD"], ["XRP/USD"], 1),
    ],
)
def test_no_job_reads_a_file_in_which_no_pair_is_its_own(tmp_path, pairs, wanted, shares):
    source = record(tmp_path / "a", symbols=pairs, messages=60)
    table = EventsTable(frozenset(wanted) if wanted is not None else None)
    planned = plan_jobs(str(source), str(tmp_path / "o"), table, shares=4)
    assert [job.part for job in planned] == [(part, shares) for part in range(shares)]


def test_a_file_without_pairs_is_shared_out_all_the_same(tmp_path):
    (tmp_path / "l3.ndjson").write_bytes(b"{}\n")
    assert len(plan_jobs(str(tmp_path / "l3.ndjson"), str(tmp_path / "o"), EVENTS, shares=2)) == 2


# -- readers of the tree


def test_polars_reads_the_tree(exported):
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(exported / "events", hive_partitioning=True)
    assert set(frame["symbol"].unique().to_list()) == {"BTC-USD", "ETH-USD"}
    assert str(frame["date"][0]) == "2026-11-22"
    assert len(frame.filter(polars.col("classification") == "reentry")) > 0


def test_duckdb_reads_the_tree(exported):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.connect().execute(
        f"select symbol, date::varchar, count(*), min(len(bid_prices)) from "
        f"read_parquet('{exported}/snapshots/**/*.parquet', hive_partitioning=true) group by all order by all"
    )
    found = rows.fetchall()
    assert [row[:2] for row in found] == [("BTC-USD", "2026-11-22"), ("ETH-USD", "2026-11-22")]
    assert all(count > 30 and levels == 10 for _, _, count, levels in found)


def test_pyarrow_and_pandas_read_the_tree(exported):
    dataset = pytest.importorskip("pyarrow.dataset")
    table = dataset.dataset(exported / "events", partitioning="hive").to_table()
    assert set(table["symbol"].to_pylist()) == {"BTC-USD", "ETH-USD"}
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(exported / "snapshots")
    assert set(frame["symbol"]) == {"BTC-USD", "ETH-USD"}
    assert len(frame["bid_prices"].iloc[0]) == 10


def test_dask_reads_the_tree(exported):
    dataframe = pytest.importorskip("dask.dataframe")
    frame = dataframe.read_parquet(str(exported / "events"))
    counts = frame.groupby("symbol", observed=True).size().compute()
    assert dict(counts) == {symbol: sum(1 for _ in _rows(exported, symbol)) for symbol in ("BTC-USD", "ETH-USD")}


def _rows(exported, symbol):
    import pyarrow.parquet as pq

    for path in (exported / "events" / f"symbol={symbol}").rglob("*.parquet"):
        yield from range(pq.ParquetFile(path).metadata.num_rows)


# -- object storage


@pytest.fixture(scope="module")
def bucket():
    """moto's server, as its own process: what is tested is the way over HTTP. One for all: fsspec keeps connections."""
    boto3 = pytest.importorskip("boto3", reason="needs s3fs and moto[server]")
    for name in ("moto", "s3fs", "flask"):
        pytest.importorskip(name, reason="needs s3fs and moto[server]")
    code = (
        "from moto.server import ThreadedMotoServer\n"
        "import sys, time\n"
        "server = ThreadedMotoServer('127.0.0.1', 0)\n"
        "server.start()\n"
        "print(server.get_host_and_port()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = next(line.strip() for line in server.stdout if line.strip().isdecimal())
        endpoint = f"http://127.0.0.1:{port}"
        with pytest.MonkeyPatch.context() as environment:
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                environment.setenv(key, "testing")
            environment.setenv("AWS_ENDPOINT_URL", endpoint)
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="market")
            yield "s3://market"
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(30)


def _upload(source: Path, url: str) -> None:
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(url)
    for path in source.iterdir():
        filesystem.put_file(str(path), f"{root}/{path.name}")


def _download(url: str, directory: Path) -> None:
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.invalidate_cache()
    for path in filesystem.find(root):
        local = directory / path[len(root) + 1 :]
        local.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(path, str(local))


def test_object_storage_in_and_out(source, exported, bucket, tmp_path):
    _upload(source, f"{bucket}/archive")
    for options in (EVENTS, SNAPSHOTS):
        report = export_table(f"{bucket}/archive", f"{bucket}/tables", options)
        assert report.exit_code() == 0
        assert export_table(f"{bucket}/archive", f"{bucket}/tables", options).already_there == len(report.files)
    _download(f"{bucket}/tables", tmp_path)
    assert tree(tmp_path) == tree(exported)
    with pytest.raises(UsageError, match="no such"):
        export_table(f"{bucket}/nothing", f"{bucket}/tables", EVENTS)


def test_one_file_in_a_bucket(source, exported, bucket, tmp_path):
    _upload(source, f"{bucket}/archive")
    report = export_table(f"{bucket}/archive/l3-2026-11-22.ndjson", str(tmp_path), EVENTS)
    assert sum(file.rows for file in report.files) > 0


# -- a cluster


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask[distributed]")
def test_a_cluster_that_loses_a_worker_makes_the_same_files():
    command = [sys.executable, str(ROOT / "examples/cluster_demo.py"), "--days", "4", "--messages", "3000"]
    environment = {**os.environ, "COLUMNS": "100"}
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=110)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert "the same, byte for byte" in done.stdout
    assert time.monotonic() - start < 110


def test_no_scheduler_is_a_clear_error(source, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="no Dask scheduler"):
        export_table(str(source), str(tmp_path), EVENTS, cluster="tcp://127.0.0.1:9")


def test_an_archive_on_s3_is_read_in_place(source, bucket, monkeypatch):
    _upload(source, f"{bucket}/day")
    asked: list[int] = []
    read = RemoteFile._range

    def counted(file, begin, end):
        asked.append(end - begin)
        return read(file, begin, end)

    monkeypatch.setattr(RemoteFile, "_range", counted)
    here, there = kraken_l3.open(source), kraken_l3.open(f"{bucket}/day")
    assert there.symbols == here.symbols
    for symbol in here.symbols:
        assert there.book(symbol) == here.book(symbol)
    assert there.verify().exit_code() == here.verify().exit_code()
    assert len(asked) > 3
    with pytest.raises(UsageError, match="no such bucket"):
        kraken_l3.open(f"{bucket}-that-is-not-there/day")
    program = [sys.executable, "-m", "kraken_l3", "book", f"{bucket}/day", "--symbol", here.symbols[0]]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 0


def test_missing_credentials_are_told_in_a_sentence(bucket):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update(AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
    program = [sys.executable, "-m", "kraken_l3", "info", f"{bucket}/day"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 1
    assert "AWS_ACCESS_KEY_ID" in done.stderr
