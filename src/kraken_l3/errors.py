"""The one tree of errors. Every error says what happened, where, and what to do next, and knows its exit code.

The type says who has to act: the user (`ConfigError`, `UsageError`), Kraken (`RefusedByKraken`, `RemoteProtocolError`),
this machine (`LocalFault` and below), or nobody, since the data itself is the message (`DamageFound`, `DataMissing`).
"""

from __future__ import annotations

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
    "RemoteProtocolError",
    "SyncFailed",
    "UsageError",
]


class KrakenL3Error(Exception):
    """Base of all errors of this package.

    Args:
        what: one clause that says what happened.
        where: file, line, offset, symbol or connection, as far as known.
        hint: what the reader can do about it.
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
    """A command was called in a way that cannot work."""

    exit_code = 1


class ConfigError(KrakenL3Error):
    """The configuration cannot work; `where` names the key."""

    exit_code = 1


class DamageFound(KrakenL3Error):
    """Data that is there is wrong."""

    exit_code = 2


class DataMissing(KrakenL3Error):
    """Something is missing or cannot be verified."""

    exit_code = 3


class RefusedByKraken(KrakenL3Error):
    """Kraken said no, and asking again would not help."""

    exit_code = 4


class RemoteProtocolError(KrakenL3Error):
    """The other side broke the protocol; the connection is closed and made again."""


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
    """The file system has no room; what did not fit was taken back to the last whole line."""


class SyncFailed(ArchiveError):
    """fsync failed: what the kernel holds can no longer be trusted. Never retried."""
