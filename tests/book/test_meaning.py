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

from kraken_l3.book.meaning import MAX_AMENDING, Memory, meaning_of_delete, meaning_of_modify
from kraken_l3.model.events import Meaning

GENUINE = Path(__file__).parent / "data" / "genuine-events-2024-11-12.csv"
GENUINE_SHA256 = "5078c6c4cd6aeb542b149abe925253bce9562e9590365513ce59de5d1c741cbb"


@pytest.mark.parametrize(
    ("qty", "stated_ns", "order_ns", "meaning"),
    [
        (0, 9, 5, Meaning.FILL),
        (0, 0, 0, Meaning.FILL),
        (7, 9, 5, Meaning.CANCEL),
        (7, 5, 5, Meaning.AMEND),
        (7, 4, 5, Meaning.UNKNOWN),
        (7, 0, 0, Meaning.UNKNOWN),
        (7, 0, 5, Meaning.UNKNOWN),
        (7, 5, 0, Meaning.UNKNOWN),
    ],
)
def test_delete(qty, stated_ns, order_ns, meaning):
    assert meaning_of_delete(qty, stated_ns, order_ns) is meaning


@pytest.mark.parametrize(
    ("change", "requeued", "fills", "meaning"),
    [
        (-1, False, False, Meaning.REDUCTION),
        (-1, False, True, Meaning.PARTIAL_FILL),
        (-1, True, True, Meaning.AMEND),
        (1, False, False, Meaning.AMEND),
        (0, True, False, Meaning.AMEND),
        (0, False, True, Meaning.UNKNOWN),
    ],
)
def test_modify(change, requeued, fills, meaning):
    assert meaning_of_modify(change=change, requeued=requeued, array_fills=fills) is meaning


def test_add():
    memory = Memory(newest_ns=5)
    assert memory.meaning_of_add("a", 6, replaces=False) is Meaning.NEW
    assert memory.meaning_of_add("a", 5, replaces=False) is Meaning.REENTRY
    assert memory.meaning_of_add("a", 0, replaces=False) is Meaning.UNKNOWN
    assert memory.meaning_of_add("a", 6, replaces=True) is Meaning.AMEND


def test_an_amend_is_over_with_its_add():
    memory = Memory()
    memory.remember_amend("a")
    assert memory.meaning_of_add("a", 6, replaces=False) is Meaning.AMEND
    assert memory.meaning_of_add("a", 6, replaces=False) is Meaning.NEW


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
                found[memory.meaning_of_add(order, ns, replaces=False).name, history.get(order, "first seen")] += 1
                order_ns[order] = ns
            elif event["action"] == "delete":
                meaning = meaning_of_delete(1 - int(event["filled"]), ns, order_ns.get(order, 0))
                if meaning is Meaning.AMEND:
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
