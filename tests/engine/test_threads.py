"""Several native engines in threads find what one finds."""

from __future__ import annotations

import pytest

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.exchange import flow

pytest.importorskip("kraken_l3_native", reason="the native package is not installed")


def damaged_flow() -> bytes:
    lines = list(flow.generate(symbols=7, depth=10, messages=600, seed=3))
    lines[200] = lines[200].replace(b'"checksum":', b'"checksum":1')
    lines[300] = lines[300][:50]
    lines[400:400] = [b'{"channel":"heartbeat"}', b"\xff", lines[10]]
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_find_what_one_engine_finds(threads):
    block = damaged_flow()
    one, several = make_engine(EngineOptions(), "native"), make_engine(EngineOptions(), "native", threads=threads)
    for engine in (one, several):
        engine.set_symbol("BTC/USD", price_precision=1, qty_precision=8, depth=10)
    ours, theirs = one.feed(block, 5, 1_000), several.feed(block, 5, 1_000)
    assert theirs.notes == sorted(ours.notes, key=lambda note: note.line)
    assert (theirs.lines, several.totals()) == (ours.lines, one.totals())
    by_symbol = {tally.symbol: tally for tally in several.tallies()}
    assert by_symbol == {tally.symbol: tally for tally in one.tallies()}
    assert sum(tally.mismatched for tally in one.tallies()) >= 1


def test_books_pass_through_threads():
    block = damaged_flow()
    one, several = make_engine(EngineOptions(), "native"), make_engine(EngineOptions(), "native", threads=2)
    one.feed(block, 0, 0)
    images = [image for symbol in one.symbols() if (image := one.export_book(symbol)) is not None]
    assert len(images) == 7
    for image in images:
        several.set_symbol(image.symbol, depth=10)
        assert several.load_book(image)
    assert several.export_book("BTC/USD") in images
    assert {note.kind for note in one.invalidate()} <= {"incident_closed"}
    several.invalidate()
    assert several.export_book("BTC/USD") is None


def test_only_some_symbols_in_threads():
    block = damaged_flow()
    options = EngineOptions(only=frozenset({"BTC/USD"}))
    one, several = make_engine(options, "native"), make_engine(options, "native", threads=2)
    one.feed(block, 0, 0)
    several.feed(block, 0, 0)
    assert several.totals() == one.totals()
    assert several.tallies() == one.tallies()
