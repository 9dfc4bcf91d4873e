"""Depth over time: the quantity within the best levels of each side, with gaps shown as gaps.

Run: python examples/depth.py ARCHIVE --symbol BTC/USD --every 1s --levels 10 --picture depth.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import kraken_l3

mpl.use("Agg")

import matplotlib.pyplot as plt


def main() -> None:
    """Draw the picture and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--every", default="1s")
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--picture", type=Path, default=Path("depth.png"))
    arguments = parser.parse_args()
    archive = kraken_l3.open(arguments.archive)
    how = {"every": arguments.every, "levels": arguments.levels, "wide": True, "keep_gaps": True}
    rows = archive.snapshots(arguments.symbol, **how).read_all()
    seconds = rows["timestamp"].cast(pa.int64()).to_numpy() / 1e9
    over_gap = rows["over_gap"].to_numpy()
    sides = {side: resting(rows[f"{side}_qtys"]) for side in ("bid", "ask")}
    mid = rows["mid"].to_numpy()
    for side, depth in sides.items():
        print(f"{side} depth: mean {depth[~over_gap].mean():.6g} in {arguments.levels} levels")
    print(f"{len(rows):,} rows, of which {int(over_gap.sum()):,} over gaps")
    draw(seconds - seconds[0], sides, mid, over_gap, arguments)


def resting(quantities: pa.ChunkedArray) -> np.ndarray:
    """Sum of each row's list."""
    parents = pc.list_parent_indices(quantities).to_numpy()
    return np.bincount(parents, pc.list_flatten(quantities).to_numpy(), minlength=len(quantities))


def draw(
    seconds: np.ndarray,
    sides: dict[str, np.ndarray],
    mid: np.ndarray,
    over_gap: np.ndarray,
    arguments: argparse.Namespace,
) -> None:
    """Depth above and below zero, the mid price under it; nothing where nothing is known."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for side, sign, colour in (("ask", 1, "tab:red"), ("bid", -1, "tab:green")):
        shown = np.where(over_gap, np.nan, sign * sides[side])
        upper.fill_between(seconds, 0, shown, step="post", color=colour, alpha=0.6, label=side)
    upper.set(
        ylabel=f"{arguments.symbol.split('/')[0]} in {arguments.levels} levels", title=f"{arguments.symbol}: depth"
    )
    upper.legend(frameon=False, loc="upper right")
    lower.step(seconds, np.where(over_gap, np.nan, mid), where="post", color="0.3")
    lower.set(xlabel="seconds", ylabel="mid price")
    lower.ticklabel_format(useOffset=False)
    figure.savefig(arguments.picture, dpi=120)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
