"""Rows of the order book file, against a dictionary of sizes that is sorted after each line."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.export.formats.lobster_book import BookRows


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_each_row_has_the_best_levels_after_its_line(data):
    levels = data.draw(st.integers(1, 4))
    near = data.draw(st.integers(levels, 8))
    book, sizes = BookRows(levels, 10, near), ({}, {})
    for _ in range(data.draw(st.integers(1, 4))):
        lines, expected = [], []
        for _ in range(data.draw(st.integers(1, 25))):
            bid, price = data.draw(st.booleans()), data.draw(st.integers(1, 25))
            before = sizes[bid].get(price, 0)
            size = data.draw(st.sampled_from([0, 0, before, 1, 7]))
            sizes[bid][price] = size
            lines.append((bid, price, size - before, data.draw(st.booleans())))
            if lines[-1][3]:
                expected.append(row_of(sizes, levels))
        is_bid, prices, by, shown = (np.array(column) for column in zip(*lines))
        assert book.after(is_bid, prices, by, shown).decode().splitlines() == expected


def row_of(sizes: tuple[dict[int, int], dict[int, int]], levels: int) -> str:
    asks = sorted((price * 10, size) for price, size in sizes[False].items() if size)
    bids = sorted(((price * 10, size) for price, size in sizes[True].items() if size), reverse=True)
    cells = []
    for level in range(levels):
        for side, nothing in ((asks, (9_999_999_999, 0)), (bids, (-9_999_999_999, 0))):
            cells += side[level] if level < len(side) else nothing
    return ",".join(map(str, cells))
