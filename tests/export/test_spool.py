"""Rows put aside by key come back whole, in order and in groups, however little memory there is."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.export.spool import Spool

ROW = np.dtype([("number", "<i8"), ("text", "S8")])


def rows(numbers) -> np.ndarray:
    made = np.zeros(len(numbers), ROW)
    made["number"] = numbers
    made["text"] = [b"%d" % (number % 1000) for number in numbers]
    return made


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 25)), max_size=30), st.sampled_from([0, 200, 10**6]))
def test_groups_do_not_depend_on_the_memory(steps, memory_bytes):
    spool = Spool(ROW, 10, memory_bytes)
    given_rows: dict[str, list[int]] = {key: [] for key in "ABC"}
    groups: dict[str, list[list[int]]] = {key: [] for key in "ABC"}
    try:
        for key, count in steps:
            numbers = list(range(len(given_rows[key]), len(given_rows[key]) + count))
            given_rows[key] += numbers
            for group in spool.add(key, rows(numbers)):
                assert (group["text"] == rows(group["number"])["text"]).all()
                groups[key].append(group["number"].tolist())
        for key in "ABC":
            rest = spool.rest(key)["number"].tolist()
            assert len(rest) < 10
            assert all(len(group) == 10 for group in groups[key])
            assert [*chain(*groups[key]), *rest] == given_rows[key]
            assert len(spool.rest(key)) == 0
    finally:
        spool.close()


def test_what_was_put_aside_on_disk_is_gone_after_the_end(tmp_path):
    spool = Spool(ROW, 1_000, 100, tmp_path)
    list(spool.add("A", rows(range(500))))
    spool.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("memory_bytes", [0, 10**6])
def test_the_bound_holds_for_all_keys_together(memory_bytes):
    spool = Spool(ROW, 10**6, memory_bytes)
    for key in range(50):
        list(spool.add(key, rows(range(100))))
        assert spool._bytes <= max(memory_bytes, 0)
    spool.close()
