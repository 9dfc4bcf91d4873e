import json
from pathlib import Path

import pytest

from processes import run, simulate

NO_NETWORK = {"KRAKEN_L3_PUBLIC_WS_URL": "ws://127.0.0.1:9/v2"}


@pytest.fixture(scope="module")
def exchange():
    with simulate("--symbols", "BTC/USD,ETH/USD,ETH/EUR") as exports:
        yield exports


def test_numbers_for_programs(tmp_path: Path) -> None:
    symbols = ",".join(f"S{i}/USD" for i in range(450))
    options = ("--symbols", symbols, "--depth", "1000", "--tier", "pro", "--json")
    result = run("plan", *options, directory=tmp_path, **NO_NETWORK)
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)["result"]
    assert (facts["connections"], facts["redundancy"], facts["symbols"], facts["depth"]) == (6, 2, 450, 1000)
    assert 90 < facts["subscribe_s"] < 100
    assert "2026-09-16" in facts["basis"]
    assert "127.0.0.1:9" in facts["unchecked"]


def test_a_table_for_people(exchange, tmp_path: Path) -> None:
    result = run("plan", "--symbols", "BTC/USD,ETH/USD", directory=tmp_path, **exchange)
    assert result.returncode == 0, result.stderr
    for word in ("connections", "time to subscribe", "disk a day", "GB"):
        assert word in result.stdout
    assert "not compared" not in result.stdout


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        ("ETH/USD,BTC/USDD", "does not list 'BTC/USDD'. Did you mean BTC/USD?"),
        ("NOPE/XYZ", "does not list 'NOPE/XYZ'. It lists 3 pairs"),
        ("*/XYZ", "fits none"),
    ],
)
def test_a_symbol_that_kraken_does_not_list(exchange, tmp_path: Path, symbols: str, says: str) -> None:
    result = run("plan", "--symbols", symbols, directory=tmp_path, **exchange)
    assert result.returncode == 1
    assert says in result.stderr
    assert not result.stdout


def test_a_pattern_is_expanded(exchange, tmp_path: Path) -> None:
    result = run("plan", "--symbols", "ETH/*", "--json", directory=tmp_path, **exchange)
    assert json.loads(result.stdout)["result"]["symbols"] == 2


def test_without_a_network_names_are_taken_as_they_are_and_patterns_are_an_error(tmp_path: Path) -> None:
    result = run("plan", "--symbols", "BTC/USD", directory=tmp_path, **NO_NETWORK)
    assert result.returncode == 0
    assert "not compared with Kraken's list" in result.stdout
    result = run("plan", "--symbols", "*/USD", directory=tmp_path, **NO_NETWORK)
    assert result.returncode == 5
    assert "127.0.0.1:9" in result.stderr


def test_nothing_to_plan(tmp_path: Path) -> None:
    assert run("plan", directory=tmp_path).returncode == 1
