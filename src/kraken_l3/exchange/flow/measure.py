"""How the made-up flow compares with the genuine one: the same shares counted in both.

`python -m kraken_l3.exchange.flow.measure` prints the table that stands in docs/exchange.md.
"""

from __future__ import annotations

import json
from collections import Counter

from kraken_l3.exchange.flow.generate import generate

__all__ = ["GENUINE", "Mix", "comparison", "measured"]

#: Shares in the genuine captures of 2024-11-12 (5,367 and 608 events at depth 10; sources: docs/exchange.md), as the
#: lower and the higher of the figures known.
GENUINE: dict[str, tuple[float, float]] = {
    "adds, of all events": (3475 / 5367, 386 / 608),
    "modifies, of all events": (5 / 608, 36 / 2781),
    "re-entries, of all adds": (133 / 386, 1302 / 3475),
    "amended orders coming back, of all adds": (13 / 386, 206 / 3475),
    "full fills, of all events": (11 / 5975, 11 / 5975),
    "events a message": (608 / 431, 5975 / 3789),
    "messages of one add": (210 / 431, 210 / 431),
    "messages of one delete and one add": (174 / 431, 174 / 431),
    "messages of one delete": (41 / 431, 41 / 431),
}
GENUINE = {name: (min(pair), max(pair)) for name, pair in GENUINE.items()}


class Mix:
    """Counts the shares of `GENUINE` over level3 updates. Snapshots do not count: the genuine captures have none."""

    def __init__(self) -> None:
        self._events: Counter[str] = Counter()
        self._shapes: Counter[tuple[str, ...]] = Counter()
        self._seen: dict[str, str] = {}

    def add(self, payload: bytes) -> None:
        """One more message, in the order of the stream."""
        message = json.loads(payload)
        if message["type"] != "update":
            return
        for data in message["data"]:
            entries = data["bids"] + data["asks"]
            for entry in entries:
                self._count(entry)
            self._shapes[tuple(entry["event"] for entry in entries)] += 1

    def _count(self, entry: dict[str, object]) -> None:
        event, order_id = str(entry["event"]), str(entry["order_id"])
        self._events[event] += 1
        last = self._seen.get(order_id)
        if event == "add" and last is not None:
            self._events["amended" if last == "delete" else "re-entry"] += 1
        if event == "delete" and not entry["order_qty"]:
            self._events["filled"] += 1
        self._seen[order_id] = event

    def shares(self) -> dict[str, float]:
        """What was counted, by the names of `GENUINE`."""
        events, shapes = self._events, self._shapes
        total = events["add"] + events["delete"] + events["modify"]
        messages = sum(shapes.values())
        return {
            "adds, of all events": events["add"] / total,
            "modifies, of all events": events["modify"] / total,
            "re-entries, of all adds": events["re-entry"] / events["add"],
            "amended orders coming back, of all adds": events["amended"] / events["add"],
            "full fills, of all events": events["filled"] / total,
            "events a message": total / messages,
            "messages of one add": shapes[("add",)] / messages,
            "messages of one delete and one add": shapes[("delete", "add")] / messages,
            "messages of one delete": shapes[("delete",)] / messages,
        }


def measured(runs: int = 5) -> dict[str, float]:
    """The mean shares of some runs, each as long as the larger genuine capture and of the same pairs."""
    mixes = [Mix() for _ in range(runs)]
    for seed, mix in enumerate(mixes):
        for payload in generate(symbols=["BTC/USD", "ETH/USD", "SOL/USD", "DOGE/USD"], messages=3_793, seed=seed):
            mix.add(payload)
    return {name: sum(mix.shares()[name] for mix in mixes) / runs for name in GENUINE}


def _figure(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "events a message" else f"{100 * value:.1f} %"


def comparison() -> str:
    """The table of docs/exchange.md: genuine against generated, from a fixed seed."""
    made = measured()
    lines = ["| share | genuine | generated |", "| --- | --- | --- |"]
    for name, (low, high) in GENUINE.items():
        first, last = _figure(name, low), _figure(name, high)
        lines.append(f"| {name} | {first if first == last else f'{first} - {last}'} | {_figure(name, made[name])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(comparison())  # noqa: T201 - this is its output
