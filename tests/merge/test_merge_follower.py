"""One archive of a recorder with two connections: what the follower kept is put back, and hand-overs are no gaps."""

from pathlib import Path

import pytest
from recordings import (
    FOLLOWING,
    Outage,
    Recorder,
    Streamed,
    identities,
    lines_of,
    record,
    records_of,
    streamed,
)

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.journal import Conflict, GapClosed, HandedOver, Repaired
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import unpack_receipts
from kraken_l3.merge.job import merge
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.rebuild.verify import verify

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")


def day() -> Streamed:
    return streamed(symbols=("BTC/USD",), start_ns=NOON_NS)


def group(begin: int, count: int = 1) -> tuple[int, ...]:
    """A message, so many behind it, and the next: what a follower keeps of a loss."""
    return tuple(range(begin, begin + count + 2))


def lossy(stream: Streamed, *groups: tuple[int, ...], snapshot: bool = True) -> Recorder:
    """Lost the inner messages of each group, and was subscribed anew some messages later."""
    outages = [Outage(each[-1] + 10, each[-1] + 10, "lost", left=each[0]) for each in groups] if snapshot else []
    lost = frozenset(number for each in groups for number in each[1:-1])
    return Recorder(outages=tuple(outages), lost=lost, kept=groups)


@pytest.mark.parametrize("snapshot", [True, False])
def test_one_archive_alone_is_repaired(tmp_path: Path, snapshot: bool) -> None:
    stream = day()
    groups = (group(60), group(150, 5), group(300, 2))
    source = record(tmp_path / "data", stream, lossy(stream, *groups, snapshot=snapshot))
    assert verify(source).symbols["BTC/USD"].tally.mismatched > 0
    report = merge([source], tmp_path / "fixed")
    assert report.exit_code() == 0, report
    assert identities(lines_of(tmp_path / "fixed")) == identities(stream.lines)
    tally = verify(tmp_path / "fixed").symbols["BTC/USD"].tally
    assert tally.ok == tally.messages
    assert gaps_in(open_archive(tmp_path / "fixed"))[-1].cause == "stop"
    repaired = records_of(tmp_path / "fixed", Repaired)
    assert [(each.cause, each.source, each.taken_from, each.lines) for each in repaired] == [
        ("lost", 0, 1, len(each) - 2) for each in groups
    ]
    assert {each.proof for each in repaired} <= {"checksums", "unseen"}
    assert not records_of(tmp_path / "fixed", GapClosed)
    # its lines have the follower's receipts
    (receipts,) = (tmp_path / "fixed").glob("l3-*.receipts")
    connections = [receipt.connection for receipt in unpack_receipts(receipts.read_bytes())]
    assert connections.count((FOLLOWING - 1) * 2 + 1) == sum(len(each) - 2 for each in groups)


def test_a_message_that_nobody_kept_stays_a_gap(tmp_path: Path) -> None:
    stream = day()
    whole, other = group(60, 3), group(200)
    how = lossy(stream, whole, other)
    how = how._replace(kept=((*whole[:2], *whole[3:]), other))  # the ring was too short for one of them
    report = merge([record(tmp_path / "data", stream, how)], tmp_path / "fixed")
    assert report.exit_code() == 3
    (gap,) = records_of(tmp_path / "fixed", GapClosed)
    assert (gap.cause, gap.symbol) == ("lost", "BTC/USD")
    assert report.gaps == 1


def test_other_content_is_a_conflict_and_never_chosen_silently(tmp_path: Path) -> None:
    stream = day()
    kept = group(100, 1)
    number = kept[1]
    source = record(tmp_path / "data", stream, Recorder(kept=(kept,)))
    (path,) = source.glob("follower-*.ndjson")
    line = stream.lines[number]
    at = line.index(b'"order_qty":') + len(b'"order_qty":')
    other = line[:at] + (b"7" if line[at : at + 1] != b"7" else b"8") + line[at + 1 :]
    path.write_bytes(path.read_bytes().replace(line, other))
    report = merge([source], tmp_path / "fixed")
    assert (report.exit_code(), report.conflicts) == (2, 1)
    assert identities(lines_of(tmp_path / "fixed")) == identities(stream.lines)
    assert len(records_of(tmp_path / "fixed", Conflict)) == 1


def test_a_hand_over_is_no_gap(tmp_path: Path) -> None:
    """The connection in the receipts changes, and a gap that was open never was one."""
    stream = day()
    sources = [
        record(tmp_path / "a", stream, Recorder(hand_overs=frozenset({120, 200}))),
        record(tmp_path / "b", stream, Recorder(hand_overs=frozenset({250}), outages=(Outage(150, 230),))),
    ]
    report = merge(sources, tmp_path / "out")
    assert report.exit_code() == 0, report
    assert identities(lines_of(tmp_path / "out")) == identities(stream.lines)
    assert not records_of(tmp_path / "out", GapClosed)
    assert {gap.cause for gap in gaps_in(open_archive(tmp_path / "out"))} == {"stop"}
    handed = records_of(tmp_path / "out", HandedOver)
    assert [each.connection - each.previous for each in handed] == [2, 2, 2]  # as many as there are sources
    assert [each.cause for each in records_of(tmp_path / "out", Repaired)] == ["network"]


def test_what_was_lost_before_a_hand_over_is_repaired(tmp_path: Path) -> None:
    stream = day()
    kept = group(100)
    how = Recorder(lost=frozenset(kept[1:-1]), kept=(kept,), hand_overs=frozenset({kept[-1] + 5}))
    report = merge([record(tmp_path / "data", stream, how)], tmp_path / "fixed")
    assert report.exit_code() == 0, report
    assert identities(lines_of(tmp_path / "fixed")) == identities(stream.lines)
