"""What an archive keeps of a second connection, as a source of its own: messages that the first one did not receive.

`follower-D.ndjson` has them in groups, between two messages that both connections received, so each group is a run of
the stream that others are aligned with. It has no snapshots, and nothing is missing between two groups: the connection
received all of it, and kept only these.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from kraken_l3.archive.journal import Record
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive

__all__ = ["KeptByFollower"]


class KeptByFollower(Archive):
    """The kept messages of an archive as its level3 data. The journal and the other streams are the archive's alone."""

    def files(self, stream: str = Stream.LEVEL3, *, parts: bool = True) -> list[Path]:
        """See `Archive.files`."""
        return super().files(Stream.FOLLOWER, parts=parts) if self.is_directory and stream == Stream.LEVEL3 else []

    @property
    def days(self) -> list[dt.date]:
        """None: they are the archive's."""
        return []

    def journal(self, day: dt.date, *, strict: bool = False) -> Iterator[Record]:
        """Nothing."""
        return iter(())
