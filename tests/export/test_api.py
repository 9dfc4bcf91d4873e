import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, record
from books import Oracle, lines_with_times
from plain import plain

import kraken_l3
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.table import Table
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("api")
    return record(directory / "a", messages=3_000, gap=True, trades=True, start_ns=NIGHT_NS - 20 * SECOND_NS)


def files_of(source, target, options: Table, symbol: str = "BTC-USD") -> pa.Table:
    export_table(str(source), str(target), options)
    paths = sorted((target / options.name / f"symbol={symbol}").rglob("*.parquet"))
    assert len(paths) == 2
    return pa.concat_tables([pq.ParquetFile(path).read().replace_schema_metadata() for path in paths])


def test_importing_the_package_imports_nothing_heavy():
    check = "import sys, kraken_l3; print([m for m in ('numpy', 'pyarrow', 'msgspec', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_needs_no_research_libraries():
    check = (
        "import sys; sys.modules['numpy'] = sys.modules['pyarrow'] = None\n"
        "import kraken_l3\n"
        "try:\n    kraken_l3.open('.').snapshots('A/B')\n"
        "except kraken_l3.errors.UsageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "pip install numpy pyarrow" in done.stdout  # names that exist on PyPI


def test_events_are_those_of_the_files(source, tmp_path):
    told = kraken_l3.open(source).events("BTC/USD").read_all()
    filed = files_of(source, tmp_path / "o", EventsTable())
    assert set(told["symbol"].to_pylist()) == {"BTC/USD"}  # in files the directory says so
    assert plain(told.drop(["symbol", "fill_confidence"])) == plain(filed.drop(["fill_confidence"]))


@pytest.mark.parametrize("how", [{"every": "1s"}, {"every": "change", "levels": 3}, {"every": "100ms", "wide": True}])
def test_so_are_snapshots(source, tmp_path, how):
    options = {"levels": 10, "wide": False, **how}
    spans = {"1s": SECOND_NS, "100ms": SECOND_NS // 10, "change": None}
    filed = files_of(source, tmp_path / "o", SnapshotsTable(grid_ns=spans[options.pop("every")], **options))
    assert plain(kraken_l3.open(source).snapshots("BTC/USD", **how).read_all().drop(["symbol"])) == plain(filed)


def test_between_two_moments(source):
    archive = kraken_l3.open(source)
    start, end = NIGHT_NS + SECOND_NS, NIGHT_NS + 3 * SECOND_NS
    everything = archive.snapshots("ETH/USD", every="100ms").read_all()
    times = everything["timestamp"].cast(pa.int64()).to_pylist()
    wanted = [row for row, at in zip(plain(everything), times) if start <= at < end]
    assert plain(archive.snapshots("ETH/USD", every="100ms", start=start, end=end).read_all()) == wanted
    moment = dt.datetime.fromtimestamp(start // SECOND_NS, dt.timezone.utc)
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    naive = moment.replace(tzinfo=None)
    for same in (moment, text, naive):
        assert plain(archive.snapshots("ETH/USD", every="100ms", start=same, end=end).read_all()) == wanted
    assert archive.events("ETH/USD", start=end, end=end).read_all().num_rows == 0


def test_a_book_has_every_order_exactly(source):
    oracle = Oracle(source)
    at_ns = NIGHT_NS + SECOND_NS
    oracle.go_to(at_ns)
    book = kraken_l3.open(source).book("BTC/USD", at=at_ns)
    orders = oracle.orders("BTC/USD")
    for levels, side in ((book.bids, "bids"), (book.asks, "asks")):
        mine = [(level.price, order.qty, order.order_id) for level in levels for order in level.orders]
        assert mine == [(o["limit_price"], o["order_qty"], o["order_id"]) for o in orders[side]]
    assert book.verified
    assert not book.gap
    assert isinstance(book.bids[0].qty, Decimal)
    assert book.bids[0].price < book.asks[0].price


def test_books_and_messages_one_by_one(source):
    archive = kraken_l3.open(source)
    ladders = list(archive.books("BTC/USD", every="1s", levels=2))
    table = archive.snapshots("BTC/USD", every="1s", levels=2).read_all()
    assert [ladder.timestamp_ns for ladder in ladders] == table["timestamp"].cast(pa.int64()).to_pylist()
    assert all(len(ladder.bids) == len(ladder.asks) == 2 for ladder in ladders)
    times = [line.receipt.recv_ns for line in archive.messages()]
    assert times == [at for at, _ in lines_with_times(source)]
    middle = times[100]
    assert [line.receipt.recv_ns for line in archive.messages(end=middle)] == times[:100]
    assert all(b'"trade"' in line.payload for line in archive.messages("trade"))


def test_what_an_archive_says_of_itself(source, tmp_path):
    archive = kraken_l3.open(str(source))
    assert archive.symbols == ["BTC/USD", "ETH/USD"]
    assert [day.day for day in archive.days] == [22, 23]
    assert archive.verify().exit_code() == 0
    foreign = tmp_path / "x.ndjson"
    foreign.write_bytes(next(source.glob("l3-*.ndjson")).read_bytes())
    assert kraken_l3.open(foreign).symbols == ["BTC/USD", "ETH/USD"]
    assert kraken_l3.open(foreign).events("BTC/USD").read_all().num_rows > 100


def test_errors_say_what_to_do(source, tmp_path):
    archive = kraken_l3.open(source)
    with pytest.raises(DataMissing, match="BTC/USD, ETH/USD"):
        archive.events("XYZ/USD")
    with pytest.raises(UsageError, match="100ms"):
        archive.snapshots("BTC/USD", every="soon")
    with pytest.raises(UsageError, match="2026-11-22T"):
        archive.events("BTC/USD", start="yesterday")
    with pytest.raises(UsageError):
        kraken_l3.open(tmp_path / "nothing")
    with pytest.raises(AttributeError):
        kraken_l3.nothing  # noqa: B018


@pytest.mark.parametrize(
    "call",
    [
        lambda archive: archive.book("BTC/USD", at=1.5),
        lambda archive: archive.book("BTC/USD", at=1_795_348_800),
        lambda archive: archive.book(7),
        lambda archive: archive.events(None),
        lambda archive: archive.events("BTC/USD", start=True),
        lambda archive: archive.snapshots("BTC/USD", every=1),
        lambda archive: archive.snapshots("BTC/USD", levels="10"),
        lambda archive: archive.books("BTC/USD", levels=5000),
        lambda archive: archive.messages("trades"),
        lambda archive: archive.messages(start="2026-11-23", end="2026-11-22"),
        lambda archive: archive.verify(jobs=0),
        lambda archive: kraken_l3.open(7),
    ],
)
def test_every_function_refuses_what_cannot_work_at_once(source, call):
    with pytest.raises(UsageError):
        call(kraken_l3.open(source))


def test_a_mistyped_symbol_is_told_what_there_is(source):
    for call in (kraken_l3.open(source).book, kraken_l3.open(source).events, kraken_l3.open(source).snapshots):
        with pytest.raises(DataMissing, match="Did you mean BTC/USD"):
            call("BTCUSD")


@pytest.mark.parametrize("name", ["polars", "duckdb", "pandas"])
def test_other_libraries_take_the_stream(source, name):
    library = pytest.importorskip(name)
    archive = kraken_l3.open(source)
    count = archive.events("BTC/USD").read_all().num_rows
    table = archive.events("BTC/USD")
    if name == "polars":
        assert len(library.DataFrame(table)) == len(table.to_polars()) == count
        assert table.scan().select(library.len()).collect().item() == count
    elif name == "duckdb":
        assert library.connect().execute('select count(*) from "table"').fetchall() == [(count,)]
    else:
        assert len(table.to_pandas()) == count


def test_two_readers_at_once_do_not_disturb_one_another(source):
    archive = kraken_l3.open(source)
    expected = [archive.events(symbol).read_all() for symbol in archive.symbols]
    readers = [archive.events(symbol).reader() for symbol in archive.symbols]
    first = [reader.read_next_batch() for reader in readers]
    for batch, reader, table in zip(first, readers, expected):
        assert pa.Table.from_batches([batch, *reader]) == table


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A file without receipts, called after another day, whose messages' times step back or are missing.

    Gives its path and the time of each line, which is the latest that any line had so far.
    """
    directory = tmp_path_factory.mktemp("foreign")
    source = record(directory / "a", messages=600, rate=3_000.0)
    random = Random(7)
    lines, times = [], []
    for line in next(source.glob("l3-*.ndjson")).read_bytes().splitlines():
        message = json.loads(line)
        head, _, tail = line.rpartition(b',"timestamp":"')
        at_ns = parse_rfc3339(message["data"][0]["timestamp"]) + random.choice((0, 0, 0, -40_000_000, 5_000_000))
        text = format_rfc3339(at_ns) if lines and random.random() > 0.1 else ""
        lines.append(head + (f',"timestamp":"{text}"' if text else "").encode() + tail[tail.index(b'"') + 1 :])
        times.append(max(times[-1] if times else 0, at_ns if text else 0))
    path = directory / "l3-2026-01-01.ndjson"
    path.write_bytes(b"\n".join(lines))
    return path, times


def test_a_book_and_the_row_at_its_moment_agree_at_every_moment_without_receipts(foreign):
    path, times = foreign
    archive = kraken_l3.open(path)
    shown = 0
    for symbol in archive.symbols:
        for row in archive.books(symbol, every="1ms", levels=10):
            book = archive.book(symbol, at=row.timestamp_ns)
            for levels, ladder in ((book.bids, row.bids), (book.asks, row.asks)):
                assert [(float(level.price), float(level.qty)) for level in levels[:10]] == ladder, row.timestamp_ns
            shown += 1
    assert shown > 150
    assert max(times) - min(filter(None, times)) > 150_000_000


def test_a_window_holds_without_receipts_and_whatever_the_file_is_called(foreign):
    path, times = foreign
    archive = kraken_l3.open(path)
    start, end = times[150], times[450]
    numbers = [line.number for line in archive.messages(start=start, end=end)]
    assert numbers == [number for number, ns in enumerate(times) if start <= ns < end]
    assert [line.number for line in archive.messages(end=end)] == [n for n, ns in enumerate(times) if ns < end]
    for symbol in archive.symbols:
        assert archive.events(symbol, start=start, end=end).read_all().num_rows > 50
        assert archive.snapshots(symbol, "1ms", start=start, end=end).read_all().num_rows > 10
