"""docs/export.md: its Python runs as it stands, and its tables name every column there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from archives import START_NS, record

from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.export.gap_table import GAPS
from kraken_l3.export.orders.table import ORDERS
from kraken_l3.export.schema import EVENTS, TRADES, snapshots_schema

DOCS = (Path(__file__).resolve().parents[2] / "docs/export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture(scope="module", params=["with receipts", "without"])
def workplace(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("docs")
    source = record(directory / "data", messages=1_000, start_ns=START_NS + 9_000 * 10**9 - 5 * 10**9)
    if request.param == "without":
        for companion in [*source.glob("*.receipts"), *source.glob("journal-*")]:
            companion.unlink()
    export_table(str(source), str(directory / "tables"), EventsTable())
    return directory


@pytest.mark.parametrize("block", BLOCKS, ids=[re.search(r"import (\w+)", block)[1] for block in BLOCKS])
def test_the_python_in_it_runs(workplace, block):
    pytest.importorskip(re.search(r"import (\w+)", block)[1])
    done = subprocess.run([sys.executable, "-c", block], cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert not re.search(r"null|NULL|NaT", done.stdout)


def test_every_column_is_in_it():
    for name in [
        *EVENTS.names,
        *ORDERS.names,
        *TRADES.names,
        *GAPS.names,
        *snapshots_schema(wide=True, over_gap=True).names,
    ]:
        assert f"`{name}`" in DOCS, name


def test_three_libraries_ask_the_one_question():
    section = DOCS.partition("## One question, three libraries")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert [re.search(r"import (\w+)", block)[1] for block in blocks] == ["polars", "duckdb", "pandas"]


def test_the_api_reference_is_what_the_docstrings_say():
    directory = Path(__file__).resolve().parents[2] / "docs"
    code = "import sys; sys.path.insert(0, '.'); import api_reference; sys.stdout.write(api_reference.render())"
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=True)
    assert done.stdout == (directory / "api.md").read_text(encoding="utf-8"), "run python docs/api_reference.py"
