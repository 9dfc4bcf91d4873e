"""A connection: its first message, heartbeats, pings, frames."""

from __future__ import annotations

from kraken_l3.conformance import sources
from kraken_l3.conformance.check import Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import MICROS, answer_to, must_have, talk, talks
from kraken_l3.conformance.transcript import Message, Transcript

__all__ = ["CONNECTION"]

CONNECTION = CheckList()
_SYSTEM = ("online", "cancel_only", "maintenance", "post_only")
#: 0.936 to 1.119 s were measured between two heartbeats; a busy machine notes them unevenly, so the mean counts.
_MEAN_S = (0.75, 1.35)
_LONGEST_S = 3.0
_ENOUGH = 4


@CONNECTION.add(
    "status.first",
    "The first message of a connection is of the channel `status`, without being asked for.",
    sources.CRYPTO_TRADER,
    Certainty.OBSERVED,
)
def _status_first(transcript: Transcript) -> str:
    found = talks(transcript)
    for name, each in found:
        first = next(each.received())
        must(first.message.get("channel") == "status", f"first on {name}: {first.text[:200]}")
    return f"{len(found)} connections"


@CONNECTION.add(
    "status.form",
    "A status message is an update with one element: `version`, `system` (online, cancel_only, maintenance or "
    "post_only), `api_version` v2, `connection_id`, an unsigned 64-bit integer.",
    sources.STATUS,
    Certainty.DOCUMENTED,
)
def _status_form(transcript: Transcript) -> str:
    messages = [entry.message for _, each in talks(transcript) for entry in each.data("status")]
    must(messages, "no status message")
    for message in messages:
        must_have(message, ("channel", "type", "data"))
        must(message["type"] == "update" and len(message["data"]) == 1, f"{message}")
        (data,) = message["data"]
        optional = ("upcoming_maintenance", "emergency")
        must_have(data, ("version", "system", "api_version", "connection_id"), optional)
        must(data["system"] in _SYSTEM and data["api_version"] == "v2", f"{data}")
        must(0 < int(data["connection_id"]) < 2**64, f"connection_id {data['connection_id']}")
    return f"connection_id {messages[0]['data'][0]['connection_id']}"


@CONNECTION.add(
    "heartbeat.none-before",
    "No heartbeat comes before a subscription was accepted; refusals start none.",
    sources.HEARTBEAT,
    Certainty.DOCUMENTED,
)
def _none_before(transcript: Transcript) -> str:
    found = talk(transcript, "main", "ping-after-refusals")
    for entry in found.received():
        must(entry.message.get("channel") != "heartbeat", f"a heartbeat after {entry.at_s:.1f} s")
        if entry.message.get("success") is True:
            return f"none in {entry.at_s:.1f} s"
    return "none on a connection without subscription"


@CONNECTION.add(
    "heartbeat.every-second",
    "From the first accepted subscription on a heartbeat comes once a second, whatever else is sent.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _every_second(transcript: Transcript) -> str:
    means: list[float] = []
    for name, each in talks(transcript):
        began = next((e.at_s for e in each.received() if e.message.get("success") is True), None)
        if began is None:
            continue
        times = [entry.at_s for entry in each.data("heartbeat")]
        edges = [began, *times, each.entries[-1].at_s]
        longest = max(later - earlier for earlier, later in zip(edges, edges[1:]))
        must(longest < _LONGEST_S, f"none on {name} for {longest:.1f} s")
        if len(times) >= _ENOUGH:
            means.append((times[-1] - times[0]) / (len(times) - 1))
    if not means:
        raise Skipped(f"too short for {_ENOUGH} heartbeats")
    low, high = min(means), max(means)
    must(_MEAN_S[0] <= low and high <= _MEAN_S[1], f"{low:.2f} to {high:.2f} s apart on average")
    return f"{low:.2f} to {high:.2f} s apart on average"


@CONNECTION.add("heartbeat.form", 'A heartbeat is {"channel":"heartbeat"}.', sources.HEARTBEAT, Certainty.DOCUMENTED)
def _heartbeat_form(transcript: Transcript) -> str:
    found = [entry.message for _, each in talks(transcript) for entry in each.data("heartbeat")]
    if not found:
        raise Skipped("no heartbeat came")
    for message in found:
        must_have(message, ("channel",))
    return f"{len(found)} heartbeats"


@CONNECTION.add(
    "ping.answer",
    "A ping request is answered by a pong with its `req_id`, `time_in` and `time_out`.",
    sources.PING,
    Certainty.DOCUMENTED,
)
def _ping(transcript: Transcript) -> str:
    pong = answer_to(transcript, "main", "ping")
    _must_be_pong(pong)
    must(pong.get("req_id") == "101", f"req_id is {pong.get('req_id')!r}")
    return "req_id 101"


@CONNECTION.add(
    "ping.without-req-id", "A ping without `req_id` gets a pong without one.", sources.PING, Certainty.DOCUMENTED
)
def _bare_ping(transcript: Transcript) -> str:
    pong = answer_to(transcript, "main", "ping-bare")
    _must_be_pong(pong)
    must("req_id" not in pong, f"req_id {pong.get('req_id')!r}")
    return "answered"


@CONNECTION.add(
    "ping.frame",
    "A ping frame of the WebSocket protocol is answered by a pong frame with its payload.",
    sources.PING,
    Certainty.DOCUMENTED,
)
def _ping_frame(transcript: Transcript) -> str:
    pongs = [each.text for each in talk(transcript, "main", "ping-frame").step("ping-frame") if each.kind == "pong"]
    must(pongs == ["conformance"], f"pong frames: {pongs}")
    return "answered"


@CONNECTION.add(
    "frames.text",
    "Every message is a JSON object in a text frame.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _frames(transcript: Transcript) -> str:
    count = 0
    for name, each in talks(transcript):
        for entry in each.entries:
            must(entry.kind != "binary", f"a binary frame on {name}")
            must(entry.kind != "text" or entry.message, f"on {name}: {entry.text[:100]!r}")
            count += entry.kind == "text"
    return f"{count:,} messages"


@CONNECTION.add(
    "messages.kind",
    "A message has either `channel` (data, status, heartbeat) or `method` (an answer).",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _kinds(transcript: Transcript) -> str:
    count = 0
    for _, each in talks(transcript):
        for entry in each.received():
            must(("channel" in entry.message) != ("method" in entry.message) or _is_refusal(entry.message), entry.text)
            count += 1
    return f"{count:,} messages"


@CONNECTION.add(
    "connection.stays-open",
    "Refused requests and unsubscriptions do not end a connection.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _stays_open(transcript: Transcript) -> str:
    for name, each in talks(transcript):
        if name in ("main", "public"):
            ends = [entry.text for entry in each.entries if entry.kind == "closed"]
            must(not ends, f"{name} was closed: {ends[:1]}")
            answer_to(transcript, name, "ping-last")
    return "answered the last ping"


@CONNECTION.add(
    "answers.times",
    "Answers have `time_in` and `time_out`, RFC 3339 with microseconds, in this order.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _times(transcript: Transcript) -> str:
    found = [e.message for _, each in talks(transcript) for e in each.received() if "method" in e.message]
    must(found, "no answer")
    for answer in found:
        times = [answer.get(key, "") for key in ("time_in", "time_out")]
        must(all(MICROS.fullmatch(each) for each in times), f"times {times}")
        must(times[0] <= times[1], f"time_in {times[0]} after time_out {times[1]}")
    return f"{len(found)} answers"


def _must_be_pong(pong: Message) -> None:
    must(pong.get("method") == "pong", f"answered with {pong}")
    must_have(pong, ("method", "time_in", "time_out"), ("req_id", "result", "success", "error"))


def _is_refusal(message: Message) -> bool:
    return message.get("success") is False  # which may name the channel
