"""The tables beside the others: verdicts by minute, gaps, and the recorded trades."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, record
from plain import plain

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.zstd import Frame, compress, encode_table
from kraken_l3.errors import DamageFound
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.trades import export_trades, read_trades
from kraken_l3.model.timestamps import day_of
from kraken_l3.model.window import Window

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
BEGIN_NS = NIGHT_NS - 130 * SECOND_NS


def damage_one(number: int, line: bytes) -> bytes:
    """A wrong checksum in an update of BTC/USD."""
    if number != 3_001:
        return line
    message = json.loads(line)
    message["data"][0]["checksum"] ^= 1
    return json.dumps(message, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("minutes") / "a"
    return record(directory, messages=6_000, gap=True, trades=True, start_ns=BEGIN_NS, rate=20.0, change=damage_one)


@pytest.fixture(scope="module")
def tables(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("tables")
    export_table(str(source), str(target), EventsTable())
    return target


def rows(tables: Path, table: str, symbol: str) -> list[dict]:
    paths = sorted((tables / table / f"symbol={symbol}").rglob("*.parquet"))
    return [row for path in paths for row in plain(pq.ParquetFile(path).read())]


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/USD"])
def test_every_minute_has_a_row_that_says_how_it_was_verified(source, tables, symbol):
    minutes = rows(tables, "verdicts", symbol.replace("/", "-"))
    assert all(b["minute"] - a["minute"] == MINUTE_NS for a, b in zip(minutes, minutes[1:]))
    messages = [
        (line.receipt.recv_ns // MINUTE_NS * MINUTE_NS, json.loads(line.payload))
        for line in open_archive(source).lines()
    ]
    expected = Counter(minute for minute, message in messages if message["data"][0]["symbol"] == symbol)
    assert {row["minute"]: row["messages"] for row in minutes if row["messages"]} == expected
    [gap] = gaps_in(open_archive(source), channel=Stream.LEVEL3, symbols=[symbol])
    for row in minutes:
        assert row["messages"] == row["verified"] + row["bad"] + row["unverifiable"]
        over = max(0, min(gap.end_ns, row["minute"] + MINUTE_NS) - max(gap.left_ns, row["minute"]))
        inner = row not in (minutes[0], minutes[-1])
        if inner:
            assert row["covered"] == pytest.approx(1 - over / MINUTE_NS)
        assert row["usable"] == (row["covered"] == 1 and not row["bad"] and not row["suspect"])
    assert any(row["usable"] for row in minutes)
    assert 0 < minutes[0]["covered"] < 1
    assert 0 < minutes[-1]["covered"] < 1


def test_a_mismatch_makes_its_minutes_unusable_up_to_the_next_snapshot(source, tables):
    bad = [row for symbol in ("BTC-USD", "ETH-USD") for row in rows(tables, "verdicts", symbol) if row["bad"]]
    assert bad
    assert not any(row["usable"] for row in bad)
    suspect_events = sum(
        bool(row["flags"] & 4) for symbol in ("BTC-USD", "ETH-USD") for row in rows(tables, "events", symbol)
    )
    assert suspect_events
    suspect = [row for symbol in ("BTC-USD", "ETH-USD") for row in rows(tables, "verdicts", symbol) if row["suspect"]]
    assert len(suspect) >= len(bad)


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_other_tables_and_more_processes_give_the_same_verdicts(source, tables, tmp_path, engine):
    table = SnapshotsTable(grid_ns=SECOND_NS)
    export_table(str(source), str(tmp_path / "b"), table, engine=engine, jobs=2)
    for path in sorted((tables / "verdicts").rglob("*.parquet")):
        assert (tmp_path / "b" / path.relative_to(tables)).read_bytes() == path.read_bytes()


def test_a_window_has_its_own_minutes(source, tmp_path):
    window = Window(NIGHT_NS - 100 * SECOND_NS, NIGHT_NS - 45 * SECOND_NS)
    export_table(str(source), str(tmp_path / "w"), EventsTable(), windows=[window])
    found = rows(tmp_path / "w", "verdicts", "BTC-USD")
    assert [row["minute"] for row in found] == [
        minute * MINUTE_NS for minute in range(window.start_ns // MINUTE_NS, (window.end_ns - 1) // MINUTE_NS + 1)
    ]
    assert sum(row["covered"] for row in found) * 60 == pytest.approx(55)


def test_gaps_are_one_small_file(source, tables):
    found = plain(pq.ParquetFile(tables / "gaps" / "part-0.parquet").read())
    told = gaps_in(open_archive(source), channel=Stream.LEVEL3)
    assert [(row["symbol"], row["ts_left"], row["ts_right"]) for row in found] == sorted(
        ((gap.symbol, gap.left_ns, gap.right_ns) for gap in told), key=lambda gap: (gap[1], gap[0])
    )
    assert {row["cause"] for row in found} == {"network"}


def test_trades_are_those_of_the_file_each_once(source, tmp_path):
    result = export_trades(str(source), str(tmp_path / "t"))
    archive = open_archive(source)
    told = {}
    for line in archive.lines(Stream.TRADE):
        for trade in json.loads(line.payload, parse_float=Decimal)["data"]:
            key = day_of(line.receipt.recv_ns).isoformat(), trade["symbol"], trade["trade_id"]
            told.setdefault(key, (trade, line.receipt.recv_ns))
    found = [(file, row) for file in result.files for row in plain(pq.ParquetFile(tmp_path / "t" / file.name).read())]
    assert len(found) == len(told) > 20
    for file, row in found:
        trade, recv_ns = told[file.date, file.symbol, row["trade_id"]]
        assert Decimal(row["price"]).scaleb(-row["price_scale"]) == trade["price"]
        assert Decimal(row["qty"]).scaleb(-row["qty_scale"]) == trade["qty"]
        assert (row["taker_side"], row["ts_recv"]) == (trade["side"], recv_ns)
    again = export_trades(str(source), str(tmp_path / "t"))
    assert again.already_there == len(result.files)


def test_trades_of_a_window(source, tmp_path):
    archive = open_archive(source)
    whole = pa.concat_tables(read_trades(archive, "BTC/USD"))
    times = whole["ts_recv"].cast(pa.int64()).to_numpy()
    window = Window(int(times[len(times) // 3]), int(times[-3]))
    part = pa.concat_tables(read_trades(archive, "BTC/USD", [window]))
    assert part.equals(whole.filter(pa.array((times >= window.start_ns) & (times < window.end_ns))))
    assert set(part["symbol"].to_pylist()) == {"BTC/USD"}
    files = export_trades(str(source), str(tmp_path / "t"), frozenset(["BTC/USD"]), windows=[window]).files
    assert sum(file.rows for file in files) == len(part)


def pack_damaged(path: Path) -> int:
    """Pack a file as a sealed one, its second frame damaged; gives the lines of the first."""
    lines = path.read_bytes().splitlines(keepends=True)
    half, data, frames = len(lines) // 2, b"", []
    for content in (b"".join(lines[:half]), b"".join(lines[half:])):
        packed = compress(content)
        frames.append(Frame(len(data), len(packed), sum(frame.size for frame in frames), len(content)))
        data += packed
    at = frames[1].offset + frames[1].length // 2
    path.with_name(f"{path.name}.zst").write_bytes(
        data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] + encode_table(frames)
    )
    path.unlink()
    return half


def test_damage_of_a_trade_file_is_told_and_not_taken_for_done(source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "a")
    [first, second] = sorted(copy.glob("trade-*.ndjson"))
    whole = first.read_bytes()
    rest = pack_damaged(first)
    result = export_trades(str(copy), str(tmp_path / "t"))
    assert (len(result.hidden), result.exit_code()) == (1, 2)
    assert first.name in result.hidden[0]
    tables = [pq.ParquetFile(tmp_path / "t" / file.name).read() for file in result.files if file.date in first.name]
    assert max(table["line"].to_pylist()[-1] for table in tables) == rest - 1
    found = []
    with pytest.raises(DamageFound, match="frame 1 is damaged"):
        found.extend(read_trades(open_archive(copy), "BTC/USD"))
    assert len(found) == 1
    first.with_name(f"{first.name}.zst").unlink()
    first.write_bytes(whole)
    again = export_trades(str(copy), str(tmp_path / "t"))
    assert (again.hidden, again.exit_code()) == ([], 0)
    assert again.already_there == sum(file.date in second.name for file in again.files)


def test_without_recorded_trades_there_is_no_table(tmp_path):
    source = record(tmp_path / "a", messages=200)
    result = export_trades(str(source), str(tmp_path / "t"))
    assert (result.files, result.exit_code()) == ([], 3)
