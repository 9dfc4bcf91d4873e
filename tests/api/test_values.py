"""What the Python API gives: books, gaps, coverage and tables, by known answers, and how they show themselves."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

import kraken_l3
from kraken_l3.api import Book, BookLevel, BookOrder
from kraken_l3.api.arguments import moment_ns
from kraken_l3.api.display import Stretch, coverage_bar, html_table
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, parse_rfc3339

SYMBOLS = ["ETH/USD", "SOL/USD"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two gaps, the second over midnight."""
    directory = tmp_path_factory.mktemp("values") / "data"
    return kraken_l3.simulate(
        directory, "6m", symbols=SYMBOLS, rate=20, gaps=2, seed=3, depth=100, start="2026-01-02T23:55:59.995Z"
    )


def level(price, *orders):
    return BookLevel(Decimal(price), tuple(BookOrder(name, Decimal(qty), 0) for name, qty in orders))


BOOK = Book(
    "BTC/USD",
    (level("99.5", ("A", "1.0"), ("B", "0.25"), ("C", "3")), level("99", ("D", "7"))),
    (level("100.0", ("E", "2")),),
    parse_rfc3339("2026-01-02T12:00:00Z"),
    True,
    "",
    b"",
)


def test_a_book_knows_its_best_prices_exactly():
    assert BOOK.best_bid is BOOK.bids[0]
    assert BOOK.best_ask is BOOK.asks[0]
    assert (BOOK.mid, BOOK.spread) == (Decimal("99.75"), Decimal("0.5"))
    assert BOOK.level(Decimal(99)).qty == 7
    assert BOOK.level(Decimal("99.1")) is None


def test_an_order_is_found_with_its_place():
    placed = BOOK.order("C")
    assert placed[:4] == ("C", "bid", Decimal("99.5"), Decimal(3))
    assert (placed.level, placed.queue_position, placed.qty_ahead) == (0, 2, Decimal("1.25"))
    assert (BOOK.order("E").side, BOOK.order("E").qty_ahead) == ("ask", 0)
    assert [order.order_id for order in BOOK.orders()] == list("ABCDE")
    with pytest.raises(DataMissing, match=r"BTC/USD at 2026-01-02T12:00:00.*no order 'X'"):
        BOOK.order("X")


def test_an_empty_side_has_no_mid():
    empty = Book("A/B", (), BOOK.asks, None, False, "network", b"")
    assert (empty.best_bid, empty.mid, empty.spread) == (None, None, None)
    assert repr(empty) == "<Book A/B: bid none, ask 100.0; 0 and 1 levels, 1 orders; in a gap (network)>"
    assert "one side is empty" in empty._repr_html_()


def test_each_order_of_a_recorded_book_has_the_place_that_its_level_says(archive):
    book = archive.book("ETH/USD")
    for levels in (book.bids, book.asks):
        for number, each in enumerate(levels):
            ahead = Decimal(0)
            for position, order in enumerate(each.orders):
                placed = book.order(order.order_id)
                assert (placed.level, placed.queue_position, placed.qty_ahead) == (number, position, ahead)
                ahead += order.qty
    assert len(repr(book)) < 200
    assert len(book._repr_html_()) < 12_000


def test_gaps_are_those_of_the_journal_and_the_end_is_none(archive):
    gaps = archive.gaps()
    assert [gap.symbol for gap in gaps] == SYMBOLS * 2
    assert {gap.cause for gap in gaps} == {"network"}
    assert all(gap.seconds == (gap.right_ns - gap.left_ns) / 1e9 for gap in gaps)
    assert list(archive.gaps("SOL/USD")) == list(gaps[1::2])
    assert gaps.to_arrow().schema.field("left").type == pa.timestamp("ns", "UTC")
    assert gaps.to_arrow()["right"].cast(pa.int64()).to_pylist() == [gap.right_ns for gap in gaps]
    with pytest.raises(DataMissing, match="Did you mean"):
        archive.gaps("SOLUSD")


def test_coverage_adds_up(archive):
    rows = archive.coverage()
    midnight = parse_rfc3339("2026-01-03T00:00:00Z")
    assert [(row.symbol, row.day.day) for row in rows] == [(symbol, day) for symbol in SYMBOLS for day in (2, 3)]
    for symbol in SYMBOLS:
        first, second = (row for row in rows if row.symbol == symbol)
        assert first.end_ns == second.start_ns == midnight
        gaps = archive.gaps(symbol)
        assert gaps[1].left_ns < midnight < gaps[1].right_ns
        assert (first.gaps, second.gaps) == (2, 1)
        lost_s = sum(gap.right_ns - gap.left_ns for gap in gaps) / 1e9
        assert first.missing_s + second.missing_s == pytest.approx(lost_s)
        assert second.missing_s == pytest.approx((gaps[1].right_ns - midnight) / 1e9)
        for row in (first, second):
            known_s = (row.end_ns - row.start_ns) / 1e9 - row.missing_s
            assert row.covered == pytest.approx(known_s * NS_PER_S / NS_PER_DAY)
        assert (first.verified, second.verified) == (1.0, 1.0)
    assert sum(row.messages for row in rows) == sum(1 for _ in archive.messages())


def test_coverage_counts_what_is_not_verified_and_needs_no_verification(archive, tmp_path):
    name = "l3-2026-01-03.ndjson"
    lines = (archive.path / name).read_bytes().splitlines(keepends=True)
    bad = len(lines) // 2
    lines[bad] = lines[bad].replace(b'"checksum":', b'"checksum":1')
    for path in archive.path.iterdir():
        (tmp_path / path.name).write_bytes(b"".join(lines) if path.name == name else path.read_bytes())
    damaged = kraken_l3.open(tmp_path).coverage()
    assert sum(row.verified == 1.0 for row in damaged) == 3
    assert all(row.messages is None and row.verified is None for row in archive.coverage(verify=False))


def test_coverage_of_a_file_by_another_recorder_says_what_is_not_known(archive, tmp_path):
    source = tmp_path / "l3-2026-01-02.ndjson"
    source.write_bytes((archive.path / source.name).read_bytes())
    rows = kraken_l3.open(source).coverage()
    assert [row.symbol for row in rows] == SYMBOLS
    assert {(row.start_ns, row.covered) for row in rows} == {(None, None)}
    assert all(row.messages for row in rows)
    assert len(kraken_l3.open(source).gaps()) == 0
    assert repr(kraken_l3.open(source).gaps()) == "<no gaps>"


def test_an_archive_shows_itself_without_reading_data(archive, tmp_path):
    for path in archive.path.glob("journal-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    said = repr(kraken_l3.open(tmp_path))
    assert said == f"<Archive {tmp_path}: ETH/USD, SOL/USD; 2026-01-02 to 2026-01-03, 2 days>"
    html = archive._repr_html_()
    assert html.count("<svg") == 2
    assert html.count("missing (network)") == 4
    assert str(archive.path) in html


def test_a_table_is_read_by_each_use_and_shows_its_first_rows(archive):
    table = archive.events("SOL/USD")
    assert repr(table).startswith("<Table events of SOL/USD: 21 columns")
    assert table.read_all() == table.read_all() == pa.Table.from_batches(table)
    assert table.columns == table.schema.names
    html = table._repr_html_()
    assert "the first 5 rows" in html
    assert len(html) < 10_000
    none = archive.events("SOL/USD", end="2026-01-01")
    assert "no rows" in none._repr_html_()


def test_orders_and_features_are_tables_too(archive):
    orders, bars = archive.orders("SOL/USD"), archive.features("SOL/USD", every="1m")
    arrived = sum(row["birth"] == "new" for row in orders.read_all().to_pylist())
    kinds = archive.events("SOL/USD").read_all()["classification"].to_pylist()
    assert arrived == kinds.count("new")
    table = bars.read_all()
    trades = archive.trades("SOL/USD").read_all()
    assert trades["trade_id"].to_pylist() == list(range(1, len(trades) + 1))
    assert sum(table["trades"].to_pylist()) <= len(trades)
    assert {each.columns[0] for each in (orders, bars, archive.trades("SOL/USD"))} == {"symbol"}
    assert orders.schema == orders.read_all().schema
    assert sum(table["bid_arrivals"].to_pylist()) + sum(table["ask_arrivals"].to_pylist()) <= arrived
    assert repr(orders).startswith("<Table orders of SOL/USD")
    with pytest.raises(UsageError, match="divides a day"):
        archive.features("SOL/USD", every="7s")
    with pytest.raises(DataMissing, match="no symbol"):
        archive.orders("XYZ/USD")


def test_a_scan_keeps_what_a_query_asks_for(archive):
    pl = pytest.importorskip("polars")
    table = archive.snapshots("SOL/USD", every="1s", wide=True)
    frame = table.to_polars()
    scan = table.scan()
    assert scan.collect().equals(frame)
    assert scan.head(7).collect().equals(frame.head(7))
    assert scan.select("mid").tail(3).collect().equals(frame.select("mid").tail(3))
    best = pl.col("mid") > frame["mid"].mean()
    assert scan.filter(best).select("timestamp").collect().equals(frame.filter(best).select("timestamp"))
    assert scan.filter(best).head(2).collect().equals(frame.filter(best).head(2))


def test_stamps_of_other_libraries_are_moments(archive):
    table = archive.snapshots("SOL/USD", every="1s").read_all()
    stamp = table["timestamp"][10]
    ns = table["timestamp"].cast(pa.int64())[10].as_py()
    assert moment_ns(stamp) == ns
    assert moment_ns(pa.scalar(dt.datetime(2026, 1, 2), pa.timestamp("ms"))) == parse_rfc3339("2026-01-02T00:00:00Z")
    pl = pytest.importorskip("polars")
    assert moment_ns(pl.from_arrow(table)["timestamp"][10]) == ns
    assert archive.book("SOL/USD", at=stamp) == archive.book("SOL/USD", at=ns)


def test_strangers_texts_are_escaped():
    nasty = "<script>"
    book = Book(nasty, BOOK.bids, BOOK.asks, None, False, nasty, b"")
    shown = [book._repr_html_(), html_table([nasty], [[nasty]], nasty)]
    shown.append(coverage_bar({nasty: [Stretch(0, 5), Stretch(2, 3, nasty)]}, 0, 5))
    assert all(nasty not in html for html in shown)
