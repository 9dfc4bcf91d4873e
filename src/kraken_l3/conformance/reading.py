"""What the checks share: finding a step's messages in a transcript, and the forms that many messages have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from kraken_l3.conformance.check import Skipped, must
from kraken_l3.conformance.transcript import Call, Message, Number, Talk, Transcript

__all__ = [
    "MICROS", "NANOS", "accepted", "answer_to", "answers_to", "call", "levels_of", "must_be_numbers", "must_have",
    "must_refuse", "successful", "talk", "talks",
]  # fmt: skip

MICROS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NANOS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def call(transcript: Transcript, name: str) -> Call:
    """A REST answer."""
    if name not in transcript.calls:
        raise Skipped(transcript.missing.get(name, "not asked"))
    return transcript.calls[name]


def successful(transcript: Transcript, name: str) -> Message:
    """A REST answer without errors."""
    found = call(transcript, name)
    must(found.status == 200 and found.answer and not found.errors, f"HTTP {found.status}: {found.text[:200]}")
    return found.answer


def talk(transcript: Transcript, name: str, step: str = "") -> Talk:
    """A connection on which a step was reached."""
    found = transcript.talks.get(name)
    if found is None or (step and step not in found.steps):
        reason = transcript.missing.get(f"{name}.{step}") or transcript.missing.get(name) or "not asked"
        raise Skipped(reason)
    return found


def talks(transcript: Transcript, endpoint: str = "") -> list[tuple[str, Talk]]:
    """The connections on which something came."""
    found = [
        (name, each)
        for name, each in transcript.talks.items()
        if endpoint in ("", each.endpoint) and any(each.received())
    ]
    if not found:
        raise Skipped(next(iter(transcript.missing.values()), "nothing came on any connection"))
    return found


def answers_to(transcript: Transcript, name: str, step: str) -> list[Message]:
    """The answers to a request; at least one."""
    found = talk(transcript, name, step).answers(step)
    must(found, f"no answer to {step}")
    return found


def answer_to(transcript: Transcript, name: str, step: str) -> Message:
    """The only answer to a request."""
    found = answers_to(transcript, name, step)
    must(len(found) == 1, f"{len(found)} answers to {step}: {found}")
    return found[0]


def accepted(transcript: Transcript, name: str, step: str) -> list[Message]:
    """The acknowledgements of a subscription; the check is skipped where it was refused."""
    found = [each for each in answers_to(transcript, name, step) if each.get("success") is True]
    if not found:
        raise Skipped(f"the subscription was refused: {answers_to(transcript, name, step)[0].get('error')}")
    return found


def must_refuse(transcript: Transcript, name: str, step: str, text: str) -> str:
    """A request was refused, with a text that begins so."""
    answer = answer_to(transcript, name, step)
    must(answer.get("success") is False, f"not refused: {answer}")
    must(str(answer.get("error", "")).startswith(text), f"refused with {answer.get('error')!r}")
    return str(answer["error"])


def must_have(message: Message, required: Collection[str], optional: Iterable[str] = ()) -> None:
    """A message has exactly these keys."""
    missing = [key for key in required if key not in message]
    must(not missing, f"{', '.join(missing)} missing in {message}")
    more = set(message) - set(required) - set(optional)
    must(not more, f"{', '.join(sorted(more))} in {message}")


def must_be_numbers(message: Message, *keys: str) -> None:
    """These are JSON numbers, no texts."""
    for key in keys:
        value = message.get(key)
        must(isinstance(value, Number) and _NUMBER.fullmatch(value), f"{key} is {value!r}, no JSON number")


def levels_of(side: Iterable[Message]) -> list[str]:
    """The prices of a snapshot's side, each once, in order."""
    return list(dict.fromkeys(str(order["limit_price"]) for order in side))
