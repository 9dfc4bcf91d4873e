"""Every number of `features` is that of a slow and independent computation, and the sums are those of the day."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import NIGHT_NS, instruments, record, write_checkpoints
from plain import plain
from slow_features import DAY_NS, slow_features

from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, RowOptions
from kraken_l3.export.bulk import export_table, plan_jobs
from kraken_l3.export.clock import ReceiveClock
from kraken_l3.export.events import EventsTable
from kraken_l3.export.features import FeaturesTable
from kraken_l3.export.job import run_job
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.table_files import Memory
from kraken_l3.model.window import Window
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import Step, play

SECOND_NS = 1_000_000_000
SYMBOLS = ("BTC/USD", "ETH/USD", "DOGE/USD")
ROUNDED = ("microprice", "imbalance_1", "imbalance_5", "imbalance_10", "bid_window_bps", "ask_window_bps")
DECIMALS = {pair.symbol: (pair.price_precision, pair.qty_precision) for pair in instruments(SYMBOLS)}


def damaged(seed: int):
    """A change for `record`: some updates lose their end, a digit of a quantity, or a number."""
    rng = random.Random(seed)

    def change(number: int, line: bytes) -> bytes:
        if b'"snapshot"' in line or rng.random() > 0.004:
            return line
        kind = rng.randrange(3)
        if kind == 0:
            return line[: len(line) // 2]
        if kind == 1:
            return line.replace(b'"order_qty":', b'"order_qty":1', 1)
        return line.replace(b'"order_qty":', b'"order_qty":"x",  "was":', 1)

    return change


def export(source: Path, target: Path, every_ns: int, engine: str = "auto", **options) -> dict[str, list[dict]]:
    table = FeaturesTable(every_ns, **options)
    files = export_table(str(source), str(target), table, engine=engine).files
    rows: dict[str, list[dict]] = {}
    for file in files:
        rows.setdefault(file.symbol, []).extend(plain(pq.ParquetFile(target / file.name).read()))
    return rows


def assert_known(rows: dict[str, list[dict]], slow: dict[str, dict[int, dict]]) -> None:
    assert set(rows) == set(slow)
    for symbol, expected in slow.items():
        assert [row["timestamp"] for row in rows[symbol]] == list(expected)
        for row in rows[symbol]:
            known = {"timestamp": row["timestamp"], **expected[row["timestamp"]]}
            assert set(row) == set(known)
            for name, tolerance in {**dict.fromkeys(ROUNDED, 1e-12), "realised_variance": 1e-7}.items():
                if row[name] is not None and known[name] is not None:
                    assert row.pop(name) == pytest.approx(known.pop(name), rel=tolerance, abs=1e-20), name
            assert row == known


@pytest.mark.parametrize(
    ("every_ns", "options"),
    [
        (SECOND_NS, {"gap": True, "trades": True, "depth": 10}),
        (SECOND_NS // 4, {"gap": True, "change": damaged(1), "depth": 25, "trades": True}),
        (SECOND_NS, {"start_ns": NIGHT_NS, "trades": True, "depth": 100, "symbols": SYMBOLS[:1]}),
        (5 * SECOND_NS, {"start_ns": NIGHT_NS, "gap": True, "change": damaged(2), "trades": True}),
        (
            SECOND_NS // 100,
            {"start_ns": NIGHT_NS, "gap": True, "messages": 700, "symbols": SYMBOLS[:2]},
        ),
    ],
)
def test_every_number_is_that_of_a_slow_computation(tmp_path, every_ns, options):
    source = record(tmp_path / "a", **{"symbols": SYMBOLS, "messages": 1_500, "seed": every_ns % 97, **options})
    slow = slow_features(source, every_ns, options.get("depth", 10), DECIMALS)
    assert_known(export(source, tmp_path / "o", every_ns), slow)
    seen = [row for bars in slow.values() for row in bars.values()]
    assert sum(row["bid_arrivals"] for row in seen) > 50
    assert sum(row["bid_fills"] + row["ask_fills"] for row in seen) > 0
    assert not options.get("trades") or sum(row["trades"] for row in seen) > 3


def test_without_receipts_the_messages_tell_the_time(tmp_path):
    source = record(tmp_path / "a", symbols=SYMBOLS, messages=1_000, start_ns=NIGHT_NS, trades=True)
    for path in source.glob("l3-*.receipts"):
        path.unlink()
    slow = slow_features(source, SECOND_NS, 10, DECIMALS)
    assert_known(export(source, tmp_path / "o", SECOND_NS), slow)
    assert {row["mean_lag_ns"] for bars in slow.values() for row in bars.values()} == {None}


def test_a_day_that_begins_with_checkpoints_has_the_bars_that_it_has_otherwise(tmp_path):
    source = record(tmp_path / "a", messages=1_500, start_ns=NIGHT_NS, trades=True)
    together = export(source, tmp_path / "together", SECOND_NS)
    write_checkpoints(source)
    assert export(source, tmp_path / "alone", SECOND_NS) == together
    times = [row["timestamp"] for row in together["BTC/USD"]]
    assert times == list(range(times[0], times[-1] + 1, SECOND_NS))
    (first, second) = sorted((tmp_path / "alone/features/symbol=BTC-USD").iterdir())
    midnight_ns = NIGHT_NS // DAY_NS * DAY_NS + DAY_NS
    assert plain(pq.ParquetFile(first / "part-0.parquet").read())[-1]["timestamp"] == midnight_ns
    assert plain(pq.ParquetFile(second / "part-0.parquet").read())[0]["timestamp"] == midnight_ns + SECOND_NS


def test_both_engines_write_the_same_bytes(tmp_path):
    source = record(tmp_path / "a", symbols=SYMBOLS, messages=1_200, gap=True, trades=True, change=damaged(3))
    for engine in ("auto", "python"):
        export(source, tmp_path / engine, SECOND_NS, engine)
    files = sorted(path.relative_to(tmp_path / "auto") for path in (tmp_path / "auto/features").rglob("*.parquet"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "auto" / file).read_bytes() == (tmp_path / "python" / file).read_bytes()


def test_the_bars_add_up_to_the_events_and_the_trades_of_the_day(tmp_path):
    source = record(tmp_path / "a", messages=2_000, trades=True)
    bars = export(source, tmp_path / "o", SECOND_NS // 10)
    export_table(str(source), str(tmp_path / "o"), EventsTable())
    for symbol in ("BTC/USD", "ETH/USD"):
        directory = f"symbol={symbol.replace('/', '-')}/date=2026-11-22/part-0.parquet"
        last_ns = bars[symbol][-1]["timestamp"]
        events = plain(pq.ParquetFile(tmp_path / "o/events" / directory).read())
        words = {"new": "arrivals", "cancel": "cancels", "fill": "fills", "partial_fill": "fills"}
        counted = Counter(
            f"{event['side']}_{words[event['classification']]}"
            for event in events
            if event["classification"] in words and event["ts_recv"] <= last_ns
        )
        assert counted == {name: sum(bar[name] for bar in bars[symbol]) for name in counted}
        assert len(counted) == 6
        filled = sum(
            -event["qty_change"]
            for event in events
            if words.get(event["classification"]) == "fills" and event["ts_recv"] <= last_ns
        )
        sums = sum(bar["bid_fill_qty"] + bar["ask_fill_qty"] for bar in bars[symbol])
        assert sums == pytest.approx(filled / 10 ** DECIMALS[symbol][1])
        assert sum(bar["volume"] for bar in bars[symbol]) == pytest.approx(sums)


def test_bars_end_where_snapshots_with_gaps_stand(tmp_path):
    source = record(tmp_path / "a", messages=1_000, gap=True)
    bars = export(source, tmp_path / "o", SECOND_NS)["BTC/USD"]
    export_table(str(source), str(tmp_path / "o"), SnapshotsTable(grid_ns=SECOND_NS, wide=True, keep_gaps=True))
    rows = plain(pq.ParquetFile(tmp_path / "o/snapshots/symbol=BTC-USD/date=2026-11-22/part-0.parquet").read())
    assert [(row["timestamp"], row["mid"], row["microprice"], row["imbalance"]) for row in rows] == [
        (bar["timestamp"], bar["mid"], bar["microprice"], bar["imbalance_1"]) for bar in bars
    ]
    assert sum(bar["over_gap"] for bar in bars) >= sum(row["over_gap"] for row in rows) + 1


@pytest.mark.parametrize(("engine", "symbols"), [("auto", SYMBOLS), ("python", SYMBOLS[:1])])
def test_wide_snapshots_have_the_flow_since_the_row_before(tmp_path, engine, symbols):
    source = record(tmp_path / "a", symbols=symbols, messages=1_000, start_ns=NIGHT_NS, gap=True)
    slow = slow_features(source, SECOND_NS, 10, DECIMALS)
    found = {}
    for every_ns in (SECOND_NS, None):
        table = SnapshotsTable(2, every_ns, wide=True, keep_gaps=True)
        files = export_table(str(source), str(tmp_path / f"{every_ns}"), table, engine=engine).files
        for file in files:
            rows = plain(pq.ParquetFile(tmp_path / f"{every_ns}" / file.name).read())
            found.setdefault((file.symbol, every_ns), []).extend(rows)
    for symbol, bars in slow.items():
        grid = found[symbol, SECOND_NS]
        assert grid[0]["ofi"] is None
        assert [(row["timestamp"], row["ofi"]) for row in grid[1:]] == [(at, bars[at]["ofi"]) for at in bars][1:]
        changes = found[symbol, None]
        assert [row["ofi"] is None for row in changes] == [True] + [False] * (len(changes) - 1)
        last_ns = grid[-1]["timestamp"]
        sums = sum(row["ofi"] or 0 for row in changes if row["timestamp"] <= last_ns)
        assert sums == pytest.approx(sum(bar["ofi"] for bar in bars.values()))


def test_the_flow_before_a_pair_s_first_row_is_null_whatever_pairs_are_beside_it(tmp_path):
    def late(number: int, line: bytes) -> bytes:
        return b'{"channel":"heartbeat"}' if number < 500 and b'"ETH/USD"' in line else line

    source = record(tmp_path / "a", messages=1_000, gap=True, change=late)
    found = []
    for symbols in (None, frozenset({"ETH/USD"})):
        out = tmp_path / f"{symbols}"
        export_table(str(source), str(out), SnapshotsTable(2, SECOND_NS, wide=True, symbols=symbols))
        [path] = (out / "snapshots/symbol=ETH-USD").rglob("*.parquet")
        found.append(plain(pq.ParquetFile(path).read()))
    assert found[0] == found[1]
    assert [row["ofi"] is None for row in found[0]] == [True] + [False] * (len(found[0]) - 1)


def test_blocks_of_any_size_give_the_same_bars(tmp_path):
    source = record(tmp_path / "a", messages=1_500, start_ns=NIGHT_NS, trades=True)
    whole = export(source, tmp_path / "o", SECOND_NS)
    (job,) = plan_jobs(str(source), str(tmp_path / "small"), FeaturesTable(SECOND_NS))
    files = run_job(job, memory=Memory(block_bytes=3_000)).files
    for file in files:
        assert (tmp_path / "small" / file.name).read_bytes() == (tmp_path / "o" / file.name).read_bytes()
    assert len(files) == 2 * len(whole) == 4


@pytest.mark.parametrize("off_ns", [0, 1, SECOND_NS // 3, SECOND_NS - 1])
def test_a_window_has_the_bars_that_lie_within_it(tmp_path, off_ns):
    source = record(tmp_path / "a", messages=1_500, start_ns=NIGHT_NS, trades=True)
    whole = export(source, tmp_path / "o", SECOND_NS)["BTC/USD"]
    window = Window(NIGHT_NS + 4 * SECOND_NS + off_ns, NIGHT_NS + 15 * SECOND_NS + off_ns)
    wanted = FeaturesTable(SECOND_NS, frozenset({"BTC/USD"}))
    files = export_table(str(source), str(tmp_path / "w"), wanted, windows=[window]).files
    rows = [row for file in files for row in plain(pq.ParquetFile(tmp_path / "w" / file.name).read())]
    start, end = window
    assert rows == [row for row in whole if start <= row["timestamp"] - SECOND_NS and row["timestamp"] <= end]
    assert len(rows) == (10 if off_ns else 11)


@pytest.mark.parametrize("qtys", [("1.25", "0.0625"), ("0.0625", "1.25")])
def test_quantities_of_several_precisions_add_up_in_one_bar(tmp_path, qtys):
    lines = []
    for number, (kind, qty) in enumerate((kind, qty) for qty in qtys for kind in ("snapshot", "update")):
        at = f"2026-01-02T03:04:05.{number + 1}00000000Z"
        event = '"event":"add",' if kind == "update" else ""
        order = f'{event}"order_id":"O{number}","limit_price":{number + 1},"order_qty":{qty},"timestamp":"{at}"'
        data = f'{{"symbol":"A/USD","bids":[{{{order}}}],"asks":[],"timestamp":"{at}"}}'
        lines.append(f'{{"channel":"level3","type":"{kind}","data":[{data}]}}')
    lines.append(lines[-1].replace("04:05", "04:06").replace("O3", "O4"))
    path = tmp_path / "l3.ndjson"
    path.write_text("\n".join(lines) + "\n")
    ((bar,),) = export(path, tmp_path / "o", SECOND_NS).values()
    assert (bar["bid_arrivals"], bar["bid_arrival_qty"], bar["ofi"]) == (2, 1.3125, 1.3125)
    assert bar["bid_window_qty"] == 2 * float(qtys[1])


class AtOnce(ReceiveClock):
    """Runs on without a stop."""

    def pieces(self, file, block):
        yield (), block, self.times(file, block)

    def waits(self, until_ns):
        return ()


def test_a_long_silence_is_shown_in_steps(tmp_path):
    source = open_archive(record(tmp_path / "a", messages=60, start_ns=NIGHT_NS, gap=True))
    grid_ns, counts, rows = SECOND_NS // 1_000, [], []
    for make_clock in (ReceiveClock, AtOnce):
        engine = make_engine(EngineOptions(messages=True, rows=RowOptions(1, grid_ns)))
        clock = make_clock(engine.name, grid_ns=grid_ns)
        played = play(engine, source, metadata_in(source), clock=clock, grid=True)
        results = [each.result.rows for each in played if isinstance(each, Step)]
        counts.append(max(len(result["verdict"]) for result in results))
        rows.append({name: b"".join(result[name] for result in results) for name in results[0]})
    assert rows[0] == rows[1]
    assert len(rows[0]["verdict"]) > 2 * 10_000
    assert counts[0] < counts[1] / 2


def test_the_schema_has_no_nulls_where_it_says_so(tmp_path):
    source = record(tmp_path / "a", messages=300)
    (file, _) = export_table(str(source), str(tmp_path / "o"), FeaturesTable()).files
    table = pq.ParquetFile(tmp_path / "o" / file.name).read()
    for field in table.schema:
        assert field.nullable or not table.column(field.name).null_count
    assert table.column("trades").null_count == len(table)
    assert pa.types.is_uint32(table.schema.field("bid_arrivals").type)
