"""The records that a connection writes into the journal."""

from typing import Any

from kraken_l3.archive.journal import Acknowledged, Control, Rejected, Unrecognised
from kraken_l3.capture import channel
from kraken_l3.capture.connection_journal import (
    CONTROL_BYTES_PER_S,
    FRAME_KEPT_BYTES,
    UNRECOGNISED_KEPT,
    ConnectionJournal,
)
from kraken_l3.clock import SystemClock
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.session import Acked, Dead, SymbolRejected


def made_journal() -> tuple[ConnectionJournal, list[Any]]:
    records: list[Any] = []
    return ConnectionJournal(3, channel.level3(["A/B"], 100), records.append, SystemClock()), records


def test_a_flood_of_unrecognised_frames_is_counted_not_kept() -> None:
    journal, records = made_journal()
    for _ in range(UNRECOGNISED_KEPT + 50):
        journal.unrecognised(b"\xff" * (FRAME_KEPT_BYTES + 1), 5, 6)
    assert journal.unrecognised_count == UNRECOGNISED_KEPT + 50
    assert [record.count for record in records] == list(range(1, UNRECOGNISED_KEPT + 1))
    assert all(isinstance(record, Unrecognised) for record in records)
    assert {(record.size, len(record.frame)) for record in records} == {(FRAME_KEPT_BYTES + 1, FRAME_KEPT_BYTES)}


def test_a_flood_of_control_frames_is_counted_not_kept() -> None:
    journal, records = made_journal()
    for number in range(1_000):
        journal.control(b"x" * 60_000, 5, 7 * NS_PER_S + number)
    assert sum(len(record.frame) for record in records) < 2 * CONTROL_BYTES_PER_S
    kept = len(records)
    journal.control(b"later", 6, 8 * NS_PER_S)
    assert (records[-1].frame, records[-1].left_out) == ("later", 1_000 - kept)
    journal.control(b"x" * 60_000, 5, 8 * NS_PER_S)
    journal.control(b"x" * 60_000, 5, 8 * NS_PER_S)
    journal.control(b"x" * 60_000, 5, 8 * NS_PER_S)
    journal.disconnected(Dead("network", ""), None, 9)
    assert (type(records[-2]), records[-2].frame, records[-2].left_out) == (Control, "", 1)


def test_the_answers_to_a_hundred_subscriptions_a_second_are_all_kept() -> None:
    journal, records = made_journal()
    for number in range(100):
        journal.control(b"x" * 400, 5, number)
    assert [record.left_out for record in records] == [0] * 100


def test_a_depth_that_kraken_does_not_repeat_is_the_one_asked_for() -> None:
    journal, records = made_journal()
    journal.acknowledged(Acked("A/B", None), 5, 6)
    journal.acknowledged(Acked("A/B", 10), 5, 6)
    assert all(isinstance(record, Acknowledged) for record in records)
    assert [record.depth for record in records] == [100, 10]


def test_a_rejection_says_when_it_is_asked_for_again() -> None:
    journal, records = made_journal()
    journal.rejected(SymbolRejected("A/B", "no", 60), 5)
    (record,) = records
    assert isinstance(record, Rejected)
    assert (record.connection, record.symbol, record.error, record.retry_s) == (3, "A/B", "no", 60.0)
