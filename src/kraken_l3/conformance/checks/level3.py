"""The data of level3: forms, numbers, times, order events, the depth window, checksums."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kraken_l3.conformance import sources
from kraken_l3.conformance.check import Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import (
    MICROS,
    NANOS,
    accepted,
    answers_to,
    levels_of,
    must_be_numbers,
    must_have,
    talk,
)
from kraken_l3.conformance.transcript import Message, Number, Transcript
from kraken_l3.conformance.walk import Applied, level3_messages, walks

__all__ = ["LEVEL3_DATA"]

LEVEL3_DATA = CheckList()
_SIDES = ("bids", "asks")


@LEVEL3_DATA.add(
    "level3.envelope",
    "A message has `channel`, `type` (snapshot or update) and `data` with one element: `symbol`, `checksum`, `bids`, "
    "`asks`, `timestamp`.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _envelope(transcript: Transcript) -> str:
    count = 0
    for message in _messages(transcript):
        must_have(message, ("channel", "type", "data"))
        must(message["type"] in ("snapshot", "update") and len(message["data"]) == 1, f"{message}"[:300])
        (data,) = message["data"]
        must_have(data, ("symbol", "checksum", "bids", "asks", "timestamp"))
        must(all(isinstance(data[side], list) for side in _SIDES), f"{data}"[:300])
        count += 1
    return f"{count:,} messages"


@LEVEL3_DATA.add(
    "level3.snapshot-order",
    "An order of a snapshot has `order_id`, `limit_price`, `order_qty`, `timestamp`, and no `event`.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _snapshot_order(transcript: Transcript) -> str:
    orders = _orders(walks(transcript, "snapshot"))
    for order in orders:
        must_have(order, ("order_id", "limit_price", "order_qty", "timestamp"))
    return f"{len(orders):,} orders"


@LEVEL3_DATA.add(
    "level3.snapshot-sorted",
    "A snapshot lists bids from the highest price, asks from the lowest; in a level the oldest order first.",
    sources.LEVEL3_CHECKSUM,
    Certainty.INFERRED,
)
def _snapshot_sorted(transcript: Transcript) -> str:
    found = walks(transcript, "snapshot")
    for _, each in found:
        for side, sign in (("bids", -1), ("asks", 1)):
            keys = [(sign * Decimal(order["limit_price"]), order["timestamp"]) for order in each.data[side]]
            must(keys == sorted(keys), f"{side} of {each.symbol}")
    return f"{len(found)} snapshots"


@LEVEL3_DATA.add(
    "level3.update-order",
    "An order of an update has an `event` (add, modify or delete) as well.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _update_order(transcript: Transcript) -> str:
    orders = _orders(walks(transcript, "update"))
    for order in orders:
        must_have(order, ("event", "order_id", "limit_price", "order_qty", "timestamp"))
        must(order["event"] in ("add", "modify", "delete"), f"event {order['event']!r}")
    return f"{len(orders):,} events"


@LEVEL3_DATA.add(
    "level3.numbers",
    "Prices, quantities and the checksum are JSON numbers, not texts.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _numbers(transcript: Transcript) -> str:
    found = walks(transcript)
    for _, each in found:
        must_be_numbers(each.data, "checksum")
    orders = _orders(found)
    for order in orders:
        must_be_numbers(order, "limit_price", "order_qty")
    return f"{2 * len(orders):,} numbers"


@LEVEL3_DATA.add(
    "level3.precision",
    "A price has exactly `price_precision` decimals and a quantity exactly `qty_precision`, trailing zeros included.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _precision(transcript: Transcript) -> str:
    count = 0
    for _, each in walks(transcript):
        precision = transcript.precisions.get(each.symbol)
        if precision is None:
            continue
        for order in (*each.data["bids"], *each.data["asks"]):
            for key, decimals in zip(("limit_price", "order_qty"), precision):
                told = len(order[key].partition(".")[2])
                must(told == decimals and "e" not in order[key].lower(), f"{key} {order[key]}, precision {decimals}")
                count += 1
    if not count:
        raise Skipped("the server tells no precisions")
    return f"{count:,} numbers"


@LEVEL3_DATA.add(
    "level3.order-times",
    "An order's `timestamp` is RFC 3339 with nine decimals, so that texts sort as times do.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _order_times(transcript: Transcript) -> str:
    orders = _orders(walks(transcript))
    for order in orders:
        must(NANOS.fullmatch(order["timestamp"]), f"timestamp {order['timestamp']!r}")
    return f"{len(orders):,} times"


@LEVEL3_DATA.add(
    "level3.message-times",
    "A message's `timestamp` is RFC 3339 in UTC.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _message_times(transcript: Transcript) -> str:
    found = walks(transcript)
    for _, each in found:
        told = each.data["timestamp"]
        must(NANOS.fullmatch(told) or MICROS.fullmatch(told), f"timestamp {told!r}")
    return f"{len(found):,} times"


@LEVEL3_DATA.add(
    "level3.depth",
    "A snapshot has at most the subscribed number of price levels a side.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _depth(transcript: Transcript) -> str:
    most: dict[int, int] = {}
    for name, each in walks(transcript, "snapshot"):
        depth = _depth_of(name)
        counts = [len(levels_of(each.data[side])) for side in _SIDES]
        must(max(counts) <= depth, f"{max(counts)} levels at depth {depth}")
        most[depth] = max(most.get(depth, 0), *counts)
    return ", ".join(f"{count} at depth {depth}" for depth, count in sorted(most.items()))


@LEVEL3_DATA.add(
    "level3.depths-offered",
    "Depth 10, 100 and 1000 can be had.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _depths_offered(transcript: Transcript) -> str:
    accepted(transcript, "main", "subscribe")
    deeper = [depth for depth in transcript.depths if depth != 10]
    for depth in deeper:
        for answer in answers_to(transcript, f"depth-{depth}", "subscribe"):
            must(answer.get("success") is True, f"depth {depth}: {answer.get('error')}")
    if deeper != [100, 1000]:
        raise Skipped(f"asked only for {', '.join(map(str, transcript.depths))}")
    return "10, 100, 1000"


@LEVEL3_DATA.add(
    "level3.not-crossed",
    "After a whole message the best bid is below the best ask.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _not_crossed(transcript: Transcript) -> str:
    found = walks(transcript)
    for name, each in found:
        must(not each.is_crossed, f"{each.symbol} on {name} after {each.data['timestamp']}")
    return f"{len(found):,} books"


@LEVEL3_DATA.add(
    "level3.known-orders",
    "Where a client forgets what leaves the depth, each modify and delete is of an order that it has: of a level that "
    "was pushed out nothing is told.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _known(transcript: Transcript) -> str:
    count = 0
    for _, each in walks(transcript, "update"):
        must(not each.unknown, f"{each.symbol} at {each.data['timestamp']}: {', '.join(each.unknown)}")
        count += sum(o["event"] != "add" for side in _SIDES for o in each.data[side])
    return f"{count:,} modifies and deletes"


@LEVEL3_DATA.add(
    "level3.revealed-levels",
    "When a level vanishes, the orders of the next one come in the same message: a side that was full stays full.",
    sources.LEVEL3,
    Certainty.INFERRED,
)
def _revealed(transcript: Transcript) -> str:
    full = 0
    for name, each in walks(transcript, "update"):
        depth = _depth_of(name)
        if depth != 10:
            continue  # a deeper side may have no more levels
        for before, after in zip(*each.sizes):
            must(before < depth or after == depth, f"{each.symbol}: {before} levels before, {after} after a message")
            full += before == depth
    if not full:
        raise Skipped("no side had 10 levels")
    return f"{full:,} sides"


@LEVEL3_DATA.add(
    "level3.once-a-message",
    "No order occurs twice in a message.",
    sources.KRACKED,
    Certainty.OBSERVED,
)
def _once(transcript: Transcript) -> str:
    found = walks(transcript, "update")
    for _, each in found:
        ids = [order["order_id"] for side in _SIDES for order in each.data[side]]
        must(len(ids) == len(set(ids)), f"{each.symbol} at {each.data['timestamp']}: {ids}")
    return f"{len(found):,} updates"


@LEVEL3_DATA.add(
    "level3.grouped",
    "In each side of an update all deletes come first, then the adds, then the modifies: it is not chronological.",
    sources.KRACKED,
    Certainty.OBSERVED,
)
def _grouped(transcript: Transcript) -> str:
    rank = {"delete": 0, "add": 1, "modify": 2}
    count = 0
    for _, each in walks(transcript, "update"):
        for side in _SIDES:
            ranks = [rank[order["event"]] for order in each.data[side]]
            must(ranks == sorted(ranks), f"{each.symbol} {side}: {[order['event'] for order in each.data[side]]}")
            count += len(ranks) > 1
    if not count:
        raise Skipped("no update had several events on a side")
    return f"{count:,} sides of several events"


@LEVEL3_DATA.add(
    "level3.modify",
    "A modify lowers the quantity of an order; price and `timestamp` stay, and with them its place in the queue.",
    sources.KRACKED,
    Certainty.OBSERVED,
)
def _modify(transcript: Transcript) -> str:
    count = 0
    for _, each in walks(transcript, "update"):
        for old, new in each.replaced:
            stays = all(Decimal(old[k]) == Decimal(new[k]) for k in ("limit_price",))
            must(stays and old["timestamp"] == new["timestamp"], f"{old} became {new}")
            must(Decimal(new["order_qty"]) < Decimal(old["order_qty"]), f"{old} became {new}")
            count += 1
    if not count:
        raise Skipped("no order was modified")
    return f"{count:,} modifies"


@LEVEL3_DATA.add(
    "checksum.snapshot",
    "A snapshot's `checksum` is the CRC-32 of the 10 best levels a side, asks first, of each order price and quantity "
    "without point and leading zeros.",
    sources.LEVEL3_CHECKSUM,
    Certainty.DOCUMENTED,
)
def _snapshot_checksum(transcript: Transcript) -> str:
    return _checksums(walks(transcript, "snapshot"))


@LEVEL3_DATA.add(
    "checksum.update",
    "An update's `checksum` is that of the book after the whole message, cut to the subscribed depth.",
    sources.LEVEL3_CHECKSUM,
    Certainty.DOCUMENTED,
)
def _update_checksum(transcript: Transcript) -> str:
    return _checksums(walks(transcript, "update"))


@LEVEL3_DATA.add(
    "checksum.queue-by-time",
    "In a level orders queue by their `timestamp`; the adds of a message need not come in that order.",
    sources.CRYPTO_TRADER,
    Certainty.OBSERVED,
)
def _by_time(transcript: Transcript) -> str:
    found = [each for _, each in walks(transcript, "update") if each.checksum != each.arrival_checksum]
    if not found:
        raise Skipped("all adds came in the order of their times")
    for each in found:
        must(each.checksum == int(each.data["checksum"]), f"{each.symbol} at {each.data['timestamp']}")
    return f"{len(found):,} books in which time and arrival differ"


@LEVEL3_DATA.add(
    "checksum.every-depth",
    "At every depth it is the checksum of the same 10 best levels: one moment has one checksum.",
    sources.LEVEL3_CHECKSUM,
    Certainty.DOCUMENTED,
)
def _every_depth(transcript: Transcript) -> str:
    told: dict[tuple[str, str], dict[int, str]] = {}
    for name, each in walks(transcript, "update"):
        # the last of a moment counts: several messages may bear one time
        told.setdefault((each.symbol, each.data["timestamp"]), {})[_depth_of(name)] = each.data["checksum"]
    common = {moment: sums for moment, sums in told.items() if len(sums) > 1}
    if not common:
        raise Skipped("no moment was seen at two depths")
    for (symbol, time), sums in common.items():
        must(len(set(sums.values())) == 1, f"{symbol} at {time}: {sums}")
    return f"{len(common):,} moments at several depths"


@LEVEL3_DATA.add(
    "level3.several-symbols",
    "One connection carries several symbols, each with snapshot, updates and checksums of its own.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _several(transcript: Transcript) -> str:
    talk(transcript, "main", "several")
    seen = {each.symbol for name, each in walks(transcript, "update") if name == "main"}
    silent = set(transcript.symbols) - seen
    if silent:
        raise Skipped(f"no update of {', '.join(sorted(silent))} came")
    return ", ".join(sorted(seen))


def _depth_of(name: str) -> int:
    return int(name.partition("-")[2] or 10)


def _messages(transcript: Transcript) -> Iterator[Message]:
    found = [e.message for t in transcript.talks.values() for e in level3_messages(t) if t.endpoint == "level3"]
    if not found:
        raise Skipped(transcript.missing.get("main", "no level3 message came"))
    return iter(found)


def _orders(found: list[tuple[str, Applied]]) -> list[Message]:
    return [order for _, each in found for side in _SIDES for order in each.data[side]]


def _checksums(found: list[tuple[str, Applied]]) -> str:
    wrong = [(name, each) for name, each in found if each.checksum != int(Number(each.data["checksum"]))]
    if wrong:
        name, each = wrong[0]
        where = f"{each.symbol} on {name} at {each.data['timestamp']}"
        must(False, f"{len(wrong):,} of {len(found):,}; {where}: {each.data['checksum']}, should be {each.checksum}")
    return f"{len(found):,} messages"
