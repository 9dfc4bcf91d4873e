"""LOBSTER's files of a small book whose every line is known: what each line is, and what is left of it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from archives import NIGHT_NS, record

from kraken_l3.cli.main import main
from kraken_l3.export.bulk import export_format

SYMBOL = "X/USD"


def at(ms: int) -> str:
    return f"2026-11-20T10:{ms // 60_000:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}000000Z"


def order(name: str, price: float, qty: float, ms: int, event: str = "") -> dict:
    made = {"order_id": f"O{name:A>5}-AAAAA-AAAAAA", "limit_price": price, "order_qty": qty, "timestamp": at(ms)}
    return {"event": event, **made} if event else made


def message(ms: int, kind: str = "update", bids=(), asks=()) -> dict:
    data = {"symbol": SYMBOL, "bids": list(bids), "asks": list(asks), "timestamp": at(ms)}
    return {"channel": "level3", "type": kind, "data": [data]}


def trade(ms: int, number: int, side: str, price: float, qty: float) -> dict:
    data = {"symbol": SYMBOL, "side": side, "price": price, "qty": qty, "ord_type": "limit", "trade_id": number}
    return {"channel": "trade", "type": "update", "data": [{**data, "timestamp": at(ms)}]}


#: Ten levels of bids, as many as the window has: one more, and the worst leaves it.
SNAPSHOT = message(
    1_000,
    "snapshot",
    [order(f"B{number}", 100.0 - number, 1.0, 100 + number) for number in range(10)],
    [order("S", 101.0, 5.25, 200)],
)
FLOW = [
    message(2_000, bids=[order("N", 100.5, 2.0, 2_000, "add")]),  # arrival; B9 is evicted
    message(3_000, bids=[order("N", 100.5, 2.0, 3_000, "delete"), order("B9", 91.0, 1.0, 109, "add")]),
    message(4_000, asks=[order("S", 101.0, 3.25, 200, "modify")]),  # a trade says: filled
    message(5_000, asks=[order("S", 101.0, 2.75, 200, "modify")]),  # none does: reduced by its owner
    message(6_000, bids=[order("B0", 100.0, 0, 100, "delete")]),  # filled
    message(7_000, asks=[order("S", 101.0, 2.75, 200, "delete"), order("S", 102.0, 2.75, 7_000, "add")]),  # amended
    message(9_000, asks=[order("T", 103.0, 1.0, 9_000, "add")]),
]
TRADES = [
    trade(4_000, 1, "buy", 101.0, 2.0),
    trade(6_000, 2, "sell", 100.0, 1.0),
    trade(8_000, 3, "buy", 101.5, 0.5),  # no order in sight was filled
    trade(8_500, 4, "sell", 50.0, 0.25),
]


def lines_of(messages) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in messages)


def exported(directory: Path, flow, trades=(), **options) -> dict[str, list[list[str]]]:
    source, out = directory / "source", directory / "out"
    source.mkdir()
    (source / "l3-2026-11-20.ndjson").write_text(lines_of(flow))
    if trades:
        (source / "trade-2026-11-20.ndjson").write_text(lines_of(trades))
    export_format(str(source), str(out), "lobster", [SYMBOL], options={"levels": 2, **options})
    return files_in(out)


def files_in(out: Path) -> dict[str, list[list[str]]]:
    found = {}
    for name in ("message", "orderbook", "kinds"):
        [path] = out.glob(f"lobster/*_{name}_*.csv")
        with path.open() as file:
            found[name] = list(csv.reader(file))
    assert len(found["message"]) == len(found["orderbook"]) == len(found["kinds"])
    [ids] = out.glob("lobster/*_ids.csv")
    with ids.open() as file:
        names = {row["number"]: row["order_id"][1:6].lstrip("A") for row in csv.DictReader(file)}
    found["what"] = [
        [kind, row[1], names.get(row[2], row[2]), *row[3:6]] for [kind], row in zip(found["kinds"], found["message"])
    ]
    return found


OPENING = [["opening", "1", f"B{n}", "100", str(1_000_000 - 10_000 * n), "1"] for n in range(10)]


def test_each_line_says_what_it_is(tmp_path):
    found = exported(tmp_path, [SNAPSHOT, *FLOW], TRADES)
    assert found["what"][:11] == [*OPENING, ["opening", "1", "S", "525", "1010000", "-1"]]
    assert found["what"][11:] == [
        ["arrival", "1", "N", "200", "1005000", "1"],
        ["evict", "3", "B9", "100", "910000", "1"],
        ["cancel", "3", "N", "200", "1005000", "1"],
        ["reentry", "1", "B9", "100", "910000", "1"],
        ["execution", "4", "S", "200", "1010000", "-1"],
        ["cancel", "2", "S", "50", "1010000", "-1"],
        ["execution", "4", "B0", "100", "1000000", "1"],
        ["amend", "3", "S", "275", "1010000", "-1"],
        ["amend", "1", "S", "275", "1020000", "-1"],
        ["hidden", "5", "0", "50", "1015000", "-1"],
        ["hidden", "5", "0", "25", "500000", "1"],
        ["arrival", "1", "T", "100", "1030000", "-1"],
    ]
    assert [row[0] for row in found["message"][20:22]] == ["36008.000000000", "36008.500000000"]
    assert found["orderbook"][19] == found["orderbook"][20] == found["orderbook"][21]  # a trade changes no book


def test_arrivals_only_leave_out_what_came_and_went_with_the_window_but_not_from_the_book(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "some").mkdir()
    everything = exported(tmp_path / "all", [SNAPSHOT, *FLOW], TRADES)
    some = exported(tmp_path / "some", [SNAPSHOT, *FLOW], TRADES, arrivals_only=True)
    kept = [n for n, [kind] in enumerate(everything["kinds"]) if kind not in ("opening", "evict", "reentry", "resync")]
    assert 0 < len(kept) < len(everything["kinds"])
    for name in ("message", "orderbook", "what"):
        assert some[name] == [everything[name][n] for n in kept]
    assert some["orderbook"][0] == ["1010000", "525", "1005000", "200", "9999999999", "0", "1000000", "100"]


def test_a_snapshot_within_the_day_is_a_halt_and_a_difference(tmp_path):
    bids = [order(f"B{n}", 100.0 - n, 1.0, 100 + n) for n in range(1, 9)]
    again = message(20_000, "snapshot", [*bids, order("B9", 91.0, 0.5, 109)], [order("U", 101.0, 1.0, 19_000)])
    found = exported(tmp_path, [SNAPSHOT, again, message(21_000, asks=[order("V", 104.0, 1.0, 21_000, "add")])])
    assert found["what"][11:] == [
        ["halt", "7", "0", "0", "-1", "-1"],
        ["resync", "3", "B0", "100", "1000000", "1"],
        ["resync", "2", "B9", "50", "910000", "1"],
        ["resync", "3", "S", "525", "1010000", "-1"],
        ["resync", "1", "U", "100", "1010000", "-1"],
        ["halt", "7", "0", "0", "1", "-1"],
        ["arrival", "1", "V", "100", "1040000", "-1"],
    ]


def test_without_trades_a_reduction_stays_one_and_nothing_is_hidden(tmp_path):
    found = exported(tmp_path, [SNAPSHOT, *FLOW])
    kinds = Counter(kind for [kind] in found["kinds"])
    assert kinds["hidden"] == 0
    assert (kinds["execution"], kinds["cancel"]) == (1, 3)


@pytest.mark.parametrize("arrivals_only", [False, True])
def test_hidden_and_shown_executions_are_all_trades(tmp_path, monkeypatch, arrivals_only):
    source = record(tmp_path / "a", symbols=["BTC/USD"], messages=3_000, trades=True, start_ns=NIGHT_NS)
    words = ["kraken-l3", "export", "lobster", str(source), "--out", str(tmp_path / "o"), "--levels", "3"]
    monkeypatch.setattr("sys.argv", [*words, "--arrivals-only"] if arrivals_only else words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    kinds: Counter = Counter()
    for path in tmp_path.glob("o/lobster/*_kinds_3.csv"):
        kinds.update(path.read_text().split())
    trades = {
        each["trade_id"]: each
        for path in source.glob("trade-*.ndjson")
        for line in path.read_text().splitlines()
        for each in json.loads(line)["data"]
    }
    assert kinds["execution"] + kinds["hidden"] == len(trades) > 10
    assert (kinds["opening"] == 0) == arrivals_only
    assert (kinds["evict"] == 0) == arrivals_only
    assert kinds["halt"] == 0
