"""The corpus of the native parser, native/corpus, through both engines: lines that were found to matter.

Each file stands on books that its updates can change. `tests/corpus.rs` of the native package feeds the same files to
the native engine alone, and tests/engine/test_differential_fuzz.py makes new lines out of these.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("kraken_l3_native", reason="the native package is not installed")

from test_differential_fuzz import check_shares
from test_engines_agree import Cut, Twins, feed_lines

from kraken_l3.engine.port import EngineOptions, RowOptions
from kraken_l3.exchange import flow

DIRECTORY = Path(__file__).parents[2] / "native" / "corpus"
FILES = sorted(DIRECTORY.glob("*.ndjson"))
MOST_BYTES = 200_000


def lines_of(file: Path) -> list[bytes]:
    books = flow.generate(symbols=["BTC/USD", "ETH/USD"], messages=12, seed=5, levels=6)
    return [*books, *file.read_bytes().split(b"\n")[:-1]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_engines_agree_on_the_corpus(file, step):
    twins = Twins(EngineOptions(messages=True, events=True, rows=RowOptions(3, None, True)))
    feed_lines(twins, lines_of(file), Cut(step, step == 7), random.Random(step))
    twins.check()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_engines_agree_on_each_line_alone(file):
    books, corpus = lines_of(file)[:12], lines_of(file)[12:]
    for line in corpus:
        twins = Twins(EngineOptions(messages=True, events=True))
        feed_lines(twins, [*books, line], Cut(100, False), random.Random(0))
        twins.check()


@pytest.mark.parametrize("only", [None, frozenset({"BTC/USD"}), frozenset({"ETH/USD", "A/EUR", "B\\ud800C"})])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shares_of_the_symbols_make_the_whole(file, only):
    check_shares(b"\n".join(lines_of(file)), only)


def test_the_corpus_is_small():
    assert 0 < sum(path.stat().st_size for path in DIRECTORY.iterdir()) < MOST_BYTES
