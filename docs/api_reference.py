"""Writes docs/api.md from the docstrings of the Python API: python docs/api_reference.py"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from kraken_l3 import api, plot

CLASSES = (
    api.Archive,
    api.Table,
    api.Book,
    api.BookLevel,
    api.BookOrder,
    api.PlacedOrder,
    api.Ladder,
    api.Gap,
    api.DayCoverage,
    api.Rows,
    api.RunningReplay,
)
FUNCTIONS = (api.open_for_research, api.simulate, api.replay, api.decimals, api.doubles, api.pandas_types)
RENAMED = {"open_for_research": "open"}


def render() -> str:
    """The whole page."""
    parts = ["# Python API", "Generated from the docstrings by `docs/api_reference.py`.", _text(api)]
    parts += [_function(function, "kraken_l3.") for function in FUNCTIONS]
    for class_ in CLASSES:
        parts += [f"## `{class_.__name__}`", _text(class_)]
        for name, member in vars(class_).items():
            if name.startswith("_"):
                continue
            if isinstance(member, property):
                parts += [f"### `.{name}`", _text(member)]
            elif inspect.isfunction(member):
                parts.append(_function(member, "."))
    parts += ["## Pictures: `kraken_l3.plot`", _text(plot)]
    parts += [_function(function, "plot.") for function in (plot.depth, plot.queue, plot.spread, plot.survival)]
    return "\n\n".join(parts) + "\n"


def _function(function: Any, prefix: str) -> str:
    name = RENAMED.get(function.__name__, function.__name__)
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=parameters)))
    return f"### `{prefix}{name}{shown}`\n\n{_text(function)}"


def _text(thing: Any) -> str:
    """A docstring, with its indented parts as they stand."""
    paragraphs = inspect.getdoc(thing) or ""
    blocks = []
    for block in paragraphs.split("\n\n"):
        head, _, rest = block.partition("\n")
        if rest.startswith("    ") and head.endswith(":"):
            items = [f"- {line.strip()}" if line[4:5] != " " else f"  {line.strip()}" for line in rest.splitlines()]
            blocks.append(f"{head}\n\n" + "\n".join(items))
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(render(), encoding="utf-8")
