"""What can be said at once of an archive and its recorder, however many days there are.

It takes the names and sizes of files, the last manifest, the newest day's journal (of which only the gaps are decoded)
and the last receipt: no data is read. While a recorder runs, `recorder.status` tells the rest.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Optional

import msgspec
from msgspec import Meta

from kraken_l3.archive.filesystem import open_regular
from kraken_l3.archive.journal import GapOpened, HandedOver, JournalState, Record, decode_record
from kraken_l3.archive.layout import LOCK_NAME, DayPaths, Stream, parse_name
from kraken_l3.archive.manifest import read_manifest
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.receipts import RECEIPT_BYTES, unpack_receipts
from kraken_l3.errors import KrakenL3Error, MalformedMessage, UsageError
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.timestamps import NS_PER_S, day_of
from kraken_l3.monitor.health import Problem, health_of
from kraken_l3.monitor.status import RecorderStatus
from kraken_l3.monitor.status_file import is_fresh, read_status

__all__ = ["ArchiveStatus", "DayStatus", "OpenGap", "SealedDays", "archive_status"]

#: The daily size is the mean of so many finished days.
RECENT_DAYS = 7
_GAP = re.compile(rb'"kind":"(?:gap_|handover")')
_CHUNK_BYTES = 4 * 1024 * 1024

RecorderState = Literal["running", "stopped", "stuck", "dead", "none"]


class OpenGap(msgspec.Struct, frozen=True):
    """A gap that had not ended when this was asked."""

    channel: str
    symbol: str
    cause: str
    since_ns: int


class DayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The newest day.

    Attributes:
        day: its date, UTC.
        lines: level3 messages (None: nothing tells without reading the data).
        bytes: of all its files.
        last_received_ns: when the last level3 message came (None: nothing tells).
        gaps: those that began on it; the orderly stop is none.
        open_gaps: those that have not ended.
    """

    day: str
    lines: Optional[int]
    bytes: int
    last_received_ns: Optional[int]
    gaps: int
    open_gaps: list[OpenGap]


class SealedDays(msgspec.Struct, frozen=True, kw_only=True):
    """All days.

    Attributes:
        days: how many have data.
        sealed: how many of them have a manifest.
        first: the first of them.
        last: the last of them.
        last_sealed: the last that is sealed (None: there is none).
        verdict: its verdict, as in its manifest.
        messages: its messages that were compared with a checksum.
        ok: those of them that agreed.
        bytes: of all files.
        bytes_per_day: mean of the last finished days (None: there is none yet).
    """

    days: int
    sealed: int
    first: Optional[str]
    last: Optional[str]
    last_sealed: Optional[str] = None
    verdict: Optional[str] = None
    messages: int = 0
    ok: int = 0
    bytes: int = 0
    bytes_per_day: Optional[int] = None


class ArchiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """See the module.

    Attributes:
        path: the archive.
        state: of its recorder: "running"; "stopped" in order; "stuck": its process is there and tells nothing; "dead":
            it has ended without a word; "none" has ever told anything.
        pid: of the recorder (None: not known).
        told: what the recorder told last.
        told_age_s: seconds since then.
        problems: why a running recorder is not healthy; empty for any other.
        today: the newest day (None: there is no day).
        sealed: all days.
        disk_free_bytes: free space (None: nothing tells).
        days_left: until the disk is full, at the mean of the last days.
    """

    path: str
    state: RecorderState
    pid: Optional[int]
    told: Optional[RecorderStatus]
    told_age_s: Optional[float]
    problems: list[Problem]
    today: Optional[DayStatus]
    sealed: SealedDays
    disk_free_bytes: Optional[int]
    days_left: Optional[float]


def archive_status(directory: Path, now_ns: int) -> ArchiveStatus:
    """The status of an archive now.

    Raises:
        UsageError: there is no such directory, or nothing of an archive in it.
    """
    try:
        sizes = _sizes_by_day(directory)
    except OSError as error:
        hint = "Give the archive's directory, or run this where config.yaml is"
        raise UsageError(f"cannot be read: {error.strerror}", where=str(directory), hint=hint) from error
    told = read_status(directory)
    if not sizes and told is None:
        raise UsageError("no recording here", where=str(directory), hint="Files are called l3-YYYY-MM-DD.ndjson")
    age_s = None if told is None else (now_ns - told.now_ns) / NS_PER_S
    state, pid = _recorder(directory, told, now_ns)
    sealed = _sealed_days(directory, sizes, day_of(now_ns))
    free = _free_bytes(directory)
    per_day = sealed.bytes_per_day
    is_expected = told is not None and state in ("running", "stuck", "dead")
    return ArchiveStatus(
        path=str(directory),
        state=state,
        pid=pid,
        told=told,
        told_age_s=age_s,
        problems=health_of(told, age_s=age_s or 0.0).problems if is_expected else [],
        today=_newest_day(directory, sizes) if sizes else None,
        sealed=sealed,
        disk_free_bytes=free,
        days_left=free / per_day if free is not None and per_day else None,
    )


# -- the recorder ------------------------------------------------------------------------------------------------------


class _Holder(msgspec.Struct):
    pid: Annotated[int, Meta(ge=1, le=2**31)]
    host: str


_holders = msgspec.json.Decoder(_Holder)


def _recorder(directory: Path, told: Optional[RecorderStatus], now_ns: int) -> tuple[RecorderState, Optional[int]]:
    if told is None:
        return "none", None
    if told.stopped:
        return "stopped", None
    if is_fresh(told, now_ns):
        return "running", told.pid
    try:
        with open_regular(directory / LOCK_NAME) as file:
            holder = decode_json(_holders, file.read(4096))
    except (OSError, MalformedMessage):
        return "dead", None
    is_there = holder.host == socket.gethostname() and holder.pid == told.pid and _is_running(holder.pid)
    return ("stuck", holder.pid) if is_there else ("dead", None)


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


# -- the files ---------------------------------------------------------------------------------------------------------


def _sizes_by_day(directory: Path) -> dict[dt.date, dict[str, int]]:
    """Names and sizes of the files of each day, oldest day first."""
    sizes: dict[dt.date, dict[str, int]] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            name = parse_name(entry.name)
            if name is not None:
                sizes.setdefault(name.day, {})[entry.name] = entry.stat(follow_symlinks=False).st_size
    return dict(sorted(sizes.items()))


def _sealed_days(directory: Path, sizes: dict[dt.date, dict[str, int]], today: dt.date) -> SealedDays:
    totals = {day: sum(files.values()) for day, files in sizes.items()}
    sealed = [day for day, files in sizes.items() if DayPaths(directory, day).manifest.name in files]
    finished = [total for day, total in totals.items() if day < today][-RECENT_DAYS:]
    days = [day.isoformat() for day in sizes]
    result = SealedDays(
        days=len(days),
        sealed=len(sealed),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        bytes=sum(totals.values()),
        bytes_per_day=sum(finished) // len(finished) if finished else None,
    )
    if not sealed:
        return result
    verdict, messages, ok = _verdict(DayPaths(directory, sealed[-1]).manifest)
    return msgspec.structs.replace(
        result, last_sealed=sealed[-1].isoformat(), verdict=verdict, messages=messages, ok=ok
    )


def _verdict(path: Path) -> tuple[Optional[str], int, int]:
    """The verdict of a sealed day, the messages it is about, and how many of them agreed."""
    try:
        verdicts = read_manifest(path).contains.verdicts or {}
    except KrakenL3Error as error:  # `check` is there to look closer
        return error.what, 0, 0
    total = verdicts.get("total")
    counts = total if isinstance(total, dict) else {}
    ok, bad = (counts.get(name) for name in ("ok", "mismatched"))
    ok, bad = ok if isinstance(ok, int) else 0, bad if isinstance(bad, int) else 0
    return str(verdicts.get("verdict")) if verdicts else None, ok + bad, ok


def _newest_day(directory: Path, sizes: dict[dt.date, dict[str, int]]) -> DayStatus:
    day = max(sizes)
    paths = DayPaths(directory, day)
    lines, last_ns = _last_receipt(paths.receipts(Stream.LEVEL3))
    state, gaps = JournalState(), 0
    for record in _gap_records(paths.journal):
        gap = state.gaps.get((record.channel, record.symbol)) if isinstance(record, HandedOver) else None
        gaps -= gap is not None and gap.cause != "stop"  # it never was one
        state.apply(record)
        gaps += isinstance(record, GapOpened) and not record.restated and record.cause != "stop"
    return DayStatus(
        day=day.isoformat(),
        lines=lines,
        bytes=sum(sizes[day].values()),
        last_received_ns=last_ns,
        gaps=gaps,
        open_gaps=_open_gaps(state.gaps.values()),
    )


def _open_gaps(gaps: Iterable[GapOpened]) -> list[OpenGap]:
    return [OpenGap(gap.channel, gap.symbol, gap.cause, gap.left_ns) for gap in gaps]


def _last_receipt(path: Path) -> tuple[Optional[int], Optional[int]]:
    """How many there are, and the receive time of the last one."""
    try:
        source = PlainFile(path)
    except KrakenL3Error:
        return None, None
    try:
        count = source.size() // RECEIPT_BYTES
        last = source.read_at((count - 1) * RECEIPT_BYTES, RECEIPT_BYTES) if count else b""
    finally:
        source.close()
    return count, next((receipt[0] for receipt in unpack_receipts(last)), None)


def _gap_records(path: Path) -> Iterator[Record]:
    """The records of gaps. A day's journal has a hundred thousand others, which are not decoded."""
    try:
        source = PlainFile(path)
    except KrakenL3Error:
        return
    try:
        offset, rest = 0, b""
        while chunk := source.read_at(offset, _CHUNK_BYTES):
            offset += len(chunk)
            text, newline, rest = (rest + chunk).rpartition(b"\n")
            yield from _gap_records_in(text + newline)
    finally:
        source.close()


def _gap_records_in(text: bytes) -> Iterator[Record]:
    end = 0
    while (found := _GAP.search(text, end)) is not None:
        end = text.find(b"\n", found.start())
        with suppress(MalformedMessage):  # damaged, or these letters within another record
            yield decode_record(text[text.rfind(b"\n", 0, found.start()) + 1 : end])


def _free_bytes(directory: Path) -> Optional[int]:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
