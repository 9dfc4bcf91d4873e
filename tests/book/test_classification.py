"""What events mean: the rules one by one, and held against genuine events.

The fixture is derived from examples of github.com/r2stanton/kracked (commit b208be6, ex_out/L3_ticks.csv; sha256 of the
source as it was shared on 2026-11-22: 5275ca49b8daac58...): 608 genuine level3 events of BTC/USD and DOGE/USD, 2.6 s of
2024-11-12, depth 10. Ids are numbered, prices and quantities left out.
"""

import csv
import hashlib
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from kraken_l3.book.classification import MAX_AMENDING, Memory, classify_delete, classify_modify
from kraken_l3.model.events import Classification

GENUINE = Path(__file__).parent / "data" / "genuine-events-2024-11-12.csv"
GENUINE_SHA256 = "5078c6c4cd6aeb542b149abe925253bce9562e9590365513ce59de5d1c741cbb"


@pytest.mark.parametrize(
    ("qty", "stated_ns", "order_ns", "classification"),
    [
        (0, 9, 5, Classification.FILL),
        (0, 0, 0, Classification.FILL),
        (7, 9, 5, Classification.CANCEL),
        (7, 5, 5, Classification.AMEND),
        (7, 4, 5, Classification.UNKNOWN),
        (7, 0, 0, Classification.UNKNOWN),
        (7, 0, 5, Classification.UNKNOWN),
        (7, 5, 0, Classification.UNKNOWN),
    ],
)
def test_delete(qty, stated_ns, order_ns, classification):
    assert classify_delete(qty, stated_ns, order_ns) is classification


@pytest.mark.parametrize(
    ("change", "requeued", "fills", "classification"),
    [
        (-1, False, False, Classification.REDUCTION),
        (-1, False, True, Classification.PARTIAL_FILL),
        (-1, True, True, Classification.AMEND),
        (1, False, False, Classification.AMEND),
        (0, True, False, Classification.AMEND),
        (0, False, True, Classification.UNKNOWN),
    ],
)
def test_modify(change, requeued, fills, classification):
    assert classify_modify(change=change, requeued=requeued, array_fills=fills) is classification


def test_add():
    memory = Memory(newest_ns=5)
    assert memory.classify_add("a", 6, replaces=False) is Classification.NEW
    assert memory.classify_add("a", 5, replaces=False) is Classification.REENTRY
    assert memory.classify_add("a", 0, replaces=False) is Classification.UNKNOWN
    assert memory.classify_add("a", 6, replaces=True) is Classification.AMEND


def test_an_amend_is_over_with_its_add():
    memory = Memory()
    memory.remember_amend("a")
    assert memory.classify_add("a", 6, replaces=False) is Classification.AMEND
    assert memory.classify_add("a", 6, replaces=False) is Classification.NEW


def test_amends_that_never_come_back_are_forgotten():
    memory = Memory()
    for n in range(MAX_AMENDING + 1):
        memory.remember_amend(str(n))
    assert list(memory.amending) == [str(n) for n in range(1, MAX_AMENDING + 1)]


def test_genuine_events():
    content = GENUINE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == GENUINE_SHA256
    memories, history, order_ns, found = {}, {}, {}, Counter()
    events = csv.DictReader(content.decode().splitlines())
    for _, message in groupby(events, key=lambda event: event["message"]):
        newest = {}
        for event in message:
            symbol, order, ns = event["symbol"], event["order"], int(event["time_ns"])
            memory = memories.setdefault(symbol, Memory())
            newest[symbol] = max(newest.get(symbol, 0), ns)
            if event["action"] == "add":
                found[memory.classify_add(order, ns, replaces=False).name, history.get(order, "first seen")] += 1
                order_ns[order] = ns
            elif event["action"] == "delete":
                classification = classify_delete(1 - int(event["filled"]), ns, order_ns.get(order, 0))
                if classification is Classification.AMEND:
                    memory.remember_amend(order)
            history[order] = {"add": "added before", "delete": "deleted before"}.get(event["action"], "added before")
        for symbol, ns in newest.items():
            memories[symbol].newest_ns = max(memories[symbol].newest_ns, ns)
    assert found == {
        ("NEW", "first seen"): 203,
        ("REENTRY", "first seen"): 37,
        ("REENTRY", "added before"): 133,
        ("AMEND", "deleted before"): 12,
        ("NEW", "deleted before"): 1,
    }
