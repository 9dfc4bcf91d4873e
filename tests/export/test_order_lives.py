"""Every number of `orders` equals that of a slow book of its own, over random flows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from archives import NIGHT_NS, START_NS, SetClock, begin_recording, instruments, record
from known_lives import KnownLives, gaps_of, lines_of, trades_of
from plain import plain

from kraken_l3.archive.journal import GapClosed, GapOpened, Stopped
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.export.orders.following import read_orders
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.rebuild.metadata import metadata_in

SYMBOL = "BTC/USD"
[PAIR] = instruments([SYMBOL])
DECIMALS = PAIR.price_precision, PAIR.qty_precision


def rows_of(source: Path, symbol: str = SYMBOL, engine: str = "auto") -> list[dict]:
    archive = open_archive(source)
    return plain(read_orders(archive, symbol, metadata_in(archive), engine=engine).read_all().drop_columns("symbol"))


def known_rows(source: Path, depth: int, symbol: str = SYMBOL) -> list[dict]:
    [pair] = instruments([symbol])
    decimals = pair.price_precision, pair.qty_precision
    known = KnownLives(symbol, decimals, depth, gaps_of(source, symbol), trades_of(source, symbol, decimals))
    end_ns = 0
    for line, recv_ns in lines_of(sorted(source.glob("l3-*.ndjson"))):
        known.feed(line, recv_ns)
        end_ns = max(end_ns, recv_ns)
    return known.finish(end_ns)


def assert_equal(rows: list[dict], known: list[dict]) -> None:
    assert len(rows) == len(known)
    for row, expected in zip(rows, known):
        found = {name: row[name] for name in expected}
        assert found == expected, {n: (found[n], expected[n]) for n in found if found[n] != expected[n]}
    assert not rows or set(rows[0]) - set(known[0]) == {"fill_confidence"}


# -- flows


def spoil(index: int, line: bytes) -> bytes:
    """Now and then a line that was cut off, or whose number is wrong."""
    if index % 97 == 50:
        return line[: len(line) // 2]
    if index % 97 == 80:
        return line.replace(b'"order_qty":', b'"order_qty":"x",', 1)
    return line


FLOWS = {
    "plain": {},
    "gap": {"gap": True, "seed": 3},
    "midnight": {"start_ns": NIGHT_NS, "seed": 4},
    "trades": {"trades": True, "seed": 5},
    "damage": {"change": spoil, "seed": 6},
}


@pytest.mark.parametrize("engine", ["python", "auto"])
@pytest.mark.parametrize("flow", FLOWS)
def test_every_number_of_the_exchange_s_trading(tmp_path, flow, engine):
    source = record(tmp_path / "a", messages=1_200, symbols=(SYMBOL, "ETH/USD"), **FLOWS[flow])
    for symbol in (SYMBOL, "ETH/USD"):
        rows = rows_of(source, symbol, engine)
        assert len(rows) > 100
        assert_equal(rows, known_rows(source, 10, symbol))


def wild_line(rng: random.Random, kind: str, now_ns: int, ids: list[str]) -> bytes:
    """Anything that a message can say, whatever the exchange would say."""

    def entry(is_bid: bool) -> str:
        event = "" if kind == "snapshot" else f'"event":"{rng.choice(["add", "add", "modify", "modify", "delete"])}",'
        price = 10_000 + (-1 if is_bid else 1) * rng.randrange(-1 if kind == "update" else 1, 9)
        qty = rng.choice([0, 1, 2, 3, 5])
        age = rng.choice([0, 0, 1, 5, 20]) * 10**8
        time = rng.choice(
            ["", f',"timestamp":"{format_rfc3339(now_ns - age)}"', f',"timestamp":"{format_rfc3339(START_NS)}"']
        )
        return (
            f'{{{event}"order_id":"{rng.choice(ids)}","limit_price":{price // 10}.{price % 10},'
            f'"order_qty":0.0000000{qty}{time}}}'
        )

    most = 9 if kind == "snapshot" else 3
    sides = [[entry(is_bid) for _ in range(rng.randrange(most))] for is_bid in (True, False)]
    checksum = '"checksum":1,' if rng.random() < 0.01 else ""
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"{SYMBOL}",{checksum}"bids":[{",".join(sides[0])}],'
        f'"asks":[{",".join(sides[1])}],"timestamp":"{format_rfc3339(now_ns)}"}}]}}'
    ).encode()


def record_wild(directory: Path, seed: int, *, depth: int = 3, messages: int = 400) -> Path:
    rng = random.Random(seed)
    clock = SetClock(NIGHT_NS)
    writer = ArchiveWriter.open(directory, clock=clock)
    begin_recording(writer, clock, [SYMBOL], depth)
    ids = [f"O{n}" for n in range(25)] + [f"O-longer-than-the-column-of-ids-{n}" for n in range(3)]
    kind, gap_ns = "snapshot", 0
    for _ in range(messages):
        clock.now_ns += rng.choice([0, 1, 10**6, 10**8, 10**9, 10**9, 11 * 10**9])
        if gap_ns:
            gap = {"channel": "level3", "symbol": SYMBOL, "cause": "network", "left_ns": gap_ns}
            writer.journal(GapClosed(at_ns=clock.now_ns, right_ns=clock.now_ns, **gap))
        writer.append("level3", [Frame(wild_line(rng, kind, clock.now_ns, ids), clock.now_ns, clock.now_ns, 1)])
        kind, gap_ns = rng.choices(["update", "snapshot"], [200, 1])[0], 0
        if kind == "snapshot" and rng.random() < 0.5:
            clock.now_ns += 10**8
            gap_ns = clock.now_ns
            gap = {"channel": "level3", "symbol": SYMBOL, "cause": "network", "left_ns": gap_ns}
            writer.journal(GapOpened(at_ns=clock.now_ns, **gap))
    writer.journal(Stopped(at_ns=clock.now_ns, reason="duration"))
    writer.close()
    return directory


@pytest.mark.parametrize("seed", range(6))
def test_every_number_of_anything_that_messages_can_say(tmp_path, seed):
    source = record_wild(tmp_path / "a", seed)
    known = known_rows(source, 3)
    assert_equal(rows_of(source), known)
    assert_equal(rows_of(source, engine="python"), known)
