"""Secrets by value: what must not be written down is replaced, in whatever form it comes back to us.

A server may repeat a request that carries a session token; a proxy may put a signature into an error. So every text
that leaves for journal, log or state file goes through `SECRETS.redact`, which finds the secrets of this process raw,
with JSON's escapes (`\\u0041`, `\\/`, nested ones too) or URL's (`%2F`), whole, or in parts of 15 characters and more.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator

__all__ = ["SECRETS", "Redactor"]

#: A shorter text is no secret, and would be found everywhere.
SHORTEST = 6
#: Parts of a secret are found by chunks of it that are looked up at every position of a text. Any part of at least
#: 2 * CHUNK - 1 characters contains one of the chunks that lie end to end; shorter parts tell nothing worth having.
CHUNK = 8
SHORTEST_PART = 2 * CHUNK - 1
#: Tokens and signatures are made for years; the newest so many of each kind are remembered.
REMEMBERED = 1_000

_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|(.))|%([0-9a-fA-F]{2})")


class Redactor:
    """Remembers secrets and replaces them in texts. Texts may come from any thread.

    Args:
        limit: of each kind, so many are remembered; the oldest are forgotten.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._kinds: dict[str, OrderedDict[str, None]] = {}
        self._labels: dict[str, str] = {}
        self._chunks: dict[str, list[tuple[str, int]]] = {}
        self._short: dict[str, None] = {}

    def remember(self, secret: str, kind: str) -> None:
        """From now on this secret becomes "[kind]" in every text."""
        if len(secret) < SHORTEST or secret in self._labels:
            return
        self._labels[secret] = f"[{kind}]"
        for chunk, offset in _chunks_of(secret):
            self._chunks[chunk] = [*self._chunks.get(chunk, ()), (secret, offset)]
        if len(secret) < SHORTEST_PART:
            self._short[secret] = None
        remembered = self._kinds.setdefault(kind, OrderedDict())
        remembered[secret] = None
        if len(remembered) > self._limit:
            self._forget(remembered.popitem(last=False)[0])

    def redact(self, text: str) -> str:
        """The text with every secret replaced."""
        if not self._labels:
            return text
        plain, positions = _without_escapes(text) if "\\" in text or "%" in text else (text, None)
        found = sorted(self._found_in(plain))
        for start, end, label in reversed(_merged(found)):
            if positions is not None:
                start, end = positions[start], positions[end]
            text = text[:start] + label + text[end:]
        return text

    def _forget(self, secret: str) -> None:
        del self._labels[secret]
        self._short.pop(secret, None)
        for chunk, _ in _chunks_of(secret):
            others = [each for each in self._chunks.get(chunk, ()) if each[0] != secret]
            if others:
                self._chunks[chunk] = others
            else:
                self._chunks.pop(chunk, None)

    def _found_in(self, text: str) -> Iterator[tuple[int, int, str]]:
        chunks = self._chunks
        for at in [i for i in range(len(text) - CHUNK + 1) if text[i : i + CHUNK] in chunks]:
            for secret, offset in chunks.get(text[at : at + CHUNK], ()):
                start, end = _extended(text, at, secret, offset)
                if end - start >= SHORTEST_PART:
                    yield start, end, self._labels.get(secret, "[secret]")
        for secret in list(self._short):
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret), self._labels.get(secret, "[secret]")
                at = text.find(secret, at + 1)


def _chunks_of(secret: str) -> list[tuple[str, int]]:
    """Those that lie end to end; none for a secret that is only looked for as a whole."""
    if len(secret) < SHORTEST_PART:
        return []
    return [(secret[at : at + CHUNK], at) for at in range(0, len(secret) - CHUNK + 1, CHUNK)]


def _extended(text: str, at: int, secret: str, offset: int) -> tuple[int, int]:
    """The longest part of the secret around a chunk of it."""
    start, end, first, last = at, at + CHUNK, offset, offset + CHUNK
    while start and first and text[start - 1] == secret[first - 1]:
        start, first = start - 1, first - 1
    while end < len(text) and last < len(secret) and text[end] == secret[last]:
        end, last = end + 1, last + 1
    return start, end


def _merged(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Places that overlap as one."""
    merged: list[tuple[int, int, str]] = []
    for start, end, label in found:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
        else:
            merged.append((start, end, label))
    return merged


def _without_escapes(text: str) -> tuple[str, list[int]]:
    """The text with its escapes resolved, and where in the original each of its characters begins (and the end)."""
    parts: list[str] = []
    positions: list[int] = []
    done = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[done : match.start()])
        positions += range(done, match.start())
        by_number = match[1] or match[3]
        parts.append(chr(int(by_number, 16)) if by_number else match[2])
        positions.append(match.start())
        done = match.end()
    parts.append(text[done:])
    positions += range(done, len(text) + 1)
    return "".join(parts), positions


#: The secrets of this process.
SECRETS = Redactor()
