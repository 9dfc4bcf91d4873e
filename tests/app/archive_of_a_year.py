"""A year of days as they look to whoever reads names, sizes, manifests, journals and receipts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kraken_l3.archive.journal import Alive, GapClosed, GapOpened, Record, SyncPoint, encode_record
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.manifest import Description, Manifest, encode_manifest
from kraken_l3.archive.receipts import Receipt, pack_receipt
from kraken_l3.model.timestamps import NS_PER_S

#: Files of a sealed day; those of this size are mostly holes, which take no room.
SEALED = ("ndjson.zst", "receipts.zst", "checkpoints")
_DATA_BYTES = 500_000_000
_SYMBOLS = 50


def write_year(directory: Path, last: dt.date, days: int = 365, *, seconds: int = 80_000) -> int:
    """Write it; all days but the last two, which have so many seconds, are sealed. Returns the last receive time."""
    directory.mkdir(exist_ok=True)
    for back in range(days - 1, 1, -1):
        _write_sealed(DayPaths(directory, last - dt.timedelta(back)))
    end_ns = 0
    for back in (1, 0):
        end_ns = _write_open(DayPaths(directory, last - dt.timedelta(back)), seconds)
    return end_ns


def _write_sealed(paths: DayPaths) -> None:
    for suffix in SEALED:
        _write_holes(paths.path("l3", suffix), _DATA_BYTES)
    _write_holes(paths.journal, 17_000_000)
    symbols = {f"S{n}/USD": {"ok": 1000, "mismatched": 0, "verdict": "ok"} for n in range(_SYMBOLS)}
    verdicts = {"verdict": "ok", "engine": "native", "total": {"ok": 50_000, "mismatched": 0}, "symbols": symbols}
    contains = Description(verdicts=verdicts)
    manifest = Manifest(day=paths.day.isoformat(), sealed_ns=1, program="test", files=[], contains=contains)
    paths.manifest.write_bytes(encode_manifest(manifest))


def _write_open(paths: DayPaths, seconds: int) -> int:
    """A day of a sync a second, with a gap that has ended and one that has not."""
    _write_holes(paths.data(Stream.LEVEL3), _DATA_BYTES)
    begin_ns = int(dt.datetime.combine(paths.day, dt.time(), dt.timezone.utc).timestamp()) * NS_PER_S
    records: list[Record] = []
    for second in range(seconds):
        at_ns = begin_ns + second * NS_PER_S
        name = paths.data(Stream.LEVEL3).name
        records.append(SyncPoint(at_ns=at_ns, offsets={name: second * 6000}, lines={name: second * 4}))
        if second % 10 == 0:
            records.append(Alive(at_ns=at_ns, last_frame_ns={1: at_ns, 2: at_ns}, lines=second * 4))
    gap = {"channel": "level3", "cause": "network", "left_ns": begin_ns}
    records[500:500] = [
        GapOpened(at_ns=begin_ns, symbol="BTC/USD", **gap),
        GapClosed(at_ns=begin_ns, symbol="BTC/USD", right_ns=begin_ns + 5, **gap),
        GapOpened(at_ns=begin_ns, symbol="ETH/USD", **{**gap, "cause": "mismatch"}),
    ]
    paths.journal.write_bytes(b"".join(encode_record(record) + b"\n" for record in records))
    end_ns = begin_ns + seconds * NS_PER_S
    receipt = pack_receipt(Receipt(end_ns, 1, _DATA_BYTES, 1, 0))
    paths.receipts(Stream.LEVEL3).write_bytes(receipt * 1000)
    return end_ns


def _write_holes(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
