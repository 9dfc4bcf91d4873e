"""The native engine and its Python twin: the same lines, however damaged, give the same of everything."""

from __future__ import annotations

import json
import random
from array import array
from dataclasses import asdict, replace
from typing import Any, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kraken_l3.engine.port import (
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    ROW_COLUMNS,
    BookImage,
    Engine,
    EngineOptions,
    Note,
    Result,
    RowOptions,
)
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange import flow

pytest.importorskip("kraken_l3_native", reason="the native package is not installed")

from kraken_l3.engine.native import NativeEngine

START_NS = 1_767_323_045_000_000_000


def comparable(note: Note) -> Note:
    """Why a line is malformed is told in each engine's own words."""
    return replace(note, detail="") if note.kind == "malformed" else note


def assert_same_result(ours: Result, theirs: Result) -> None:
    assert [comparable(note) for note in ours.notes] == [comparable(note) for note in theirs.notes]
    for name in ("messages", "events", "rows", "best"):
        left, right = getattr(ours, name), getattr(theirs, name)
        assert list(left) == list(right)
        for column in left:
            assert left[column] == right[column], f"{name}.{column}"
    assert (ours.lines, ours.overflow_ids) == (theirs.lines, theirs.overflow_ids)


class Twins:
    """Both engines as one; every call compares what they give."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.python: Engine = PythonEngine(options)
        self.native: Engine = NativeEngine(options)

    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes] = None) -> Result:
        ours = self.python.feed(block, first_line, offset, recv_ns)
        assert_same_result(ours, self.native.feed(block, first_line, offset, recv_ns))
        return ours

    def advance(self, recv_ns: int) -> None:
        assert_same_result(self.python.advance(recv_ns), self.native.advance(recv_ns))

    def invalidate(self, symbol: Optional[str] = None) -> None:
        assert self.python.invalidate(symbol) == self.native.invalidate(symbol)

    def set_symbol(self, symbol: str, **facts: Optional[int]) -> None:
        self.python.set_symbol(symbol, **facts)
        self.native.set_symbol(symbol, **facts)

    def load_book(self, image: BookImage) -> bool:
        loaded = self.python.load_book(image)
        assert self.native.load_book(image) == loaded
        return loaded

    def books(self) -> list[Optional[BookImage]]:
        books = [self.python.export_book(symbol) for symbol in self.python.symbols()]
        assert books == [self.native.export_book(symbol) for symbol in self.native.symbols()]
        return books

    def check(self) -> None:
        assert list(self.python.symbols()) == list(self.native.symbols())
        assert self.python.totals() == self.native.totals()
        assert [asdict(tally) for tally in self.python.tallies()] == [asdict(tally) for tally in self.native.tallies()]
        for image in filter(None, self.books()):
            self.check_reload(image)

    def check_reload(self, image: BookImage) -> None:
        """A book that was given out can be taken in again, and is then the same."""
        fresh = Twins(self.options)
        tally = next(tally for tally in self.python.tallies() if tally.symbol == image.symbol)
        facts = {"price_precision": tally.price_precision, "qty_precision": tally.qty_precision, "depth": tally.depth}
        fresh.set_symbol(image.symbol, **facts)
        assert fresh.load_book(image)
        assert fresh.books() == [image]
        fresh.feed(b"", 0, 0)  # the best row of a book that is loaded comes with the next lines


class Cut(NamedTuple):
    """How lines are handed over: in blocks of `step` lines, with receive times or without."""

    step: int
    times: bool


def feed_lines(twins: Twins, lines: list[bytes], cut: Cut, rng: random.Random, last_newline: bool = True) -> None:
    offset, now = 0, START_NS
    for first in range(0, len(lines), cut.step):
        part = lines[first : first + cut.step]
        block = b"\n".join(part) + (b"\n" if last_newline or first + cut.step < len(lines) or not part[-1] else b"")
        times = array("q")
        for _ in part:
            now += rng.choice([0, 1, 7_000_000, 40_000_000, 900_000_000, -5_000_000])
            times.append(now)
        twins.feed(block, first, offset, times.tobytes() if cut.times else None)
        offset += len(block)


ALL_ON = EngineOptions(messages=True, events=True, rows=RowOptions(levels=3, orders=True))
cuts = st.builds(Cut, st.sampled_from([1, 3, 50, 10_000]), st.booleans())
row_options = st.one_of(
    st.none(),
    st.builds(
        RowOptions,
        st.sampled_from([1, 2, 10, 25]),
        st.one_of(st.none(), st.sampled_from([1_000_000, 250_000_000])),
        st.booleans(),
    ),
)
routes = st.one_of(
    st.just({}),
    st.sampled_from([{"part": (0, 2)}, {"part": (1, 2)}, {"only": frozenset({"S001/USD", "BTC/USD"})}]),
)
options = st.builds(
    lambda on, rows, route, best: EngineOptions(
        messages=on, events=on, rows=rows, **route, best=best and (rows is None or rows.grid_ns is not None)
    ),
    st.booleans(),
    row_options,
    routes,
    st.booleans(),
)
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


# Order flow, whole and damaged

DIGITS = b"0123456789"


def damage(lines: list[bytes], rng: random.Random, count: int) -> list[bytes]:
    """Lines with some of what disks, cables and other recorders do to them."""
    lines = list(lines)
    for _ in range(count):
        at = rng.randrange(len(lines))
        line = lines[at]
        what = rng.randrange(10)
        if what == 0:
            del lines[at]
            lines = lines or [b""]
        elif what == 1:
            lines.insert(at, line)
        elif what == 2 and line:
            lines[at] = line[: rng.randrange(len(line))]
        elif what == 3 and line:
            lines[at] = _with_byte(line, rng.randrange(len(line)), rng.randrange(256))
        elif what == 4:
            lines[at] = json.dumps(json.loads(line)).encode() if _is_json(line) else line  # digits lost
        elif what == 5:
            lines.insert(at, rng.choice([b"", b"\r", b"null", b"{}", b'{"channel":"heartbeat"}', b"[1,2]", b"\0" * 9]))
        elif what == 6:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == 7:
            lines[at] = line + b"\r"
        else:
            places = [place for place, byte in enumerate(line) if byte in DIGITS]
            if places:
                lines[at] = _with_byte(line, rng.choice(places), rng.choice(DIGITS))
    return [line.replace(b"\n", b" ") for line in lines]


def _with_byte(line: bytes, at: int, byte: int) -> bytes:
    return line[:at] + bytes([byte]) + line[at + 1 :]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@relaxed
@given(
    seed=st.integers(0, 10_000),
    symbols=st.sampled_from([1, 2, 5]),
    depth=st.sampled_from([10, 100]),
    levels=st.sampled_from([None, 3, 15]),
    odd_numbers=st.sampled_from([0.0, 0.3]),
    hurt=st.sampled_from([0, 3, 40]),
    options=options,
    cut=cuts,
)
def test_same_on_order_flow(
    seed: int,
    symbols: int,
    depth: int,
    levels: Optional[int],
    odd_numbers: float,
    hurt: int,
    options: EngineOptions,
    cut: Cut,
) -> None:
    rng = random.Random(seed)
    flowing = flow.generate(
        symbols=symbols, depth=depth, levels=levels, messages=150, seed=seed, odd_numbers=odd_numbers
    )
    lines = damage(list(flowing), rng, hurt)
    twins = Twins(options)
    if rng.random() < 0.5:
        twins.set_symbol("BTC/USD", price_precision=rng.randrange(4), depth=rng.choice([5, 10, 25]))
    half = len(lines) // 2
    feed_lines(twins, lines[:half], cut, rng)
    if rng.random() < 0.5:
        twins.invalidate(rng.choice([None, "BTC/USD", "nobody"]))
    feed_lines(twins, lines[half:], cut, rng, last_newline=rng.random() < 0.5)
    twins.advance(START_NS + 10**12)
    twins.check()


def test_a_whole_flow_is_verified_by_both() -> None:
    twins = Twins(ALL_ON)
    lines = list(flow.generate(symbols=3, depth=10, messages=4_000, seed=11, odd_numbers=0.02))
    feed_lines(twins, lines, Cut(500, True), random.Random(1))
    assert sum(tally.ok for tally in twins.native.tallies()) == len(lines)
    twins.check()


# Messages that no exchange sends: few ids, prices and times, so that everything meets; values of every form

NUMBERS = [
    "1",
    "2",
    "3",
    "1.0",
    "2.5",
    "2.50",
    "0.01",
    "10",
    "0",
    "0.0",
    "1e-2",
    "1E+1",
    '"2.5"',
    '"1."',
    '"1e0"',
    "9" * 18,
    "9223372036854775807",
    "9223372036854775808",
    "1" * 40,
    "1e308",
    "1e-308",
    "1e1000",
    "0e999",
    "-1",
    "null",
    "true",
    '""',
    '"abc"',
    "[]",
    '{"a":1}',
    "1.00000000000000000000",
    "1." + "0" * 30 + "1",
    "12345678901234567890.5",
    "1e-60",
    "0." + "0" * 77 + "1",
    "99999999.99999999",
    "1234567890123456.7",
    '"\\u0031"',
    '"1',
    "01",
    "1.e5",
]
GOOD_NUMBERS = ["1", "2", "2.5", "2.50", "3", "3.25", "4", "1e0", '"2"', "0.75"]
IDS = [
    "OAAAAA-BBBBB-CCCCCC",
    "OAAAAA-BBBBB-CCCCCD",
    "O12345-67890-ABCDEF",
    "a",
    "",
    "\u00e9" * 3,
    "x" * 20,
    "x" * 21,
    "y" * 255,
    "y" * 256,
    "nul\0",
    "OAAAAA-BBBBB-CCCCC",
    "OAAAAA-BBBBB-CCCCc1",
    'quote"',
    "\u00e9" * 128,
]
GOOD_IDS = [f"OAAAAA-BBBBB-CCCCC{letter}" for letter in "ABCDEFGH"] + ["a", "b", "c\u00e9"]
TIMES = [
    '"2026-01-02T03:04:05.000000001Z"',
    '"2026-01-02T03:04:05.000000002Z"',
    '"2026-01-02T03:04:04.000000009Z"',
    '"2026-01-02T04:04:05.000000002+01:00"',
    '"2026-01-02"',
    '""',
    "null",
    '"1970-01-01T00:00:00Z"',
    None,
]
ODD_TIMES = [
    "5",
    '"soon"',
    '"2026-02-30"',
    '"1600-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59.999999999Z"',
    '"2016-12-31T23:59:60Z"',
    '"1969-12-31T23:59:59.999999999Z"',
    '"2262-04-11T23:47:16.854775807Z"',
    '"2262-04-11T23:47:16.854775808Z"',
    '"1677-09-21T00:12:43.145224192Z"',
    '"1677-09-21T00:12:43.145224191Z"',
    '"2026-01-02T03:04:05.12345678901Z"',
    '"2026-01-02t03:04:05z"',
    '"2026-01-02T03:04:05.123456789z"',
    '"2026-01-02T03:04:60.123456789Z"',
    '"2026-01-02 03:04"',
    "true",
    '"\u0662\u0660\u0662\u0666-01-02T03:04:05Z"',
    '"2026-01-02T03:04:05,123456789Z"',
]
EVENTS = ['"add"', '"add"', '"modify"', '"delete"', '"Add"', '""', "null", "5", None]
CHECKSUMS = [
    "0",
    "1",
    "4294967295",
    "4294967296",
    '"5"',
    '"005"',
    "1.0",
    "-1",
    "1e3",
    "null",
    None,
    '"x"',
    "9" * 18,
    "9223372036854775807",
    "9223372036854775808",
    '"0000000000000000000"',
    '"00000000000000000000"',
]
SYMBOLS = [
    '"BTC/USD"',
    '"BTC\\/USD"',
    '"S001/USD"',
    '"\\u0042TC/USD"',
    '"\u00e9"',
    '""',
    '"' + "s" * 255 + '"',
    '"' + "s" * 256 + '"',
    "5",
    "null",
    None,
    '"A"',
    '"A\\u0000"',
]
NOISE = [
    '"x":1',
    '"x":{"symbol":"ETH/USD"}',
    '"x":[[]]',
    '"\\u0078":"\\ud83d\\ude00"',
    '"x":"\\ud800"',
    '"x":1e999',
    '"x":',
]


def pick(good: list[Any], odd: list[Any], oddity: float, rng: random.Random) -> Any:
    return rng.choice(odd if rng.random() < oddity else good)


def json_object(fields: list[tuple[str, Optional[str]]], oddity: float, rng: random.Random) -> str:
    parts = [f'"{key}":{value}' for key, value in fields if value is not None]
    if rng.random() < oddity:
        rng.shuffle(parts)
    if rng.random() < oddity and parts:
        parts.append(rng.choice(parts))
    if rng.random() < oddity:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(NOISE))
    space = rng.choice([" ", "\t", "\r", ""]) if rng.random() < oddity else ""
    return "{" + space + f",{space}".join(parts) + space + "}"


def chaotic_entry(update: bool, oddity: float, rng: random.Random) -> str:
    event = pick(['"add"', '"add"', '"modify"', '"delete"'], EVENTS, oddity, rng)
    fields = [
        ("event", event if update or rng.random() < oddity else None),
        ("order_id", json.dumps(pick(GOOD_IDS, IDS, oddity, rng), ensure_ascii=rng.random() < 0.5)),
        ("limit_price", pick(GOOD_NUMBERS, [*NUMBERS, None], oddity, rng)),
        ("order_qty", pick([*GOOD_NUMBERS, "0", "0.00"], [*NUMBERS, None], oddity, rng)),
        ("timestamp", pick(TIMES, ODD_TIMES, oddity, rng)),
    ]
    return json_object(fields, oddity, rng)


def chaotic_side(update: bool, oddity: float, rng: random.Random) -> str:
    if rng.random() < oddity:
        return rng.choice(["null", "[]", "{}", "[null]", "5"])
    return "[" + ",".join(chaotic_entry(update, oddity, rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 8]))) + "]"


def chaotic_line(oddity: float, rng: random.Random) -> bytes:
    kind = pick(['"update"'] * 4 + ['"snapshot"'], ['"update"', '"other"', "null", None, '"\\u0075pdate"'], oddity, rng)
    elements = []
    for _ in range(pick([1], [0, 2, 3], oddity, rng)):
        update = kind != '"snapshot"'
        fields = [
            ("symbol", pick(['"BTC/USD"', '"S001/USD"'], SYMBOLS, oddity, rng)),
            ("checksum", pick(["1", "0"], CHECKSUMS, oddity, rng)),
            ("bids", chaotic_side(update, oddity, rng)),
            ("asks", chaotic_side(update, oddity, rng)),
            ("timestamp", pick(TIMES, ODD_TIMES, oddity, rng)),
        ]
        elements.append(json_object(fields, oddity, rng))
    data = pick(
        ["[" + ",".join(elements) + "]"], ["null", None, "{}", "[5]", "[" + ",".join(elements)], oddity / 4, rng
    )
    channel = pick(['"level3"'], ['"book"', "5", None, '"level3"'], oddity, rng)
    text = json_object([("channel", channel), ("type", kind), ("data", data)], oddity / 2, rng)
    return text.encode("utf-8", "surrogatepass")


@settings(relaxed, max_examples=250)
@given(seed=st.integers(0, 2**32), oddity=st.sampled_from([0.0, 0.02, 0.1, 0.4]), options=options, cut=cuts)
def test_same_on_chaos(seed: int, oddity: float, options: EngineOptions, cut: Cut) -> None:
    rng = random.Random(seed)
    twins = Twins(options)
    for symbol in ("BTC/USD", "S001/USD"):
        if rng.random() < 0.7:
            twins.set_symbol(
                symbol,
                price_precision=rng.choice([None, 0, 2, 8]),
                qty_precision=rng.choice([None, 2, 8, 18]),
                depth=rng.choice([None, 1, 2, 10]),
            )
    for _ in range(4):
        feed_lines(twins, [chaotic_line(oddity, rng) for _ in range(30)], cut, rng)
        if rng.random() < 0.3:
            twins.invalidate(rng.choice([None, "BTC/USD"]))
    twins.check()


@settings(relaxed, max_examples=200)
@given(block=st.binary(max_size=200), first=st.integers(0, 5), offset=st.sampled_from([0, 7]))
def test_same_on_any_bytes(block: bytes, first: int, offset: int) -> None:
    twins = Twins(ALL_ON)
    twins.feed(block, first, offset)
    twins.check()


VALID = next(iter(flow.generate(messages=1, seed=5, levels=2)))


@settings(relaxed, max_examples=300)
@given(at=st.integers(0, len(VALID) - 1), new=st.binary(max_size=3), cut_away=st.integers(0, 3))
def test_same_on_a_mutated_line(at: int, new: bytes, cut_away: int) -> None:
    twins = Twins(ALL_ON)
    twins.feed(VALID[:at] + new + VALID[at + cut_away :] + b"\n" + VALID, 0, 0)
    twins.check()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" \t\r",
        b"\xef\xbb\xbf" + VALID,
        b"\xef\xbb\xbf",
        b"1e999",
        b'{"channel":1e999}',
        b'{"channel":"level3","channel":5,"type":"update","data":[]}',
        b'{"channel":5,"channel":"level3","type":"update","data":[]}',
        b'{"channel":"level3","type":"update","data":[],"data":[{"symbol":5}]}',
        b'{"channel":"level3","type":"update","data":[{"symbol":5}],"data":[]}',
        b'{"channel":"level3","type":"update"}',
        b'{"channel":"level3","type":"update","data":[{}]}',
        b'{"channel":"level3","type":"update","data":[{"symbol":"A"}],"x":"\xff"}',
        b'{"channel":"level3","type":"snapshot","data":[{"symbol":"A"},{"symbol":""}]}',
        b"[" * 100 + b"]" * 100,
        b"9" * 5_000,
        VALID + b"x",
        VALID * 2,
    ],
)
def test_same_on_this_line(line: bytes) -> None:
    twins = Twins(ALL_ON)
    twins.feed(line + b"\n" + VALID + b"\n", 0, 0)
    twins.check()


def test_notes_are_bounded_alike() -> None:
    twins = Twins(ALL_ON)
    twins.feed(b"nonsense\n" * 3_000, 0, 0)
    twins.feed(b"nonsense\n" * 10, 3_000, 9)
    twins.check()


def test_symbols_are_bounded_alike() -> None:
    twins = Twins(EngineOptions(messages=True))
    line = b'{"channel":"level3","type":"update","data":[{"symbol":"S%d","bids":[],"asks":[]}]}\n'
    twins.feed(b"".join(line % number for number in range(12_000)), 0, 0)
    assert twins.native.totals().too_many_symbols == 2_000
    twins.check()


def snapshot_of(levels: int, orders: int) -> bytes:
    """A snapshot of many levels and orders, all with the same time."""
    entry = '{"order_id":"%s-%d-%d","limit_price":%d,"order_qty":1,"timestamp":"2026-01-02T03:04:05.000000001Z"}'
    sides = [
        ",".join(entry % (side, level, order, price(level)) for level in range(levels) for order in range(orders))
        for side, price in (("B", lambda level: 50_000 - level), ("A", lambda level: 50_001 + level))
    ]
    text = '{"channel":"level3","type":"snapshot","data":[{"symbol":"A","checksum":1,"bids":[%s],"asks":[%s]}]}'
    return (text % tuple(sides)).encode()


@pytest.mark.parametrize("depth", [10_000, 3])
def test_big_books_alike(depth: int) -> None:
    twins = Twins(EngineOptions(messages=True, events=True))
    twins.set_symbol("A", depth=depth)
    twins.feed(snapshot_of(10_000, 2) + b"\n", 0, 0)
    assert twins.native.tallies()[0].orders == min(depth, 10_000) * 4
    twins.check()


def test_receive_times_must_match_the_lines() -> None:
    for engine in (PythonEngine(), NativeEngine()):
        with pytest.raises(ValueError, match="8 bytes of receive times for 2 lines"):
            engine.feed(b"\n\n", 0, 0, b"\0" * 8)


def test_columns_are_those_of_the_port() -> None:
    result = NativeEngine(ALL_ON).feed(VALID, 0, 0)
    assert list(result.messages) == list(MESSAGE_COLUMNS)
    assert list(result.events) == list(EVENT_COLUMNS)
    assert list(result.rows) == list(ROW_COLUMNS)
    assert len(result.rows["bid_price"]) == 3 * len(result.rows["line"])
    assert 2 * len(result.rows["ask_orders"]) == 3 * len(result.rows["line"])
