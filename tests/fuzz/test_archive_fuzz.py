"""Damaged archives through every command: a fixed number of cases here, an hour of new ones in `make soak`.

A case that fails is run again, alone, by `python tests/fuzz/run.py SEED`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from run import run_cases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the bounds on time and memory are those of Linux")

CASES = 10
#: What a long run found once: a midnight past 2262 in a grid; a name that is not UTF-8, sealed; a packed file without a
#: byte, sealed; a receive time at the end of time; a checkpoint of a line that no file has.
FOUND = (1795772970958, 1795772970962, 1795779513107, 1795775033478, 1795786978251)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.timeout(600)  # it shares the processor with other tests; each case is bounded by itself
@pytest.mark.parametrize("first", range(0, 8 * CASES, CASES))
def test_damaged_archives_do_no_harm(root: Path, first: int) -> None:
    outcomes = list(run_cases(root, first, CASES))
    assert [outcome.broken for outcome in outcomes if outcome.broken] == []
    assert [outcome.seed for outcome in outcomes] == list(range(first, first + CASES))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_stays_mended(root: Path, seed: int) -> None:
    assert [outcome.broken for outcome in run_cases(root, seed, 1)] == [""]
