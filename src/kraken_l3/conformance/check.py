"""A check: one fact about Kraken's protocol, where it is published, how sure it is, and how a transcript is judged."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable, NamedTuple

if TYPE_CHECKING:
    from kraken_l3.conformance.transcript import Transcript

__all__ = ["Broken", "Certainty", "Check", "CheckList", "Outcome", "Result", "Skipped", "judge", "must"]

#: What was seen is shown up to so many characters.
_MOST_SHOWN = 400


class Certainty(str, enum.Enum):
    """How sure a fact is."""

    DOCUMENTED = "documented"  #: Kraken's own pages say so
    OBSERVED = "observed"  #: others saw it on the wire and published that
    INFERRED = "inferred"  #: concluded from recorded data, or from an example in the documentation


class Outcome(str, enum.Enum):
    """What a check found."""

    HOLDS = "holds"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Broken(Exception):
    """The server did something else; the text is what was seen."""


class Skipped(Exception):
    """The transcript has nothing to judge by; the text says why."""


class Check(NamedTuple):
    """A fact, as a check.

    Attributes:
        id: names it: "checksum.update".
        says: the fact, in a sentence.
        source: a public page that has it.
        certainty: how sure it is.
        judge: looks at a transcript and gives what it saw; raises `Broken` or `Skipped`.
    """

    id: str
    says: str
    source: str
    certainty: Certainty
    judge: Callable[[Transcript], str]


class Result(NamedTuple):
    """What a check found in a transcript. `seen` is what it was found by, or why there was nothing to find."""

    check: Check
    outcome: Outcome
    seen: str


class CheckList(list["Check"]):
    """The checks of one part of the protocol."""

    def add(
        self, id: str, says: str, source: str, certainty: Certainty
    ) -> Callable[[Callable[[Transcript], str]], Callable[[Transcript], str]]:
        """Decorates the function that judges."""

        def enter(function: Callable[[Transcript], str]) -> Callable[[Transcript], str]:
            self.append(Check(id, says, source, certainty, function))
            return function

        return enter


def must(holds: object, seen: object) -> None:
    """Raises `Broken` unless something holds."""
    if not holds:
        raise Broken(str(seen))


def judge(transcript: Transcript, checks: Iterable[Check]) -> list[Result]:
    """Every check's result."""
    results = []
    for check in checks:
        try:
            outcome, seen = Outcome.HOLDS, check.judge(transcript)
        except Skipped as skipped:
            outcome, seen = Outcome.SKIPPED, str(skipped)
        except Broken as broken:
            outcome, seen = Outcome.BROKEN, str(broken)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            # A message of another form than every check expects: the server's doing, whatever the check looked for
            outcome, seen = Outcome.BROKEN, f"what came is not of the expected form ({type(error).__name__}: {error})"
        results.append(Result(check, outcome, seen[:_MOST_SHOWN]))
    return results
