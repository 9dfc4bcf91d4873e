"""What a manifest says of the days that it seals: their lines and times, and the verdict on their books."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.gaps import Gap, fold_gaps
from kraken_l3.archive.layout import SEALED_SUFFIX, Stream, parse_name
from kraken_l3.archive.manifest import Description, StreamSummary
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.sealing import Sealing
from kraken_l3.archive.summary import FileSummary, summarise
from kraken_l3.archive.unread import Unread
from kraken_l3.rebuild.metadata import MetadataReader
from kraken_l3.rebuild.parallel import default_jobs
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.verify import verify

__all__ = ["describe"]


def describe(sealing: Sealing, *, jobs: Optional[int] = None) -> Description:
    """Read the sealed files of a day, and verify its books; reading them is one more proof that they can be read.

    Args:
        sealing: the day, packed.
        jobs: of the verification; None: as many as its size is worth.
    """
    paths = [sealing.directory / (name + SEALED_SUFFIX) for name in sealing.data]
    summaries = [summarise(Archive(path)) for path in paths]
    files = [file for summary in summaries for file in summary.files]
    # A day's further files stay as they are, and what is said of the day must not seem to hold for them.
    unread = [Unread(name, "not verified when the day was sealed") for name in sealing.companions if _is_data(name)]
    level3 = (path for path, file in zip(paths, files) if file.stream == Stream.LEVEL3.value and file.lines)
    verdicts = next((_verdicts(path, unread, jobs) for path in level3), None)
    missing = [text for summary in summaries for text in summary.missing]
    missing += map(str, unread)
    if verdicts and verdicts["total"]["before_snapshot"]:
        missing.append(_ALONE)
    return Description(
        streams=[_stream(file) for file in files],
        depths=_depths(sealing, verdicts["symbols"] if verdicts else {}),
        verdicts=verdicts,
        gaps=_gaps(sealing),
        missing=list(dict.fromkeys(missing)),
    )


_ALONE = "verified as a day alone: what came before a symbol's first snapshot or checkpoint of the day is not judged"


def _stream(file: FileSummary) -> StreamSummary:
    return StreamSummary(
        name=file.name,
        stream=file.stream,
        lines=file.lines,
        first_received_ns=file.first_received_ns,
        last_received_ns=file.last_received_ns,
        symbols=[symbol.symbol for symbol in file.symbols],
    )


def _is_data(name: str) -> bool:
    parsed = parse_name(name)
    return parsed is not None and parsed.is_data


def _verdicts(path: Path, unread: list[Unread], jobs: Optional[int]) -> dict[str, Any]:
    report = Report(require_complete=False)
    found = verify(path, jobs=jobs or default_jobs(content_size(path)))
    found.unread_files += unread
    report.add(path, found, companions=())  # of what lies beside, the manifest has the digests
    wanted = ("verdict", "engine", "total", "symbols")
    return {name: value for name, value in report.as_dict().items() if name in wanted}


def _depths(sealing: Sealing, symbols: dict[str, Any]) -> dict[str, int]:
    """As the day's journal says, else as verification told them from the snapshots."""
    found = {symbol: counts["depth"] for symbol, counts in symbols.items() if counts.get("depth")}
    if sealing.day is not None:
        reader = MetadataReader()
        for record in Archive(sealing.directory).journal(sealing.day):
            found.update((told.symbol, told.depth) for told in reader.read(record) if told.depth is not None)
    return dict(sorted(found.items()))


def _gaps(sealing: Sealing) -> list[Gap]:
    if sealing.day is None:
        return []
    return fold_gaps(Archive(sealing.directory).journal(sealing.day))
