"""Exports for other tools, each read back by that tool itself, in an environment of its own.

`make tools` installs them (.venv-hftbacktest, .venv-nautilus, .venv-lobster); a test whose tool is missing is skipped.
"""

import csv
import datetime as dt
import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from archives import LATENCY_NS, NIGHT_NS, START_NS, begin_second_day_with_snapshots, record, write_checkpoints
from books import Oracle

from kraken_l3.archive.reader import open_archive
from kraken_l3.cli.main import main
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import Side

ROOT = Path(__file__).resolve().parents[2]
READERS = Path(__file__).parent / "readers"
SECOND_NS = 1_000_000_000
#: hftbacktest's codes.
END_OF_DATA, ORDER_NOT_FOUND = 1, 12
NOT_SENT, STILL_OPEN, EXPIRED = 0, 1, 2


def python_of(tool: str) -> str:
    python = ROOT / f".venv-{tool}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{tool} is not installed ('make tools' does it)")
    return str(python)


def read_with(tool: str, script: str, *arguments: object):
    command = [python_of(tool), str(READERS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def export(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["kraken-l3", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.fixture(scope="module", params=["goes on", "checkpoints", "snapshots"])
def source(request, tmp_path_factory):
    """Over midnight, with a gap in the second day, which begins in every way there is."""
    directory = tmp_path_factory.mktemp("tools")
    source = record(directory / "a", messages=6_000, gap=True, trades=True, start_ns=NIGHT_NS)
    if request.param == "checkpoints":
        write_checkpoints(source)
    if request.param == "snapshots":
        begin_second_day_with_snapshots(source, directory / "b")
        return directory / "b"
    return source


@pytest.fixture(scope="module")
def days(source):
    return [day.isoformat() for day in open_archive(source).days]


def tops(source, times: list[int], levels: int = 1) -> list:
    oracle = Oracle(source)
    found = []
    for at in times:
        oracle.go_to(at)
        found.append(oracle.top("BTC/USD", levels))
    return found


# -- hftbacktest


@pytest.mark.parametrize("resync", ["diff", "clear"])
def test_a_backtest_sees_the_book_and_fills_an_order(source, days, tmp_path, monkeypatch, resync):
    python_of("hftbacktest")
    export(monkeypatch, "hftbacktest", source, "--out", tmp_path, "--symbols", "BTC/USD", "--resync", resync)
    for day, start in zip(days, (NIGHT_NS + SECOND_NS, NIGHT_NS + 11 * SECOND_NS)):
        npz = tmp_path / f"hftbacktest/BTC-USD_{day}.npz"
        data = np.load(npz)["data"]
        seconds = (int(data["local_ts"][-1]) - start) // SECOND_NS
        told = read_with("hftbacktest", "hftbacktest_book.py", npz, 0.1, 1e-8, start, seconds)
        assert len(told["tops"]) == seconds
        expected = tops(source, [start + i * SECOND_NS for i in range(seconds)])
        for (bid, bid_qty, ask, ask_qty), ([want_bid], [want_ask]) in zip(told["tops"], expected):
            assert (bid, ask) == pytest.approx((want_bid[0], want_ask[0]))
            assert (bid_qty, ask_qty) == pytest.approx((want_bid[1], want_ask[1]), abs=1e-9)
        assert told["status"] is not None


def test_hftbacktest_events_are_possible_ones(source, days, tmp_path, monkeypatch):
    """What its book would refuse: an id added twice, one unknown cancelled or modified."""
    export(monkeypatch, "hftbacktest", source, "--out", tmp_path, "--symbols", "BTC/USD")
    kinds: Counter = Counter()
    for day in days:
        live: set[int] = set()
        data = np.load(tmp_path / f"hftbacktest/BTC-USD_{day}.npz")["data"]
        told = json.loads((tmp_path / f"hftbacktest/BTC-USD_{day}.json").read_text())
        assert data.dtype.itemsize == 64
        assert (np.diff(data["exch_ts"][data["ev"] & (1 << 31) != 0]) >= 0).all()
        assert (np.diff(data["local_ts"]) >= 0).all()
        assert (data["local_ts"] >= data["exch_ts"]).all()
        for ev, order_id in zip(data["ev"].tolist(), data["order_id"].tolist()):
            kind = ev & 0xFF
            kinds[kind] += 1
            if kind == 3:
                live.clear()
            elif kind == 10:
                assert order_id not in live
                live.add(order_id)
            elif kind != 2:
                assert order_id in live
                if kind == 11:
                    live.remove(order_id)
        with (tmp_path / f"hftbacktest/BTC-USD_{day}_ids.csv").open() as file:
            ids = {int(row["number"]): row["order_id"] for row in csv.DictReader(file)}
        assert set(ids) == set(data["order_id"].tolist()) - {0}
        assert told["rows"] == len(data)
        assert told["events"] == {
            name: np.count_nonzero(data["ev"] & 0xFF == kind)
            for name, kind in (("trade", 2), ("clear", 3), ("add", 10), ("cancel", 11), ("modify", 12), ("fill", 13))
        }
        prices = data["px"][data["px"] > 0]
        assert (told["roi_lb"], told["roi_ub"]) == (prices.min(), prices.max())
        assert (told["tick_size"], told["lot_size"]) == (0.1, 1e-8)
    assert kinds[3] == len(days)
    assert kinds[13] > 10


def test_hftbacktest_gets_each_recorded_trade_where_it_was_received(source, days, tmp_path, monkeypatch):
    export(monkeypatch, "hftbacktest", source, "--out", tmp_path, "--symbols", "BTC/USD")
    archive = open_archive(source)
    matched = 0
    for day in archive.days:
        data = np.load(tmp_path / f"hftbacktest/BTC-USD_{day.isoformat()}.npz")["data"]
        recorded = DayTrades(archive, day).of("BTC/USD")
        traded = data[data["ev"] & 0xFF == 2]
        for name, expected in (
            ("ival", recorded["trade_id"]),
            ("exch_ts", recorded["ts_event"]),
            ("local_ts", recorded["ts_recv"]),
            ("px", recorded["price"] / 10.0 ** recorded["price_scale"]),
            ("qty", recorded["qty"] / 10.0 ** recorded["qty_scale"]),
            ("ev", np.where(recorded["taker_side"] == Side.BID, 1 << 29, 1 << 28) | 2 | 1 << 30 | 1 << 31),
        ):
            assert (traded[name] == expected).all()
        trades = {row["ival"]: row for row in traded}
        for fill in data[(data["ev"] & 0xFF == 13) & (data["ival"] != 0)]:
            trade = trades.pop(fill["ival"])
            assert (trade["px"], trade["qty"]) == (fill["px"], fill["qty"])
            assert (trade["ev"] ^ fill["ev"]) & (3 << 28) == 3 << 28  # the side that rested, and the taker's
            matched += 1
    assert matched > 10 or not list(source.glob("trade-*"))


def test_hftbacktest_tells_by_how_much_local_times_were_shifted(tmp_path, monkeypatch, capsys):
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=200)
    receipts = next(source.glob("l3-*.receipts"))
    behind = np.fromfile(receipts, "<i8").reshape(-1, 4)
    behind[:, 0] -= SECOND_NS  # a clock that is a second behind: latencies of LATENCY_NS - 1 s
    behind.tofile(receipts)
    export(monkeypatch, "hftbacktest", source, "--out", tmp_path)
    assert "npz: all local times are 0.992345679 s later than received" in capsys.readouterr().err
    [npz] = tmp_path.glob("hftbacktest/*.npz")
    [told] = (json.loads(path.read_text()) for path in tmp_path.glob("hftbacktest/*.json"))
    shift_ns = told["local_ts_shift_ns"]
    assert shift_ns == SECOND_NS - LATENCY_NS
    assert told["feed_latency_ns"] == {"least": 0, "mean": 0, "most": 0}
    data = np.load(npz)["data"]
    assert (data["local_ts"] >= data["exch_ts"]).all()
    assert data["local_ts"][0] - shift_ns == behind[0, 0]


@pytest.mark.parametrize(
    ("how", "ended", "status"),
    [("rows", END_OF_DATA, STILL_OPEN), ("whole", END_OF_DATA, EXPIRED), ("snapshot", ORDER_NOT_FOUND, NOT_SENT)],
)
def test_hftbacktest_days_in_a_row_keep_an_order_open(tmp_path, monkeypatch, how, ended, status):
    """As docs/export.md says: without the second day's opening rows; with them, and with `initial_snapshot`, not."""
    python_of("hftbacktest")
    source = record(tmp_path / "a", symbols=("BTC/USD",), messages=1_500, start_ns=NIGHT_NS)
    export(monkeypatch, "hftbacktest", source, "--out", tmp_path)
    days = sorted(tmp_path.glob("hftbacktest/*.npz"))
    assert len(days) == 2
    told = read_with("hftbacktest", "hftbacktest_days.py", how, 0.1, 1e-8, *days)
    assert (told["ended"], told["status"]) == (ended, status)
    if ended == END_OF_DATA:
        [[bids, asks]] = tops(source, [told["last_ns"]])
        assert told["top"] == pytest.approx([bids[0][0], asks[0][0]])


def test_the_backtest_example_is_filled_when_the_recorded_flow_says_so():
    python = python_of("hftbacktest")
    done = subprocess.run(
        [python, ROOT / "examples/backtest_hftbacktest.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    orders, filled = re.search(r"([\d,]+) orders, (\d+) filled", done.stdout).groups()
    assert f"{orders} of them ended as the recorded flow says" in done.stdout
    assert int(filled) > 30


# -- NautilusTrader


def test_the_nautilus_book_has_the_same_top(source, tmp_path):
    python = python_of("nautilus")
    command = [python, "-m", "kraken_l3", "export", "nautilus", source, "--out", tmp_path, "--symbols", "BTC/USD"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    told = read_with("nautilus", "nautilus_book.py", tmp_path / "nautilus", "BTC/USD.KRAKEN")
    assert len(told) > 2_000
    chosen = [row for row, after in zip(told, told[1:]) if row[0] != after[0] and row[0] % (86_400 * SECOND_NS)]
    expected = tops(source, [row[0] for row in chosen])
    for (_, bid, bid_qty, ask, ask_qty), ([want_bid], [want_ask]) in zip(chosen, expected):
        assert (float(bid), float(bid_qty)) == want_bid
        assert (float(ask), float(ask_qty)) == want_ask


def test_the_nautilus_catalog_has_the_trades_and_the_pair(source, tmp_path):
    python = python_of("nautilus")
    command = [python, "-m", "kraken_l3", "export", "nautilus", source, "--out", tmp_path, "--symbols", "BTC/USD"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    told = read_with("nautilus", "nautilus_catalog.py", tmp_path / "nautilus", "BTC/USD.KRAKEN")
    archive = open_archive(source)
    expected = [
        [
            str(trade["trade_id"]),
            format_scaled(int(trade["price"]), int(trade["price_scale"])),
            format_scaled(int(trade["qty"]), int(trade["qty_scale"])),
            {Side.BID: "BUYER", Side.ASK: "SELLER"}[trade["taker_side"]],
            int(trade["ts_event"]),
            int(trade["ts_recv"]),
        ]
        for day in archive.days
        for trade in DayTrades(archive, day).of("BTC/USD")
    ]
    assert told["trades"] == expected
    for pair in told["pairs"]:
        assert (pair["base_currency"], pair["quote_currency"]) == ("BTC", "USD")
        assert (pair["price_precision"], pair["price_increment"]) == (1, "0.1")
        assert (pair["size_precision"], pair["size_increment"]) == (8, "0.00000001")
        assert (float(pair["maker_fee"]), float(pair["taker_fee"])) == (0.0025, 0.004)
    assert told["pairs"]


def test_the_nautilus_backtest_example_is_filled_by_the_recorded_flow():
    python = python_of("nautilus")
    done = subprocess.run([python, ROOT / "examples/backtest_nautilus.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    by_trade, by_order = re.search(r"(\d+) by a trade, (\d+) by a crossing order, 0 by nothing", done.stdout).groups()
    assert int(by_trade) > 10
    assert int(by_order) > 10


# -- Tardis


def test_the_nautilus_tardis_loader_reads_both_files(source, days, tmp_path, monkeypatch):
    python_of("nautilus")
    export(monkeypatch, "tardis", source, "--out", tmp_path, "--symbols", "BTC/USD")
    oracle = Oracle(source)
    for day in days:
        files = [
            tmp_path / f"tardis/kraken_{k}_{day}_BTC-USD.csv.gz" for k in ("incremental_book_L2", "book_snapshot_25")
        ]
        told = read_with("nautilus", "nautilus_tardis.py", *files, 1, 8)
        assert len(told["tops"]) > 100
        latest = {at: rest for at, *rest in told["tops"]}
        for at, bids, asks in told["depths"]:
            oracle.go_to(at + 999)  # Tardis' times are microseconds
            want_bids, want_asks = oracle.top("BTC/USD", 10)
            assert [tuple(level) for level in bids if level[1]] == want_bids
            assert [tuple(level) for level in asks if level[1]] == want_asks
            if at in latest:
                assert latest[at] == [want_bids[0][0], want_asks[0][0]]


def test_hftbacktest_converts_the_tardis_file(source, days, tmp_path, monkeypatch):
    python_of("hftbacktest")
    export(monkeypatch, "tardis", source, "--out", tmp_path, "--symbols", "BTC/USD")
    told = read_with(
        "hftbacktest", "hftbacktest_tardis.py", tmp_path / f"tardis/kraken_incremental_book_L2_{days[0]}_BTC-USD.csv.gz"
    )
    assert told["rows"] > 100
    assert set(told["kinds"]) <= {1, 3, 4}


def test_tardis_levels_followed_are_the_book(source, days, tmp_path, monkeypatch):
    export(monkeypatch, "tardis", source, "--out", tmp_path, "--symbols", "BTC/USD")
    oracle = Oracle(source)
    for day in days:
        levels: dict = {}
        with gzip.open(tmp_path / f"tardis/kraken_incremental_book_L2_{day}_BTC-USD.csv.gz", "rt") as file:
            rows = list(csv.DictReader(file))
        assert rows[0]["is_snapshot"] == "true"
        for number, row in enumerate(rows):
            if row["is_snapshot"] == "true" and (not number or rows[number - 1]["is_snapshot"] == "false"):
                levels.clear()
            key = row["side"], float(row["price"])
            levels[key] = float(row["amount"])
            if not levels[key]:
                del levels[key]
            if number + 1 == len(rows) or rows[number + 1]["local_timestamp"] != row["local_timestamp"]:
                oracle.go_to(int(row["local_timestamp"]) * 1_000 + 999)
                bids, asks = oracle.top("BTC/USD", 100)
                assert levels == {("bid", p): q for p, q in bids} | {("ask", p): q for p, q in asks}


def test_tardis_trades_are_those_that_were_recorded(source, days, tmp_path, monkeypatch):
    export(monkeypatch, "tardis", source, "--out", tmp_path, "--symbols", "BTC/USD")
    names = ("timestamp", "local_timestamp", "id", "side", "price", "amount")
    count = 0
    for day in days:
        trades = DayTrades(open_archive(source), dt.date.fromisoformat(day), ["BTC/USD"]).of("BTC/USD")
        path = tmp_path / f"tardis/kraken_trades_{day}_BTC-USD.csv.gz"
        rows = []
        if path.exists():
            with gzip.open(path, "rt") as file:
                rows = list(csv.DictReader(file))
        assert all((row["exchange"], row["symbol"]) == ("kraken", "BTC/USD") for row in rows)
        assert [tuple(row[name] for name in names) for row in rows] == [
            (
                str(trade["ts_event"] // 1_000),
                str((trade["ts_recv"] or trade["ts_event"]) // 1_000),
                str(trade["trade_id"]),
                {Side.BID: "buy", Side.ASK: "sell"}[Side(trade["taker_side"])],
                format_scaled(int(trade["price"]), int(trade["price_scale"])),
                format_scaled(int(trade["qty"]) * 10 ** (8 - int(trade["qty_scale"])), 8),
            )
            for trade in trades
        ]
        count += len(rows)
    assert (count > 10) == any(source.glob("trade-*.ndjson"))


# -- LOBSTER


def lobster_files(directory: Path, day: str) -> dict[str, Path]:
    return {path.stem.split("_")[4]: path for path in directory.glob(f"lobster/BTC-USD_{day}_*")}


def test_lobster_lines_lead_to_the_book_beside_them(source, days, tmp_path, monkeypatch):
    export(monkeypatch, "lobster", source, "--out", tmp_path, "--symbols", "BTC/USD", "--levels", "10")
    types: Counter = Counter()
    oracle = Oracle(source)
    for number, day in enumerate(days):
        files = lobster_files(tmp_path, day)
        scales = json.loads(files["scales"].read_text())
        messages = [line.split(",") for line in files["message"].read_text().splitlines()]
        books = [list(map(int, line.split(","))) for line in files["orderbook"].read_text().splitlines()]
        assert len(messages) == len(books)
        orders: dict = {}
        midnight = (START_NS // (86_400 * SECOND_NS) + number) * 86_400 * SECOND_NS
        for index, (row, book) in enumerate(zip(messages, books)):
            kind, order_id, size, price = map(int, row[1:5])
            types[kind] += 1
            if kind == 1:
                assert order_id not in orders
                orders[order_id] = [price, size, row[5]]
            elif kind not in (5, 7):
                assert orders[order_id][0] == price
                orders[order_id][1] -= size
                if orders[order_id][1] == 0:
                    del orders[order_id]
            assert book == _lobster_book(orders.values(), 10)
            if index + 1 == len(messages) or messages[index + 1][0] != row[0]:
                seconds, ns = row[0].split(".")
                oracle.go_to(midnight + int(seconds) * SECOND_NS + int(ns))
                bids, _ = oracle.top("BTC/USD", 1)
                assert book[2] / 10 ** scales["price_scale"] == bids[0][0]
                assert book[3] / 10 ** scales["size_scale"] == bids[0][1]
    assert set(types) >= {1, 3, 4, 7}


def _lobster_book(orders, levels: int) -> list[int]:
    sides = []
    for direction, sign, nothing in (("-1", 1, 9_999_999_999), ("1", -1, -9_999_999_999)):
        totals: Counter = Counter()
        for price, size, side in orders:
            if side == direction:
                totals[price] += size
        best = sorted(totals.items(), key=lambda item: sign * item[0])[:levels]
        sides.append(best + [(nothing, 0)] * (levels - len(best)))
    return [cell for ask, bid in zip(*sides) for cell in (*ask, *bid)]


def test_ob_analytics_reads_the_lobster_files(source, days, tmp_path, monkeypatch):
    python_of("lobster")
    export(monkeypatch, "lobster", source, "--out", tmp_path, "--symbols", "BTC/USD")
    files = lobster_files(tmp_path, days[-1])
    scale = json.loads(files["scales"].read_text())["price_scale"]
    told = read_with("lobster", "lobster_events.py", files["message"], days[-1], scale)
    lines = [line.split(",") for line in files["message"].read_text().splitlines()]
    assert told["counts"] == dict(Counter(line[1] for line in lines if line[1] != "7"))
    oracle = Oracle(source)
    oracle.go_to(1 << 62)
    ids = NumberedIds()
    orders = oracle.orders("BTC/USD")
    assert set(told["rests"]) == {str(ids.of([o["order_id"].encode()])[0]) for side in orders.values() for o in side}
    for order in (o for side in orders.values() for o in side):
        price, size = told["rests"][str(ids.of([order["order_id"].encode()])[0])]
        assert price == float(order["limit_price"])
        assert size == int(order["order_qty"].scaleb(8))
    ids.close()
