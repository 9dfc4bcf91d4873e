import json
from pathlib import Path

from processes import run


def test_numbers_for_programs(tmp_path: Path) -> None:
    symbols = ",".join(f"S{i}/USD" for i in range(450))
    result = run("plan", "--symbols", symbols, "--depth", "1000", "--tier", "pro", "--json", directory=tmp_path)
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["connections"], facts["symbols"], facts["depth"]) == (3, 450, 1000)
    assert 90 < facts["subscribe_s"] < 100
    assert "2026-09-16" in facts["basis"]


def test_a_table_for_people(tmp_path: Path) -> None:
    result = run("plan", "--symbols", "BTC/USD,ETH/USD", directory=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in ("connections", "time to subscribe", "disk a day", "GB"):
        assert word in result.stdout


def test_nothing_to_plan(tmp_path: Path) -> None:
    assert run("plan", directory=tmp_path).returncode == 1
