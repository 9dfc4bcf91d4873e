"""The public endpoint: `instrument`, `trade`, `book`, `ticker`; level3 is not served there."""

from __future__ import annotations

from decimal import Decimal

from kraken_l3.conformance import sources
from kraken_l3.conformance.books import PriceBook
from kraken_l3.conformance.check import Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import (
    MICROS,
    NANOS,
    accepted,
    answer_to,
    answers_to,
    must_be_numbers,
    must_have,
    must_refuse,
    talk,
)
from kraken_l3.conformance.transcript import Message, Transcript

__all__ = ["PUBLIC"]

PUBLIC = CheckList()
_PAIR = (
    "symbol", "base", "quote", "status", "qty_precision", "qty_increment", "price_precision", "price_increment",
    "cost_precision", "cost_min", "qty_min", "marginable", "has_index",
)  # fmt: skip
_STATUS = (
    "online", "cancel_only", "post_only", "limit_only", "reduce_only", "maintenance", "delisted", "work_in_progress",
)  # fmt: skip
_TICKER = (
    "symbol", "bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct",
)  # fmt: skip


@PUBLIC.add(
    "public.no-level3",
    "The public endpoint does not serve level3.",
    sources.CHANGES,
    Certainty.DOCUMENTED,
)
def _no_level3(transcript: Transcript) -> str:
    return must_refuse(transcript, "public", "level3", "")


@PUBLIC.add("public.unknown-channel", "A channel that does not exist is refused.", sources.BARTER, Certainty.OBSERVED)
def _unknown_channel(transcript: Transcript) -> str:
    answers = answers_to(transcript, "public", "unknown-channel")
    must(not any(each.get("success") is True for each in answers), f"{answers[0]}")
    return str(answers[0].get("error"))


@PUBLIC.add(
    "public.acks",
    "An acknowledgement of `trade`, `book` and `ticker` names channel and symbol, one for each symbol.",
    sources.BOOK,
    Certainty.DOCUMENTED,
)
def _acks(transcript: Transcript) -> str:
    count = 0
    for channel in ("trade", "book", "ticker"):
        for ack in accepted(transcript, "public", channel):
            must_have(ack, ("method", "result", "success", "time_in", "time_out"), ("req_id",))
            must(ack["result"]["channel"] == channel and ack["result"]["symbol"] in transcript.symbols, f"{ack}")
            count += 1
    return f"{count} acknowledgements"


@PUBLIC.add(
    "instrument.ack",
    "The acknowledgement of `instrument` names no symbol, and warns that `tick_size` is deprecated.",
    sources.INSTRUMENT,
    Certainty.DOCUMENTED,
)
def _instrument_ack(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "public", "instrument")
    must("symbol" not in ack["result"] and ack["result"]["channel"] == "instrument", f"{ack}")
    must(any("tick_size" in each for each in ack["result"].get("warnings", ())), f"{ack['result']}")
    return str(ack["result"]["warnings"][0])


@PUBLIC.add(
    "instrument.snapshot",
    "A subscription of `instrument` is answered by one snapshot; its `data` is an object with the arrays `assets` and "
    "`pairs`, no array.",
    sources.INSTRUMENT,
    Certainty.DOCUMENTED,
)
def _instrument_snapshot(transcript: Transcript) -> str:
    found = _data(transcript, "instrument", "snapshot")
    must(len(found) == 1, f"{len(found)} snapshots")
    (data,) = found
    must_have(data, ("assets", "pairs"))
    return f"{len(data['assets'])} assets, {len(data['pairs'])} pairs"


@PUBLIC.add(
    "instrument.pair",
    f"A pair has {', '.join(f'`{key}`' for key in _PAIR)}.",
    sources.INSTRUMENT,
    Certainty.DOCUMENTED,
)
def _pair(transcript: Transcript) -> str:
    pairs = _pairs(transcript)
    for pair in pairs:
        lacking = [key for key in _PAIR if key not in pair]
        must(not lacking, f"{pair.get('symbol')} has no {', '.join(lacking)}")
        must(pair["status"] in _STATUS, f"{pair['symbol']}: status {pair['status']!r}")
        must_be_numbers(pair, "qty_precision", "qty_increment", "price_precision", "price_increment")
    return f"{len(pairs)} pairs"


@PUBLIC.add(
    "instrument.symbols",
    "Symbols are those of API version 2: BTC and DOGE, not XBT and XDG; base/quote.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _symbols(transcript: Transcript) -> str:
    pairs = _pairs(transcript)
    for pair in pairs:
        must(pair["symbol"] == f"{pair['base']}/{pair['quote']}", f"{pair['symbol']}: {pair['base']}, {pair['quote']}")
        must(not {"XBT", "XDG"} & {pair["base"], pair["quote"]}, pair["symbol"])
    return f"{pairs[0]['symbol']} and {len(pairs) - 1} more"


@PUBLIC.add(
    "instrument.increments",
    "`price_increment` and `qty_increment` have no more decimals than `price_precision` and `qty_precision`.",
    sources.INSTRUMENT,
    Certainty.INFERRED,
)
def _increments(transcript: Transcript) -> str:
    pairs = _pairs(transcript)
    for pair in pairs:
        for what in ("price", "qty"):
            decimals = -int(Decimal(pair[f"{what}_increment"]).normalize().as_tuple().exponent)
            must(decimals <= int(pair[f"{what}_precision"]), f"{pair['symbol']}: {what}_increment has {decimals}")
    return f"{len(pairs)} pairs"


@PUBLIC.add(
    "trade.form",
    "A trade has `symbol`, `side` (the taker's), `price`, `qty`, `ord_type`, `trade_id`, `timestamp`.",
    sources.TRADE,
    Certainty.DOCUMENTED,
)
def _trade(transcript: Transcript) -> str:
    trades = _trades(transcript)
    for trade in trades:
        must_have(trade, ("symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"))
        must(trade["side"] in ("buy", "sell") and trade["ord_type"] in ("limit", "market"), f"{trade}")
        must_be_numbers(trade, "price", "qty", "trade_id")
    return f"{len(trades):,} trades"


@PUBLIC.add("trade.times", "A trade's `timestamp` has microseconds.", sources.TRADE, Certainty.DOCUMENTED)
def _trade_times(transcript: Transcript) -> str:
    trades = _trades(transcript)
    for trade in trades:
        must(MICROS.fullmatch(trade["timestamp"]), f"timestamp {trade['timestamp']!r}")
    return f"{len(trades):,} trades"


@PUBLIC.add(
    "trade.sequence",
    "`trade_id` counts the trades of a book: each is one more than the last.",
    sources.TRADE,
    Certainty.DOCUMENTED,
)
def _trade_sequence(transcript: Transcript) -> str:
    last: dict[str, int] = {}
    for trade in _trades(transcript):
        symbol, number = trade["symbol"], int(trade["trade_id"])
        must(number == last.get(symbol, number - 1) + 1, f"{symbol}: {number} after {last.get(symbol)}")
        last[symbol] = number
    return ", ".join(f"{symbol} up to {number}" for symbol, number in sorted(last.items()))


@PUBLIC.add(
    "book.form",
    "A `book` message has one element: `symbol`, `bids`, `asks` (each level `price` and `qty`, JSON numbers), "
    "`checksum`, and in updates `timestamp`.",
    sources.BOOK,
    Certainty.DOCUMENTED,
)
def _book(transcript: Transcript) -> str:
    count = 0
    for kind in ("snapshot", "update"):
        for data in _data(transcript, "book", kind):
            must_have(data, ("symbol", "bids", "asks", "checksum", *(("timestamp",) if kind == "update" else ())),
                      ("timestamp",))  # fmt: skip
            for level in (*data["bids"], *data["asks"]):
                must_have(level, ("price", "qty"))
                must_be_numbers(level, "price", "qty")
            count += 1
    return f"{count:,} messages"


@PUBLIC.add(
    "book.depth",
    "Without a depth it is 10: a snapshot has at most 10 levels a side.",
    sources.BOOK,
    Certainty.DOCUMENTED,
)
def _book_depth(transcript: Transcript) -> str:
    (data,) = _data(transcript, "book", "snapshot")[:1]
    counts = [len(data[side]) for side in ("bids", "asks")]
    must(max(counts) <= 10, f"{counts}")
    return f"{counts[0]} bids and {counts[1]} asks"


@PUBLIC.add(
    "book.bad-depth",
    'A depth that is not offered is refused, not rounded: "Subscription depth not supported".',
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _book_bad_depth(transcript: Transcript) -> str:
    return must_refuse(transcript, "public", "bad-depth", "Subscription depth not supported")


@PUBLIC.add(
    "book.unknown-symbol",
    'XBT/USD is refused, and named: "Currency pair not supported XBT/USD".',
    sources.RUSTRADE,
    Certainty.OBSERVED,
)
def _book_unknown_symbol(transcript: Transcript) -> str:
    text = must_refuse(transcript, "public", "unknown-symbol", "Currency pair not supported")
    must(answer_to(transcript, "public", "unknown-symbol").get("symbol") == "XBT/USD", "the symbol is not named")
    return text


@PUBLIC.add(
    "book.checksum",
    "The checksum of `book` is the CRC-32 of the 10 best levels a side, asks first, after the whole message and the "
    "cut to the depth.",
    sources.BOOK_CHECKSUM,
    Certainty.DOCUMENTED,
)
def _book_checksum(transcript: Transcript) -> str:
    symbol = transcript.symbols[0]
    book, count = None, 0
    for entry in talk(transcript, "public", "book").data("book"):
        for data in entry.message["data"]:
            if entry.message["type"] == "snapshot":
                book = PriceBook(10, transcript.precisions.get(symbol))
            if book is not None:
                book.apply(data)
                where = f"message {count + 1} of {symbol}"
                must(book.checksum() == int(data["checksum"]), f"{where}: {data['checksum']}, not {book.checksum()}")
                count += 1
    if not count:
        raise Skipped("no book came")
    return f"{count:,} messages"


@PUBLIC.add(
    "ticker.form",
    f"A `ticker` message has one element with {', '.join(f'`{key}`' for key in _TICKER)}.",
    sources.TICKER,
    Certainty.DOCUMENTED,
)
def _ticker(transcript: Transcript) -> str:
    found = [data for kind in ("snapshot", "update") for data in _data(transcript, "ticker", kind)]
    for data in found:
        lacking = [key for key in _TICKER if key not in data]
        must(not lacking, f"{', '.join(lacking)} missing in {data}")
        must_be_numbers(data, *_TICKER[1:])
        must(Decimal(data["bid"]) < Decimal(data["ask"]), f"bid {data['bid']}, ask {data['ask']}")
    return f"{len(found):,} messages"


@PUBLIC.add(
    "public.times",
    "The `timestamp` of a `book` update is RFC 3339 in UTC.",
    sources.BOOK,
    Certainty.DOCUMENTED,
)
def _times(transcript: Transcript) -> str:
    found = _data(transcript, "book", "update")
    if not found:
        raise Skipped("no update came")
    for data in found:
        told = data["timestamp"]
        must(MICROS.fullmatch(told) or NANOS.fullmatch(told), f"timestamp {told!r}")
    return f"{len(found):,} updates"


@PUBLIC.add(
    "public.unsubscribe",
    "An unsubscription of `book` is acknowledged.",
    sources.BOOK,
    Certainty.DOCUMENTED,
)
def _unsubscribed(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "public", "unsubscribe")
    must(ack["method"] == "unsubscribe" and ack["result"]["channel"] == "book", f"{ack}")
    return str(ack["result"]["symbol"])


def _data(transcript: Transcript, channel: str, kind: str) -> list[Message]:
    """The elements of `data` of a channel's messages; at least one snapshot."""
    accepted(transcript, "public", channel)
    found: list[Message] = []
    for entry in talk(transcript, "public").data(channel):
        if entry.message["type"] == kind:
            data = entry.message["data"]
            found += [data] if channel == "instrument" else data
    if not found and kind == "snapshot":
        must(channel not in ("instrument", "ticker"), f"no snapshot of {channel}")
        raise Skipped(f"no snapshot of {channel} came")
    return found


def _pairs(transcript: Transcript) -> list[Message]:
    pairs: list[Message] = _data(transcript, "instrument", "snapshot")[0]["pairs"]
    must(pairs, "no pairs")
    return pairs


def _trades(transcript: Transcript) -> list[Message]:
    accepted(transcript, "public", "trade")
    trades = [trade for entry in talk(transcript, "public").data("trade") for trade in entry.message["data"]]
    if not trades:
        raise Skipped("no trade came")
    return trades
