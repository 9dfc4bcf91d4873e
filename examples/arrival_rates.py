"""How often orders arrive and are cancelled, and how wrong a count is that takes re-entries for arrivals.

An `add` on Kraken's feed is often an order that was there all along, outside the recorded depth; the column
`classification` tells them apart. Run: python examples/arrival_rates.py ARCHIVE --symbol BTC/USD --picture rates.png
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

NS_PER_S = 1_000_000_000


def per_second(table: pa.Table, chosen: pa.Array, edges_ns: np.ndarray, bin_s: float) -> np.ndarray:
    """Events a second in each bin."""
    times = table.filter(chosen)["ts_event"].cast(pa.int64()).to_numpy()
    return np.histogram(times, edges_ns)[0] / bin_s


def main() -> None:
    """Draw the picture and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--bin-s", type=float, default=5.0)
    parser.add_argument("--picture", type=Path, default=Path("arrival_rates.png"))
    arguments = parser.parse_args()
    events = kraken_l3.open(arguments.archive).events(arguments.symbol).read_all()
    events = events.filter(pc.greater_equal(events["line"], 0))  # the others are books at midnight, not messages
    times = events["ts_event"].cast(pa.int64()).to_numpy()
    bin_ns = int(arguments.bin_s * NS_PER_S)
    edges = np.arange(times.min(), times.max() + 1, bin_ns)  # whole bins only: a partial one is not a rate
    if len(edges) < 2:
        parser.error(f"the data is shorter than one bin of {arguments.bin_s:g} s; choose a smaller --bin-s")
    chosen = {
        "adds on the wire": pc.equal(events["action"].cast(pa.string()), "add"),
        "arrivals (new)": pc.equal(events["classification"].cast(pa.string()), "new"),
        "cancellations": pc.equal(events["classification"].cast(pa.string()), "cancel"),
    }
    known = np.histogram(times, edges)[0] > 0  # where nothing at all came there was a gap, not a rate of zero
    rates = {name: per_second(events, rows, edges, arguments.bin_s) for name, rows in chosen.items()}
    rates = {name: np.where(known, rate, np.nan) for name, rate in rates.items()}
    draw(rates, (edges[:-1] - edges[0]) / NS_PER_S, arguments)
    for name, rate in rates.items():
        print(f"{name:20} {np.nanmean(rate):8.2f} a second")
    overstated = np.nansum(rates["adds on the wire"]) / np.nansum(rates["arrivals (new)"]) - 1
    print(f"counting every add overstates arrivals by {overstated:.0%}")


def draw(rates: dict[str, np.ndarray], seconds: np.ndarray, arguments: argparse.Namespace) -> None:
    """Rates over time."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    styles = {
        "adds on the wire": ("0.65", "--"),
        "arrivals (new)": ("tab:blue", "-"),
        "cancellations": ("tab:red", "-"),
    }
    for name, rate in rates.items():
        colour, line = styles[name]
        axes.step(seconds, rate, where="post", color=colour, linestyle=line, label=name)
    axes.set(xlabel="seconds", ylabel="events a second", title=f"{arguments.symbol}: arrivals are not adds")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(arguments.picture, dpi=120)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
