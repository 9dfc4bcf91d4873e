"""What was said between a client and a server: every text as it was sent, and when. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Optional

__all__ = ["Call", "Entry", "Message", "Number", "Talk", "Transcript", "symbol_of"]

Message = dict[str, Any]


class Number(str):
    """A JSON number as it was written: "75623.0"."""


def _decoded(text: str) -> Any:
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number)


class Entry:
    """One frame.

    Attributes:
        at_s: seconds since the connection was opened.
        text: its text; of a binary frame or a pong the bytes as Latin-1.
        kind: "sent", "text", "binary", "pong" or "closed".
    """

    def __init__(self, at_s: float, text: str, kind: str = "text") -> None:
        self.at_s = at_s
        self.text = text
        self.kind = kind

    @cached_property
    def message(self) -> Message:
        """The JSON object, its numbers as `Number`; empty where the frame is none."""
        try:
            value = _decoded(self.text) if self.kind == "text" else None
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Talk:
    """All that was said on one WebSocket connection, in steps with names.

    Attributes:
        endpoint: "level3" or "public".
        entries: in order.
        steps: name of each step to the number of its first entry.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.entries: list[Entry] = []
        self.steps: dict[str, int] = {}

    def begin(self, step: str) -> None:
        """What comes from here on belongs to this step."""
        self.steps[step] = len(self.entries)

    def step(self, name: str) -> list[Entry]:
        """The entries of a step; none where it was not reached."""
        if name not in self.steps:
            return []
        starts = [*self.steps.values(), len(self.entries)]
        at = list(self.steps).index(name)
        return self.entries[starts[at] : starts[at + 1]]

    def received(self, step: Optional[str] = None) -> Iterator[Entry]:
        """The text frames of the server, of one step or all."""
        return (each for each in (self.entries if step is None else self.step(step)) if each.kind == "text")

    def answers(self, step: str) -> list[Message]:
        """The server's answers in a step."""
        return [each.message for each in self.received(step) if "method" in each.message]

    def data(self, channel: str, step: Optional[str] = None) -> Iterator[Entry]:
        """The messages of a channel."""
        return (each for each in self.received(step) if each.message.get("channel") == channel)


class Call:
    """A REST call's answer.

    Attributes:
        status: of HTTP.
        text: the body.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text

    @cached_property
    def answer(self) -> Message:
        """The JSON object, its numbers as `Number`; empty where it is none."""
        try:
            value = _decoded(self.text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def errors(self) -> list[str]:
        """What its `error` array holds."""
        return [str(each) for each in self.answer.get("error") or ()]


class Transcript:
    """A whole run.

    Attributes:
        symbols: the pairs it asked for, the main one first.
        depths: the level3 depths it asked for.
        calls: REST answers by the name of the question.
        talks: connections by name.
        missing: step or call that was left out, to the reason.
    """

    def __init__(self, symbols: list[str], depths: tuple[int, ...] = (10, 100, 1000)) -> None:
        self.symbols = symbols
        self.depths = depths
        self.calls: dict[str, Call] = {}
        self.talks: dict[str, Talk] = {}
        self.missing: dict[str, str] = {}

    @cached_property
    def precisions(self) -> Mapping[str, tuple[int, int]]:
        """Decimals of price and quantity by symbol, from `instrument`, else from AssetPairs."""
        found: dict[str, tuple[int, int]] = {}
        for pair in self.asset_pairs().values():
            found[symbol_of(pair["wsname"])] = (int(pair["pair_decimals"]), int(pair["lot_decimals"]))
        for talk in self.talks.values():
            for entry in talk.data("instrument"):
                for pair in entry.message["data"]["pairs"]:
                    found[pair["symbol"]] = (int(pair["price_precision"]), int(pair["qty_precision"]))
        return found

    def asset_pairs(self) -> dict[str, Message]:
        """The pairs of REST AssetPairs that have a WebSocket name, by key."""
        call = self.calls.get("asset-pairs")
        result = call.answer.get("result") if call is not None else None
        return {key: pair for key, pair in (result or {}).items() if isinstance(pair, dict) and "wsname" in pair}


def symbol_of(wsname: str) -> str:
    """The WebSocket v2 name of a pair: BTC/USD for XBT/USD."""
    return "/".join({"XBT": "BTC", "XDG": "DOGE"}.get(name, name) for name in wsname.split("/"))
