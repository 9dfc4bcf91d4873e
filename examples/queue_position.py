"""How likely an order is to be filled, by its place in the queue when it arrived.

Takes each order that arrived at one of the best levels and follows it to its end: filled, cancelled (or amended away),
or lost from sight (evicted, or the recording ends). Run: python examples/queue_position.py ARCHIVE --picture queue.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

import kraken_l3

mpl.use("Agg")

import matplotlib.pyplot as plt

PLACES = ("0", "1", "2", "3+")
ENDS = {"fill": "filled", "cancel": "cancelled", "amend": "cancelled"}
COLOURS = {"filled": "tab:green", "cancelled": "tab:red", "lost from sight": "0.8"}
NAMES = ["line", "order_id", "action", "classification", "level", "queue_position"]


def outcomes(archive: kraken_l3.Archive, symbol: str, levels: int) -> dict[str, dict[str, int]]:
    """Place at arrival -> how it ended -> how many."""
    counts = {place: dict.fromkeys(COLOURS, 0) for place in PLACES}
    open_orders: dict[str, str] = {}
    for batch in archive.events(symbol):
        for line, order_id, action, classification, level, queue in zip(*(batch[name].to_pylist() for name in NAMES)):
            if line < 0:  # the book at midnight, told again: no message
                continue
            if action == "add" and classification == "new" and level < levels:
                open_orders[order_id] = PLACES[min(queue, len(PLACES) - 1)]
            elif action == "clear":
                for place in open_orders.values():
                    counts[place]["lost from sight"] += 1
                open_orders.clear()
            elif action in ("delete", "evict") and order_id in open_orders:
                end = ENDS.get(classification, "lost from sight") if action == "delete" else "lost from sight"
                counts[open_orders.pop(order_id)][end] += 1
    for place in open_orders.values():
        counts[place]["lost from sight"] += 1
    return counts


def main() -> None:
    """Draw the picture and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--levels", type=int, default=3, help="arrivals at so many best levels count")
    parser.add_argument("--picture", type=Path, default=Path("queue_position.png"))
    arguments = parser.parse_args()
    counts = outcomes(kraken_l3.open(arguments.archive), arguments.symbol, arguments.levels)
    for place, ends in counts.items():
        known = ends["filled"] + ends["cancelled"]
        share = f"{ends['filled'] / known:6.1%}" if known else "     -"
        print(f"place {place:3} {sum(ends.values()):7,} orders, filled of those whose end was seen: {share}")
    draw(counts, arguments)


def draw(counts: dict[str, dict[str, int]], arguments: argparse.Namespace) -> None:
    """Shares of ends by place."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    totals = {place: max(1, sum(ends.values())) for place, ends in counts.items()}
    bottom = [0.0] * len(PLACES)
    for end, colour in COLOURS.items():
        shares = [counts[place][end] / totals[place] for place in PLACES]
        axes.bar(PLACES, shares, bottom=bottom, color=colour, label=end)
        bottom = [low + share for low, share in zip(bottom, shares)]
    axes.set_xticks(range(len(PLACES)), [f"{place}\nn={sum(counts[place].values()):,}" for place in PLACES])
    axes.set(
        xlabel="orders ahead in the level at arrival", ylabel="share", title=f"{arguments.symbol}: what became of it"
    )
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(arguments.picture, dpi=120)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
