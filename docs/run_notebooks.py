"""Runs notebooks and keeps what they show: python docs/run_notebooks.py [--out DIRECTORY] NOTEBOOK...

Without --out they are written where they are. Times and versions are left out, so that a file changes only where its
results do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TIMEOUT_S = 600


def run(path: Path) -> str:
    """The notebook's text after it ran."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        resources = {"metadata": {"path": directory}}
        NotebookClient(notebook, timeout=TIMEOUT_S, resources=resources, record_timing=False).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # a progress bar that is gone leaves an empty output
            cell.outputs = [each for each in cell.outputs if each.get("data", {}).get("text/html") != ""]
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = {}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Run those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        target = path if arguments.out is None else arguments.out / path.name
        target.write_text(run(path), encoding="utf-8")


if __name__ == "__main__":
    main()
