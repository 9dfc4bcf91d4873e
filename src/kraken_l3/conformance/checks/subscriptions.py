"""Subscriptions of level3: acknowledgements, rejections, their ends."""

from __future__ import annotations

from kraken_l3.conformance import sources
from kraken_l3.conformance.check import Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import (
    accepted,
    answer_to,
    answers_to,
    levels_of,
    must_have,
    must_refuse,
    talk,
    talks,
)
from kraken_l3.conformance.transcript import Entry, Message, Transcript

__all__ = ["SUBSCRIPTIONS"]

SUBSCRIPTIONS = CheckList()
#: In the order of the run: step, the `req_id` it had.
_REQ_IDS = (("subscribe", "7"), ("several", "10"), ("unsubscribe", "11"), ("resubscribe", "12"), ("bad-depth", "4"))
_REFUSED = ("unknown-channel", "bad-token", "bad-depth", "unknown-symbol", "unsubscribe-unknown", "again")


@SUBSCRIPTIONS.add(
    "subscribe.ack-each-symbol",
    "A subscription is answered once for each symbol.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _ack_each(transcript: Transcript) -> str:
    answers = answers_to(transcript, "main", "several")
    named = [str((answer.get("result") or answer).get("symbol")) for answer in answers]
    wanted = [*transcript.symbols[1:2], "XBT/USD", *transcript.symbols[2:3]]
    must(sorted(named) == sorted(wanted), f"asked for {', '.join(wanted)}, answered for {', '.join(named)}")
    return f"{len(named)} answers"


@SUBSCRIPTIONS.add(
    "subscribe.ack-form",
    "An acknowledgement has `method`, `result` (`channel`, `symbol`, `snapshot`, sometimes `depth` and `warnings`), "
    "`success` true and the times.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _ack_form(transcript: Transcript) -> str:
    found = [*accepted(transcript, "main", "subscribe"), *talk(transcript, "main").answers("several")]
    acks = [each for each in found if each.get("success") is True]
    for ack in acks:
        must_have(ack, ("method", "result", "success", "time_in", "time_out"), ("req_id",))
        must_have(ack["result"], ("channel", "symbol", "snapshot"), ("depth", "warnings"))
        result = ack["result"]
        must(ack["method"] == "subscribe" and result["channel"] == "level3" and result["snapshot"] is True, f"{ack}")
    return f"{len(acks)} acknowledgements"


@SUBSCRIPTIONS.add(
    "subscribe.ack-depth",
    "An acknowledgement tells no depth where none was asked for; where it tells one, it is the one asked for.",
    sources.CRYPTO_TRADER,
    Certainty.OBSERVED,
)
def _ack_depth(transcript: Transcript) -> str:
    for ack in accepted(transcript, "main", "subscribe"):
        must("depth" not in ack["result"], f"{ack['result']}")
    for name, each in talks(transcript, "level3"):
        if name.startswith("depth-"):
            for ack in each.answers("subscribe"):
                told = ack.get("result", {}).get("depth", name[6:])
                must(told == name[6:], f"asked for {name[6:]}, told {told}")
    return "as asked"


@SUBSCRIPTIONS.add(
    "subscribe.default-depth",
    "Without a depth it is 10: a snapshot has at most 10 price levels a side.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _default_depth(transcript: Transcript) -> str:
    accepted(transcript, "main", "subscribe")
    snapshot = _snapshots(transcript, "subscribe", "listen", transcript.symbols[0])
    if not snapshot:
        raise Skipped("no snapshot came")
    data = snapshot[0].message["data"][0]
    counts = [len(levels_of(data[side])) for side in ("bids", "asks")]
    must(max(counts) <= 10, f"{counts[0]} bids and {counts[1]} asks")
    return f"{counts[0]} bids and {counts[1]} asks"


@SUBSCRIPTIONS.add(
    "subscribe.req-id",
    "`req_id` stands in each answer to a request that had one.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _req_id(transcript: Transcript) -> str:
    found = talk(transcript, "main", "subscribe")
    count = 0
    for step, wanted in _REQ_IDS:
        for answer in found.answers(step):
            must(answer.get("req_id") == wanted, f"{step}: {answer.get('req_id')!r} instead of {wanted}")
            count += 1
    return f"{count} answers"


@SUBSCRIPTIONS.add(
    "subscribe.snapshot-first",
    "A snapshot of each symbol follows its acknowledgement, once, before any update of it.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _snapshot_first(transcript: Transcript) -> str:
    found = talk(transcript, "main", "listen")
    pairs = [("subscribe", "listen", each) for each in accepted(transcript, "main", "subscribe")]
    pairs += [("several", "listen-several", each) for each in found.answers("several") if each.get("success") is True]
    for step, listen, ack in pairs:
        symbol = ack["result"]["symbol"]
        entries = [*found.step(step), *found.step(listen)]
        at = next(i for i, entry in enumerate(entries) if entry.kind == "text" and entry.message == ack)
        kinds = [entry.message["type"] for entry in _of(entries[at:], symbol)]
        must(not any(_of(entries[:at], symbol)), f"data of {symbol} before its acknowledgement")
        must(kinds[:1] == ["snapshot"], f"after the acknowledgement of {symbol}: {kinds[:1] or 'nothing'}")
        must(kinds.count("snapshot") == 1, f"{kinds.count('snapshot')} snapshots of {symbol}")
    return ", ".join(ack["result"]["symbol"] for _, _, ack in pairs)


@SUBSCRIPTIONS.add(
    "subscribe.no-snapshot",
    "With `snapshot` false no snapshot comes.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _no_snapshot(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "main", "no-snapshot")
    must(ack["result"]["snapshot"] is False, f"acknowledged with {ack['result']}")
    found = _snapshots(transcript, "no-snapshot", "listen-without", ack["result"]["symbol"])
    must(not found, f"a snapshot of {ack['result']['symbol']}")
    return "none"


@SUBSCRIPTIONS.add(
    "rejection.form",
    "A rejection has `method`, `success` false, `error` (a text) and the times; `symbol` only where it concerns one.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _rejection_form(transcript: Transcript) -> str:
    found = talk(transcript, "main", "bad-depth")
    rejections = [each for step in _REFUSED for each in found.answers(step) if each.get("success") is False]
    must(rejections, "nothing was refused")
    for each in rejections:
        must_have(each, ("method", "success", "error", "time_in", "time_out"), ("req_id", "symbol", "status", "result"))
        must(each["method"] in ("subscribe", "unsubscribe", "error") and isinstance(each["error"], str), f"{each}")
    return f"{len(rejections)} rejections"


@SUBSCRIPTIONS.add(
    "rejection.malformed",
    'A text that is no JSON is answered with `method` error and "Malformed request".',
    sources.RUSTRADE,
    Certainty.OBSERVED,
)
def _malformed(transcript: Transcript) -> str:
    answer = answer_to(transcript, "main", "malformed")
    must(answer["method"] == "error", f"method is {answer['method']!r}")
    return must_refuse(transcript, "main", "malformed", "Malformed request")


@SUBSCRIPTIONS.add("rejection.channel", "A channel that does not exist is refused.", sources.BARTER, Certainty.OBSERVED)
def _unknown_channel(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "unknown-channel", "")


@SUBSCRIPTIONS.add(
    "rejection.token",
    "A token that is not good is refused, once for the whole request (ESession:Invalid session was seen).",
    sources.XCHANGE,
    Certainty.OBSERVED,
)
def _bad_token(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "bad-token", "E")


@SUBSCRIPTIONS.add(
    "rejection.depth",
    'A depth that is not offered is refused, not rounded: "Subscription depth not supported".',
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _bad_depth(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "bad-depth", "Subscription depth not supported")


@SUBSCRIPTIONS.add(
    "rejection.symbol",
    'XBT/USD, the name of API version 1, is refused, and named: "Currency pair not supported XBT/USD".',
    sources.RUSTRADE,
    Certainty.OBSERVED,
)
def _unknown_symbol(transcript: Transcript) -> str:
    text = must_refuse(transcript, "main", "unknown-symbol", "Currency pair not supported")
    must(answer_to(transcript, "main", "unknown-symbol").get("symbol") == "XBT/USD", "the symbol is not named")
    return text


@SUBSCRIPTIONS.add(
    "rejection.alone",
    "A symbol that is refused does not keep the others of its request from being subscribed.",
    sources.LEVEL3,
    Certainty.INFERRED,
)
def _alone(transcript: Transcript) -> str:
    answers = answers_to(transcript, "main", "several")
    good = [each["result"]["symbol"] for each in answers if each.get("success") is True]
    must(sorted(good) == sorted(transcript.symbols[1:3]), f"subscribed {good} of {transcript.symbols[1:3]}")
    return ", ".join(good)


@SUBSCRIPTIONS.add(
    "rejection.again",
    "A second subscription of a symbol is refused.",
    sources.LEVEL3,
    Certainty.INFERRED,
)
def _again(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "again", "")


@SUBSCRIPTIONS.add(
    "rejection.other-depth",
    "A connection has one depth of a symbol: another one is refused.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _other_depth(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "other-depth", "")


@SUBSCRIPTIONS.add(
    "unsubscribe.ack",
    "An unsubscription is acknowledged as a subscription is, with `method` unsubscribe.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _unsubscribed(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "main", "unsubscribe")
    must_have(ack, ("method", "result", "success", "time_in", "time_out"), ("req_id",))
    must_have(ack["result"], ("channel", "symbol"), ("depth", "warnings"))
    must(ack["method"] == "unsubscribe" and ack["result"]["channel"] == "level3", f"{ack}")
    return str(ack["result"]["symbol"])


@SUBSCRIPTIONS.add(
    "unsubscribe.silence",
    "After the acknowledgement of an unsubscription nothing of the symbol comes; heartbeats go on.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _silence(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "main", "unsubscribe")
    entries = talk(transcript, "main", "silence").step("silence")
    found = _of(entries, ack["result"]["symbol"])
    must(not found, f"{len(found)} messages of {ack['result']['symbol']}")
    return f"{ack['result']['symbol']}: none"


@SUBSCRIPTIONS.add(
    "unsubscribe.unknown",
    "Unsubscribing what is not subscribed is refused.",
    sources.LEVEL3,
    Certainty.INFERRED,
)
def _unknown_unsubscribe(transcript: Transcript) -> str:
    return must_refuse(transcript, "main", "unsubscribe-unknown", "")


@SUBSCRIPTIONS.add(
    "resubscribe.snapshot",
    "A new subscription of a symbol begins with a new snapshot, which nothing tells from a first one.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _resubscribed(transcript: Transcript) -> str:
    (ack,) = accepted(transcript, "main", "resubscribe")
    symbol = ack["result"]["symbol"]
    found = talk(transcript, "main", "listen-again")
    kinds = [e.message["type"] for step in ("resubscribe", "listen-again") for e in _of(found.step(step), symbol)]
    must(kinds[:1] == ["snapshot"], f"{kinds[:1] or 'nothing'} of {symbol}")
    return str(symbol)


def _of(entries: list[Entry], symbol: str) -> list[Entry]:
    """The level3 messages of a symbol."""
    return [entry for entry in entries if _names(entry.message, symbol)]


def _names(message: Message, symbol: str) -> bool:
    return message.get("channel") == "level3" and any(data.get("symbol") == symbol for data in message["data"])


def _snapshots(transcript: Transcript, step: str, listen: str, symbol: str) -> list[Entry]:
    found = talk(transcript, "main", step)
    entries = [*found.step(step), *found.step(listen)]
    return [entry for entry in _of(entries, symbol) if entry.message["type"] == "snapshot"]
