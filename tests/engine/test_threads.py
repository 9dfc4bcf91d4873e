"""Several native engines in threads find what one finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


#: Of several symbols, of none, escaped, damaged, with numbers as programs write them.
ODD_LINES = [
    b'{"channel":"heartbeat"}',
    b'{"method":"subscribe","result":{"channel":"level3","symbol":"BTC/USD"},"success":true}',
    b"",
    b"\xff",
    b'{"channel":"level3","type":"update","data":[{"symbol":"BTC\\/USD","checksum":1,"bids":[],"asks":[]}]}',
    b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[]},{"symbol":"ETH/USD","asks":[]}]}',
    b'{"channel":"level3","type":"update","data":[{"symbol":"a symbol of more than fifteen bytes","bids":[]}]}',
    b'{"channel":"level3","type":"update","data":[]}',
    b'{"channel":"level3","type":"update","data":[{"checksum":1}]}',
]


@st.composite
def odd_flows(draw) -> list[bytes]:
    lines = list(flow.generate(symbols=draw(st.integers(1, 5)), depth=10, messages=60, seed=draw(st.integers(0, 99))))
    for at in draw(st.lists(st.integers(0, len(lines) - 1), max_size=8)):
        change = draw(st.sampled_from(["odd", "cut", "exponent", "quoted", "checksum", "snapshot"]))
        line = lines[at]
        if change == "odd":
            lines[at] = draw(st.sampled_from(ODD_LINES))
        elif change == "cut":
            lines[at] = line[: draw(st.integers(0, len(line)))].replace(b"\n", b"")
        elif change == "exponent":
            lines[at] = line.replace(b'"order_qty":', b'"order_qty":1e-05,"order_qty":1')
        elif change == "quoted":
            lines[at] = line.replace(b'"order_qty":0.', b'"order_qty":5e-1,"x":0.')
        elif change == "checksum":
            lines[at] = line.replace(b'"checksum":', b'"checksum":1')
        else:
            lines.append(lines[0])
    return lines


@given(odd_flows(), st.integers(2, 5), st.lists(st.integers(0, 80), max_size=4))
@settings(deadline=None, max_examples=60)
def test_threads_find_the_same_in_whatever_lines(lines, threads, cuts):
    one, several = make_engine(EngineOptions(), "native"), make_engine(EngineOptions(), "native", threads=threads)
    reference = make_engine(EngineOptions(), "python")
    at = 0
    edges = sorted({0, *(cut for cut in cuts if cut < len(lines)), len(lines)})
    for begin, end in zip(edges, edges[1:]):
        block = b"\n".join(lines[begin:end]) + b"\n"
        ours, theirs, python = (engine.feed(block, begin, at) for engine in (one, several, reference))
        told = sorted(ours.notes, key=lambda note: (note.line, note.symbol))
        assert sorted(theirs.notes, key=lambda note: (note.line, note.symbol)) == told
        assert [note.line for note in theirs.notes] == [note.line for note in ours.notes]
        assert (theirs.lines, python.lines) == (ours.lines, ours.lines)
        at += len(block)
    assert several.totals() == one.totals() == reference.totals()
    by_symbol = {tally.symbol: tally for tally in one.tallies()}
    assert {tally.symbol: tally for tally in several.tallies()} == by_symbol
    assert {tally.symbol: tally for tally in reference.tallies()} == by_symbol
    for symbol in by_symbol:
        assert several.export_book(symbol) == one.export_book(symbol) == reference.export_book(symbol)
