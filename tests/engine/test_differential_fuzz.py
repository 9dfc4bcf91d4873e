"""A differential fuzzer: damaged level3 files, fed to both engines and to native engines in threads.

A run is told by its seed alone. In CI a fixed number of runs; `make soak` goes on from a new seed for an hour.
"""

from __future__ import annotations

import json
import random
import time
from itertools import count
from pathlib import Path
from typing import Optional

import pytest

pytest.importorskip("kraken_l3_native", reason="the native package is not installed")

from test_engines_agree import START_NS, Cut, Twins, comparable, feed_lines

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, Note, RowOptions
from kraken_l3.exchange import flow

CORPUS = [
    line
    for path in sorted((Path(__file__).parents[2] / "native" / "corpus").glob("*.ndjson"))
    for line in path.read_bytes().split(b"\n")
]
STRUCTURE = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"[]", b"{}", b"null", b"\r", b"\0", b" ", b"[" * 150]
NUMBERS = [b"0", b"-1", b"1e9", b"1e-19", b".000", b"9" * 19, b"18446744073709551616", b"9" * 38, b"1" + b"0" * 38]
TEXTS = [b"\\u0000", b"\\ud800", b"\\/", b"\xff", b"\xc3\xa9", b"A" * 256]
KEYS = [b'"symbol":"BTC/USD",', b'"checksum":0,', b'"bids":[],', b'"asks":null,', b'"type":"snapshot",']
NESTED = [b'"x":' + b"[" * depth + b"]" * depth + b"," for depth in (9, 124, 125, 126, 127, 128, 1_000)]
TOKENS = STRUCTURE + NUMBERS + TEXTS + KEYS
FILES = [path.read_bytes().splitlines() for path in sorted(Path(__file__).with_name("cases").glob("*.ndjson"))]


def mutated(line: bytes, rng: random.Random) -> bytes:
    """A line with one to four things done to it that disks, cables, other recorders and strangers do."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not line:
            break
        at, what = rng.randrange(len(line)), rng.randrange(8)
        if what == 7:  # where a key may stand
            places = [place for place, byte in enumerate(line) if byte == b"{"[0]] or [at]
            at = rng.choice(places) + 1
            line = line[:at] + rng.choice(NESTED + KEYS) + line[at:]
        elif what == 0:
            line = line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]
        elif what == 1:
            line = line[:at] + rng.choice(TOKENS) + line[at:]
        elif what == 2:
            line = line[:at] + line[at + rng.randrange(1, 30) :]
        elif what == 3:
            line = line[:at] + 2 * line[at : at + rng.randrange(1, 60)] + line[at:]
        elif what == 4:
            line = line[:at]
        elif what == 5:
            digits = [place for place, byte in enumerate(line) if byte in b"0123456789"] or [at]
            at = rng.choice(digits)
            line = line[:at] + rng.choice([b"0", b"9", b"", b"00", b".", b"9" * 20]) + line[at + 1 :]
        else:
            parts = line.split(b",")
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
            line = b",".join(parts)
    return line.replace(b"\n", b" ")


def damaged_file(rng: random.Random) -> list[bytes]:
    """The lines of a file of a few symbols, some of them damaged."""
    flowing = flow.generate(
        symbols=rng.choice([1, 2, 4]),
        depth=rng.choice([10, 100]),
        levels=rng.choice([None, 6, 9, 12]),
        messages=rng.choice([20, 120]),
        seed=rng.randrange(10**6),
    )
    lines = list(rng.choice(FILES)) if rng.random() < 0.3 else list(flowing)
    if rng.random() < 0.3:
        lines = [json.dumps(json.loads(line)).encode() for line in lines]
    for _ in range(rng.choice([1, 2, 2, 3, 10])):
        at, what = rng.randrange(len(lines)), rng.randrange(4)
        if what == 0:
            lines.insert(at, mutated(rng.choice(CORPUS), rng))
        elif what == 1:
            lines.insert(at, rng.choice(lines))
        else:
            lines[at] = mutated(lines[at], rng)
    return lines


def check(seed: int) -> None:
    """One run: the engines agree on everything."""
    rng = random.Random(seed)
    lines = damaged_file(rng)
    rows = RowOptions(3, rng.choice([None, 250_000_000]), rng.random() < 0.5) if rng.random() < 0.5 else None
    on = rng.random() < 0.7
    best = (rows is None or rows.grid_ns is not None) and rng.random() < 0.5
    twins = Twins(EngineOptions(messages=on, events=on, rows=rows, best=best))
    feed_lines(twins, lines, Cut(rng.choice([1, 7, 1000]), rng.random() < 0.5), rng)
    twins.advance(START_NS + 10**12)
    twins.check()
    check_shares(b"\n".join(lines), rng.choice([None, None, frozenset({"BTC/USD", "x"})]))


def check_shares(block: bytes, only: Optional[frozenset[str]]) -> None:
    """Engines that share the symbols find together what one finds, in threads and as processes do it."""
    one = make_engine(EngineOptions(only=only), "native")
    several = make_engine(EngineOptions(only=only), "native", threads=3)
    python = [make_engine(EngineOptions(part=(part, 3), only=only), "python") for part in range(3)]
    ours = one.feed(block, 0, 0)
    theirs = [several.feed(block, 0, 0).notes, [note for each in python for note in each.feed(block, 0, 0).notes]]
    for notes in theirs:
        assert sorted(map(said, notes)) == sorted(map(said, ours.notes))
    assert several.totals() == one.totals()
    totals = [each.totals() for each in python]
    assert sum(each.malformed for each in totals) == one.totals().malformed
    assert sum(each.skipped for each in totals) - 2 * one.totals().lines == one.totals().skipped
    shared = [tally for each in python for tally in each.tallies()]
    for tallies in (several.tallies(), shared):
        assert sorted(map(repr, tallies)) == sorted(map(repr, one.tallies()))


def said(note: Note) -> str:
    return repr(comparable(note))


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_engines_agree_on_damaged_files(first: int) -> None:
    for seed in range(first, first + 50):
        try:
            check(seed)
        except BaseException as error:
            error.args = (f"seed {seed}", *error.args)
            raise


@pytest.mark.soak
def test_engines_agree_for_an_hour() -> None:
    begin, end = int(time.time()), time.monotonic() + 3_300
    for seed in count(begin * 1_000):
        if time.monotonic() > end:
            break
        try:
            check(seed)
        except BaseException as error:
            error.args = (f"seed {seed}", *error.args)
            raise
