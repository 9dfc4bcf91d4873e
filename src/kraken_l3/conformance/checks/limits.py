"""Kraken's limits on a connection. Only asked for with --with-limits."""

from __future__ import annotations

from kraken_l3.conformance import sources
from kraken_l3.conformance.check import Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import answer_to, answers_to, must_refuse, talk
from kraken_l3.conformance.transcript import Talk, Transcript

__all__ = ["LIMITS"]

LIMITS = CheckList()


@LIMITS.add(
    "limits.symbols",
    "A connection carries 200 symbols; the 201st is refused, and the connection stays open.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _symbols(transcript: Transcript) -> str:
    found = _asked(transcript, "limits", "too-many")
    acks = [a for step in found.steps if step.startswith("batch-") for a in found.answers(step)]
    refused = [each for each in acks if each.get("success") is not True]
    must(len(acks) == 200 and not refused, f"{len(acks) - len(refused)} of 200: {refused[:1]}")
    text = must_refuse(transcript, "limits", "too-many", "")
    answer_to(transcript, "limits", "ping-last")
    return text


@LIMITS.add(
    "limits.subscription-rate",
    "Six symbols at depth 1000 cost 600, more than any tier allows in a second: some are refused, and the connection "
    "stays open.",
    sources.LEVEL3,
    Certainty.DOCUMENTED,
)
def _rate(transcript: Transcript) -> str:
    _asked(transcript, "rate", "too-fast")
    refused = [each for each in answers_to(transcript, "rate", "too-fast") if each.get("success") is not True]
    must(refused, "none was refused")
    answer_to(transcript, "rate", "ping-last")
    return f"{len(refused)} of 6: {refused[0].get('error')}"


@LIMITS.add(
    "limits.idle",
    "A connection on which nothing is subscribed or said is closed after about a minute.",
    sources.WS_INTRO,
    Certainty.DOCUMENTED,
)
def _idle(transcript: Transcript) -> str:
    ends = [entry for entry in _asked(transcript, "idle", "idle").step("idle") if entry.kind == "closed"]
    must(ends, "it is open after 90 s")
    return f"{ends[0].text} after {ends[0].at_s:.0f} s"


def _asked(transcript: Transcript, name: str, step: str) -> Talk:
    if name not in transcript.talks and name not in transcript.missing and "limits" not in transcript.missing:
        raise Skipped("only with --with-limits")
    if name not in transcript.talks and name not in transcript.missing:
        raise Skipped(transcript.missing["limits"])
    return talk(transcript, name, step)
