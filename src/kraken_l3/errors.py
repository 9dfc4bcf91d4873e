"""The one tree of errors. Every error says what happened, where, and what to do next, and knows its exit code.

The type says who has to act: the user (`ConfigError`, `UsageError`), Kraken (`RefusedByKraken`),
this machine (`LocalFault` and below), or nobody: the data is damaged or missing (`DamageFound`, `DataMissing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "ArchiveError",
    "ArchiveLocked",
    "ConfigError",
    "DamageFound",
    "DataMissing",
    "DiskFull",
    "KrakenL3Error",
    "LocalFault",
    "MalformedMessage",
    "RefusedByKraken",
    "SyncFailed",
    "UsageError",
    "did_you_mean",
]


class KrakenL3Error(Exception):
    """Base of all errors of this package.

    Args:
        what: what happened, in one clause.
        where: file, line, offset, symbol or connection, as far as known.
        hint: what to do about it.
    """

    exit_code: ClassVar[int] = 5

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.hint}" if self.hint else text


class UsageError(KrakenL3Error):
    """A command or function was called with arguments that cannot work."""

    exit_code = 1


class ConfigError(KrakenL3Error):
    """The configuration is wrong; `where` names the key."""

    exit_code = 1


class DamageFound(KrakenL3Error):
    """Data is present and wrong."""

    exit_code = 2


class DataMissing(KrakenL3Error):
    """Something is missing or cannot be verified."""

    exit_code = 3


class RefusedByKraken(KrakenL3Error):
    """Kraken refused, and retrying would not help."""

    exit_code = 4


class MalformedMessage(KrakenL3Error):
    """Bytes that are not the message they claim to be."""

    exit_code = 2


class LocalFault(KrakenL3Error):
    """Something on this machine failed."""


class ArchiveError(LocalFault):
    """The archive cannot be read or written as asked."""


class ArchiveLocked(ArchiveError):
    """Another process writes to this archive."""


class DiskFull(ArchiveError):
    """The file system is full; the file was cut back to its last whole line."""


class SyncFailed(ArchiveError):
    """fsync failed, so the page cache can no longer be trusted. Never retried."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is most like a mistyped one, or "" if none is.

    "BTCUSD", "btc-usd" and "XBT/USD" (Kraken's old name) all lead to "BTC/USD".
    """
    from difflib import get_close_matches  # only errors need it

    by_key = {_spelling(each): each for each in known}
    closest = get_close_matches(_spelling(name), by_key, n=1, cutoff=0.7)
    return f"Did you mean {by_key[closest[0]]}?" if closest else ""


def _spelling(name: str) -> str:
    letters = "".join(character for character in name[:100].upper() if character.isalnum())
    return letters.replace("XBT", "BTC").replace("XDG", "DOGE")
