"""A transcript in which a server does one thing wrong, for each check."""

import copy
import json

from kraken_l3.conformance.transcript import Call, Entry, Talk, Transcript
from kraken_l3.conformance.walk import applied

#: So many level3 messages are enough to see any of the faults below.
ENOUGH = 400


def copied(transcript, *, short=False):
    """A copy to change; `short`: of level3 only the main connection, up to the end of its first listening."""
    made = Transcript(list(transcript.symbols), transcript.depths)
    made.calls, made.missing = dict(transcript.calls), dict(transcript.missing)
    made.talks = {}
    for name, talk in transcript.talks.items():
        if short and name != "main" and talk.endpoint == "level3":
            continue
        mine = made.talks[name] = Talk(talk.endpoint)
        mine.entries, mine.steps = list(talk.entries), dict(talk.steps)
        if short and name == "main":
            ends = [i for i, e in enumerate(mine.entries) if e.message.get("channel") == "level3"][:ENOUGH]
            mine.entries = mine.entries[: ends[-1] + 1]
    return made


def of_call(name, change, status=200):
    """The JSON of a REST answer is changed."""

    def tamper(transcript):
        answer = json.loads(transcript.calls[name].text)
        answer = change(answer) or answer
        transcript.calls[name] = Call(status, json.dumps(answer))

    return tamper


def of_result(name, key, value):
    """A field of the result, or of every element of it, becomes another; None takes it away."""

    def change(answer):
        result = answer["result"]
        nested = isinstance(next(iter(result.values())), dict)
        for each in result.values() if nested else [result]:
            put(each, key, value)

    return of_call(name, change)


def put(fields, key, value):
    if value is None:
        fields.pop(key, None)
    else:
        fields[key] = value


def entries(name, picks, change, *, step=None, only_first=False):
    """Texts of a connection are changed; `picks` sees the message, `change` gives the new text or None (left out)."""

    def tamper(transcript):
        talk = transcript.talks[name]
        chosen = [e for e in talk.received(step) if picks(e.message)]
        assert chosen, "nothing to change"
        for entry in chosen[: 1 if only_first else None]:
            at, text = talk.entries.index(entry), change(entry.text)
            talk.entries[at] = Entry(entry.at_s, "" if text is None else text, "lost" if text is None else "text")

    return tamper


def fields(name, picks, change, **how):
    """The same for the decoded message (its numbers as texts stay as they are where nothing was changed)."""

    def rewrite(text):
        message = json.loads(text)
        change(message)
        return json.dumps(message)

    return entries(name, picks, rewrite, **how)


def channel(name, kind=None):
    return lambda message: message.get("channel") == name and kind in (None, message.get("type"))


def answer(message):
    return "method" in message


def success(message):
    return message.get("success") is True


def event(kind):
    return lambda message: UPDATE(message) and any(order["event"] == kind for order in orders(message))


def orders(message):
    return [*message["data"][0]["bids"], *message["data"][0]["asks"]]


def first_side(message):
    return message["data"][0]["bids"] or message["data"][0]["asks"]


def inserted(name, text, *, after_step, kind="text"):
    """A frame that comes from nowhere, right after a step has begun."""

    def tamper(transcript):
        talk = transcript.talks[name]
        at = talk.steps[after_step] + 1
        talk.entries.insert(at, Entry(talk.entries[at - 1].at_s, text, kind))
        talk.steps = {step: start + (start >= at) for step, start in talk.steps.items()}

    return tamper


def repeated(name, picks, *, step=None):
    def tamper(transcript):
        talk = transcript.talks[name]
        entry = next(e for e in talk.received(step) if picks(e.message))
        at = talk.entries.index(entry)
        talk.entries.insert(at, copy.copy(entry))
        talk.steps = {each: start + (start > at) for each, start in talk.steps.items()}

    return tamper


def lost(name, picks, **how):
    return entries(name, picks, lambda _: None, **how)


def _set(key, value):
    return lambda message: put(message, key, value)


def _data(key, value):
    return lambda message: put(message["data"][0], key, value)


def _order(key, value):
    return lambda message: [put(order, key, value) for order in orders(message)]


def _result(key, value):
    return lambda message: put(message["result"], key, value)


def _grown(message):
    for order in orders(message):
        if order["event"] == "modify":
            order["order_qty"] = 10**9


def _reversed(message):
    for side in ("bids", "asks"):
        message["data"][0][side].reverse()


def _crossed(message):
    bids, asks = message["data"][0]["bids"], message["data"][0]["asks"]
    bids[0]["limit_price"] = asks[0]["limit_price"]


def _late(transcript):
    """One heartbeat in two seconds."""
    entries = transcript.talks["main"].entries
    for at, entry in enumerate(entries):
        if entry.message.get("channel") == "heartbeat":
            entries[at] = Entry(entry.at_s * 2, entry.text)


def _deeper(transcript):
    """An update of another depth bears another checksum."""
    main = next(e for e in transcript.talks["main"].data("level3", "listen") if e.message["type"] == "update")
    data = main.message["data"][0]
    del transcript.talks["depth-1000"]
    talk = transcript.talks["depth-100"]
    for at, entry in enumerate(talk.entries):
        if entry.message.get("channel") == "level3" and entry.message["data"][0]["timestamp"] == data["timestamp"]:
            told = json.loads(entry.text)
            told["data"][0]["checksum"] ^= 1
            talk.entries[at] = Entry(entry.at_s, json.dumps(told))


def _by_arrival(transcript):
    """The checksum is that of the order of arrival."""
    wrong = next(each for each in applied(transcript, "main") if each.checksum != each.arrival_checksum)
    talk = transcript.talks["main"]
    entry = next(e for e in talk.data("level3") if e.message["data"][0] is wrong.data)
    told = json.loads(entry.text)
    told["data"][0]["checksum"] = wrong.arrival_checksum
    talk.entries[talk.entries.index(entry)] = Entry(entry.at_s, json.dumps(told))
    applied.cache_clear()


SNAPSHOT, UPDATE = channel("level3", "snapshot"), channel("level3", "update")
EMPTY = {"error": [], "result": {}}

#: What breaks each check: a function that changes a transcript.
TAMPERING = {
    "rest.envelope": of_call("unknown-method", lambda _: None, status=500),
    "rest.time": of_result("time", "unixtime", "now"),
    "rest.system-status": of_result("system-status", "status", "up"),
    "rest.assets": of_result("assets", "decimals", None),
    "rest.asset-pairs": of_result("asset-pairs", "lot_decimals", None),
    "rest.asset-pairs-names": of_result("asset-pairs", "wsname", "BTC/USD"),
    "rest.asset-pairs-one": of_call("one-pair", lambda a: a["result"].update(MORE={})),
    "rest.unknown-pair": of_call("unknown-pair", lambda _: EMPTY),
    "rest.unknown-method": of_call("unknown-method", lambda _: EMPTY),
    "rest.token": of_result("token", "expires", 60),
    "rest.token-json": of_call("token-json", lambda _: {"error": ["EAPI:Invalid signature"]}),
    "rest.level3": of_call("level3-call", lambda a: a["result"]["bids"][0].update(price=1.0)),
    "rest.same-nonce": of_call("same-nonce", lambda _: EMPTY),
    "rest.wrong-signature": of_call("wrong-signature", lambda _: EMPTY),
    "rest.wrong-key": of_call("wrong-key", lambda _: {"error": ["EGeneral:Internal error"]}),
    "status.first": lost("main", channel("status")),
    "status.form": fields("main", channel("status"), _data("connection_id", 2**64)),
    "heartbeat.none-before": inserted("main", '{"channel":"heartbeat"}', after_step="quiet"),
    "heartbeat.every-second": _late,
    "heartbeat.form": fields("main", channel("heartbeat"), _set("type", "update")),
    "ping.answer": fields("main", answer, _set("req_id", 7), step="ping"),
    "ping.without-req-id": fields("main", answer, _set("req_id", 0), step="ping-bare"),
    "ping.frame": lambda t: t.talks["main"].entries.remove(
        next(e for e in t.talks["main"].entries if e.kind == "pong")
    ),
    "frames.text": inserted("public", "\x01", after_step="listen", kind="binary"),
    "messages.kind": inserted("main", '{"hello":1}', after_step="listen"),
    "connection.stays-open": inserted("main", "code 1008", after_step="ping-last", kind="closed"),
    "answers.times": fields("main", answer, _set("time_in", "2026-01-02T03:04:05Z"), only_first=True),
    "subscribe.ack-each-symbol": lost("main", success, step="several"),
    "subscribe.ack-form": fields("main", success, _set("status", "subscribed"), step="subscribe"),
    "subscribe.ack-depth": fields("main", success, _result("depth", 10), step="subscribe"),
    "subscribe.default-depth": fields(
        "main",
        SNAPSHOT,
        lambda m: m["data"][0].update(bids=[{"limit_price": n} for n in range(11)]),
    ),
    "subscribe.req-id": fields("main", success, _set("req_id", None), step="resubscribe"),
    "subscribe.snapshot-first": lost("main", SNAPSHOT, only_first=True),
    "subscribe.no-snapshot": fields("main", UPDATE, _set("type", "snapshot"), step="listen-without"),
    "rejection.form": fields("main", answer, _set("error", None), step="bad-depth"),
    "rejection.malformed": fields("main", answer, _set("method", "subscribe"), step="malformed"),
    "rejection.channel": fields("main", answer, _set("success", True), step="unknown-channel"),
    "rejection.token": fields("main", answer, _set("success", True), step="bad-token"),
    "rejection.depth": fields("main", answer, _set("success", True), step="bad-depth"),
    "rejection.symbol": fields("main", answer, _set("symbol", None), step="unknown-symbol"),
    "rejection.alone": fields("main", success, _set("success", False), step="several"),
    "rejection.again": fields("main", answer, _set("success", True), step="again"),
    "rejection.other-depth": fields("main", answer, _set("success", True), step="other-depth"),
    "unsubscribe.ack": fields("main", success, _set("method", "subscribe"), step="unsubscribe"),
    "unsubscribe.silence": inserted(
        "main", '{"channel":"level3","type":"update","data":[{"symbol":"ETH/USD"}]}', after_step="silence"
    ),
    "unsubscribe.unknown": fields("main", answer, _set("success", True), step="unsubscribe-unknown"),
    "resubscribe.snapshot": fields("main", SNAPSHOT, _set("type", "update"), step="resubscribe"),
    "level3.envelope": fields("main", UPDATE, lambda m: m["data"].append(m["data"][0]), only_first=True),
    "level3.snapshot-order": fields("main", SNAPSHOT, _order("event", "add")),
    "level3.snapshot-sorted": fields("main", SNAPSHOT, _reversed),
    "level3.update-order": fields("main", UPDATE, _order("event", "change"), only_first=True),
    "level3.numbers": fields("main", UPDATE, _order("limit_price", "75623.0"), only_first=True),
    "level3.precision": entries("main", UPDATE, lambda text: text.replace("0,", ","), only_first=False),
    "level3.order-times": fields("main", UPDATE, _order("timestamp", "2026-01-02T03:04:05.123456Z")),
    "level3.message-times": fields("main", UPDATE, _data("timestamp", "2026-01-02 03:04:05"), only_first=True),
    "level3.depth": fields(
        "main",
        SNAPSHOT,
        lambda m: m["data"][0]["asks"].extend(
            {**m["data"][0]["asks"][-1], "order_id": str(n), "limit_price": 10**6 + n} for n in range(10)
        ),
    ),
    "level3.depths-offered": fields("depth-1000", answer, _set("success", False), step="subscribe"),
    "level3.not-crossed": fields("main", SNAPSHOT, _crossed, only_first=True),
    "level3.known-orders": lost("main", event("add"), step="listen"),
    "level3.revealed-levels": lost("main", event("add"), step="listen"),
    "level3.once-a-message": fields("main", UPDATE, lambda m: first_side(m).append(first_side(m)[0]), only_first=True),
    "level3.grouped": fields("main", event("delete"), _reversed),
    "level3.modify": fields("main", event("modify"), _grown),
    "checksum.snapshot": fields("main", SNAPSHOT, _data("checksum", 1), only_first=True),
    "checksum.update": fields("main", UPDATE, _data("checksum", 1), only_first=True),
    "checksum.queue-by-time": _by_arrival,
    "checksum.every-depth": _deeper,
    "public.no-level3": fields("public", answer, _set("success", True), step="level3"),
    "public.unknown-channel": fields("public", answer, _set("success", True), step="unknown-channel"),
    "public.acks": fields("public", success, _result("symbol", None), step="trade"),
    "instrument.ack": fields("public", success, _result("warnings", None), step="instrument"),
    "instrument.snapshot": fields("public", channel("instrument"), lambda m: m.update(data={"pairs": []})),
    "instrument.pair": fields("public", channel("instrument"), lambda m: m["data"]["pairs"][0].pop("qty_min")),
    "instrument.symbols": fields(
        "public", channel("instrument"), lambda m: m["data"]["pairs"][0].update(symbol="XBT/USD", base="XBT")
    ),
    "instrument.increments": fields(
        "public", channel("instrument"), lambda m: m["data"]["pairs"][0].update(price_increment=1e-12)
    ),
    "trade.form": fields("public", channel("trade"), _data("side", "b")),
    "trade.times": fields("public", channel("trade"), _data("timestamp", "2026-01-02T03:04:05Z")),
    "trade.sequence": fields("public", channel("trade"), _data("trade_id", 5)),
    "book.form": fields("public", channel("book", "update"), _data("timestamp", None), only_first=True),
    "book.depth": fields("public", channel("book", "snapshot"), lambda m: m["data"][0]["bids"].extend([{}] * 9)),
    "book.bad-depth": fields("public", answer, _set("success", True), step="bad-depth"),
    "book.unknown-symbol": fields("public", answer, _set("error", "no such pair"), step="unknown-symbol"),
    "book.checksum": fields("public", channel("book", "update"), _data("checksum", 1), only_first=True),
    "ticker.form": fields("public", channel("ticker"), _data("vwap", None)),
    "public.times": fields("public", channel("book", "update"), _data("timestamp", "12:00"), only_first=True),
    "public.unsubscribe": fields("public", success, _set("method", "subscribe"), step="unsubscribe"),
}
#: The level3 data is short for these: they look at every message.
SHORT = {name for name in TAMPERING if name.startswith(("level3.", "checksum."))} - {
    "level3.depths-offered",
    "checksum.every-depth",
}
