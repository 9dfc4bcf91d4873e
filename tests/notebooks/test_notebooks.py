"""docs/notebooks: each opens with its pictures, and runs from the first cell to the last where its libraries are.

`make test-notebooks` makes the environment and runs them; elsewhere only what is stored in them is looked at.
"""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
PYTHON = ROOT / ".venv-notebooks/bin/python"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def outputs(path):
    return [output for cell in cells(path) for output in cell["outputs"]]


def text_of(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def shown(cell):
    """What kinds of output a cell has."""
    return [sorted(output.get("data", {"text": ""})) for output in cell["outputs"]]


def test_there_are_five():
    assert [path.stem[0] for path in NOTEBOOKS] == list("12345")


@each_notebook
def test_it_is_stored_as_it_ran(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    code = cells(path)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        ast.parse(text_of(cell["source"]))
    assert not [each for each in outputs(path) if each["output_type"] == "error" or each.get("name") == "stderr"]


@each_notebook
def test_it_has_pictures_and_is_small(path):
    assert sum("image/png" in output.get("data", {}) for output in outputs(path)) >= 1
    assert path.stat().st_size < 400_000


@each_notebook
def test_it_makes_its_own_data_and_names_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert "kraken_l3.simulate(" in text
    for output in outputs(path):
        shown = {**output.get("data", {}), "text": output.get("text", "")}
        for kind, value in shown.items():
            assert kind.startswith("image/") or not re.search(r"(^|[ '\"(])/[a-z]+/", text_of(value)), text_of(value)


@each_notebook
def test_links_between_notebooks_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([\w.-]+\.ipynb)\)", text_of(cell["source"])):
            assert (path.parent / target).exists(), target


@pytest.mark.skipif(not PYTHON.exists(), reason="its libraries are not installed ('make test-notebooks' does it)")
@pytest.mark.timeout(600)
@each_notebook
def test_it_runs(path, tmp_path):
    command = [str(PYTHON), str(ROOT / "docs/run_notebooks.py"), "--out", str(tmp_path), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ran, stored = ([shown(cell) for cell in cells(each)] for each in (tmp_path / path.name, path))
    assert ran == stored
