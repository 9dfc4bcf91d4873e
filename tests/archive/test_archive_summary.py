"""What `info` counts: lines, symbols, times, connections, repairs, and what cannot be told."""

import json
from collections import Counter

import pytest
from archive_scenes import DAY, NOON_NS, SECOND_NS, frame, payload, start, stop
from disk_fakes import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    Rejected,
    Started,
    Stopped,
    TradeGap,
)
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import MALFORMED, RECEIVE_TIME_UNKNOWN
from kraken_l3.archive.summary import Connection, summarise
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import UsageError
from kraken_l3.model.frames import Frame

SNAPSHOT = b'{"channel":"level3","type":"snapshot","data":[{"symbol":"BTC/USD"}]}'
OTHER_KEYS = b'{"data":[{"n":1,"symbol":"ETH/USD"}],"type":"snapshot","channel":"level3"}'


def written(directory, *frames, records=()):
    """The summary of an archive with these frames and records."""
    clock = FakeClock(NOON_NS)
    with_writer = ArchiveWriter.open(directory, clock=clock)
    start(with_writer, clock)
    if frames:
        with_writer.append("level3", frames)
    for record in records:
        with_writer.journal(record)
    clock.now_ns += 10 * SECOND_NS
    stop(with_writer, clock)
    return summarise(open_archive(directory))


def at(second, text, *, connection=1, flags=0):
    return Frame(text, NOON_NS + second * SECOND_NS, second, connection, flags)


def test_lines_are_counted_by_symbol(tmp_path):
    frames = at(0, SNAPSHOT), at(1, payload(1)), at(2, OTHER_KEYS, connection=2), at(3, b'{"channel":"status"}')
    (file,) = written(tmp_path, *frames).files
    assert (file.name, file.stream, file.day, file.lines, file.other_lines) == (f"l3-{DAY}.ndjson", "level3", DAY, 4, 1)
    assert file.bytes == sum(len(each.payload) + 1 for each in frames)
    assert [(s.symbol, s.lines, s.snapshots) for s in file.symbols] == [("BTC/USD", 2, 1), ("ETH/USD", 1, 1)]
    assert sum(symbol.bytes for symbol in file.symbols) == file.bytes - len(frames[3].payload) - 1
    btc, eth = file.symbols
    assert (btc.first_received_ns, btc.last_received_ns) == (NOON_NS, NOON_NS + SECOND_NS)
    assert eth.first_received_ns == eth.last_received_ns == NOON_NS + 2 * SECOND_NS
    assert file.connections == [1, 2]


def test_flags_of_receipts_are_counted_and_made_up_times_are_none(tmp_path):
    frames = at(0, SNAPSHOT, flags=RECEIVE_TIME_UNKNOWN), at(1, b"{", flags=MALFORMED), at(2, payload(2), connection=0)
    (file,) = written(tmp_path, *frames).files
    assert (file.unknown_receive_times, file.malformed, file.connections) == (1, 1, [1])
    assert (file.first_received_ns, file.last_received_ns) == (None, NOON_NS + 2 * SECOND_NS)
    assert file.symbols[0].first_received_ns is None


def test_a_file_of_others_has_no_times_and_says_so(tmp_path):
    path = tmp_path / "theirs.ndjson"
    path.write_bytes(SNAPSHOT + b"\r\n\n" + payload(1) + b"\n \nnot json\n" + payload(2))
    summary = summarise(open_archive(path))
    (file,) = summary.files
    assert (file.lines, file.other_lines, file.has_receipts, file.day) == (4, 1, False, None)
    assert file.symbols[0].lines == 3
    assert summary.missing == [
        "theirs.ndjson: no receipts, so no receive times and no connections",
        "no day in the name: companions, if there are any, were not looked for",
    ]


def told_of(line):
    """Symbol and type of a line, or None, by decoding it."""
    try:
        message = json.loads(line)
        return message["data"][0]["symbol"], message["type"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None


LINES = st.one_of(
    st.sampled_from([SNAPSHOT, payload(1), payload(2), OTHER_KEYS, b"", b" ", b"{", b'{"channel":"heartbeat"}']),
    st.builds(
        lambda symbol, kind, rest: (
            b'{"channel":"level3","type":"%s","data":[{"symbol":"%s",%s}]}' % (kind, symbol, rest)
        ),
        st.sampled_from([b"A/B", b"BTC/USD", b"A" * 17, b"A" * 18, b"A" * 70, "\u20bf/USD".encode()]),
        st.sampled_from([b"update", b"snapshot"]),
        st.sampled_from([b'"checksum":1,"bids":[]', b'"bids":[{"order_id":"O"}]', b'"x":"\\n"']),
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(LINES, max_size=8),
    times=st.integers(1, 3),
    end=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
    pad=st.sampled_from([0, 200_000]),
)
def test_counting_by_beginnings_is_counting_by_decoding(tmp_path_factory, lines, times, end, is_ended, pad):
    """`pad` makes lines so long that blocks end between all of them."""
    lines = [line + b" " * pad if line.strip() else line for line in lines] * times
    path = tmp_path_factory.mktemp("counted") / "theirs.ndjson"
    path.write_bytes(end.join(lines) + (end if is_ended else b""))
    if not path.stat().st_size:
        return
    (file,) = summarise(open_archive(path)).files
    given = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    told = [told_of(line) for line in given]
    by_symbol = Counter(each[0] for each in told if each)
    sizes, snapshots = Counter(), Counter(each[0] for each in told if each and each[1] == "snapshot")
    for line, each in zip(given, told):
        sizes[each[0] if each else None] += len(line) + 1
    assert (file.lines, file.other_lines) == (len(given), told.count(None))
    found = {s.symbol: (s.lines, s.bytes, s.snapshots) for s in file.symbols}
    assert found == {name: (by_symbol[name], sizes[name], snapshots[name]) for name in by_symbol}


@pytest.mark.parametrize("rest", [b"", b"x" * 300_000])
@pytest.mark.parametrize("order", ["AAAA", "ABAB", "ABBA", "AABB", "BAAA", "AAAB"])
def test_the_first_and_the_last_time_of_each_symbol(tmp_path, order, rest):
    text = b'{"channel":"level3","type":"update","data":[{"symbol":"%s","x":"%s"}]}'
    frames = [at(second, text % (name.encode(), rest)) for second, name in enumerate(order)]
    (file,) = written(tmp_path, *frames).files
    for symbol in file.symbols:
        seconds = [second for second, name in enumerate(order) if name == symbol.symbol]
        expected = NOON_NS + seconds[0] * SECOND_NS, NOON_NS + seconds[-1] * SECOND_NS
        assert (symbol.first_received_ns, symbol.last_received_ns) == expected


def test_receipts_and_journal_tell_without_the_data(tmp_path):
    frames = at(0, SNAPSHOT), at(1, payload(1)), at(2, b"{", flags=MALFORMED)
    accepted = Acknowledged(at_ns=NOON_NS, connection=1, channel="level3", symbol="ETH/USD", depth=10)
    counted = written(tmp_path, *frames, records=[accepted])
    receipts = tmp_path / f"l3-{DAY}.receipts"
    read = []
    told = summarise(open_archive(tmp_path), counting=False, progress=read.append)
    (file,), (full,) = told.files, counted.files
    assert (file.is_counted, full.is_counted, read) == (False, True, [])
    assert (file.lines, file.bytes) == (full.lines, full.bytes) == (3, full.bytes)
    assert (file.first_received_ns, file.last_received_ns) == (full.first_received_ns, full.last_received_ns)
    assert [(s.symbol, s.lines, s.bytes, s.snapshots) for s in file.symbols] == [
        ("BTC/USD", None, None, None),
        ("ETH/USD", None, None, None),
    ]
    assert (told.connections, told.gaps, told.missing) == (counted.connections, counted.gaps, [])
    receipts.unlink()
    (file,) = summarise(open_archive(tmp_path), counting=False).files
    assert (file.is_counted, file.symbols[0].lines) == (True, 2)


def test_progress_tells_all_bytes(tmp_path):
    path = tmp_path / "theirs.ndjson"
    path.write_bytes(SNAPSHOT + b"\n")
    done = []
    summarise(open_archive(path), progress=done.append)
    assert sum(done) == path.stat().st_size


def test_an_empty_directory_is_no_recording(tmp_path):
    with pytest.raises(UsageError, match="no recording here"):
        summarise(open_archive(tmp_path))


class TestStory:
    """What the journal tells."""

    def told(self, directory, *records):
        return written(directory, frame(0, NOON_NS + SECOND_NS), records=records)

    def test_starts_stops_and_connections(self, tmp_path):
        summary = self.told(
            tmp_path,
            Connected(at_ns=NOON_NS + 1, connection=2, url="w", channel="trade", symbols=["A", "B"]),
            Connected(at_ns=NOON_NS + 2, connection=2, url="w", channel="trade", symbols=["A", "B"], restated=True),
            Disconnected(at_ns=NOON_NS + 9, connection=2, cause="crash", last_frame_ns=NOON_NS + 5),
            Disconnected(at_ns=NOON_NS + 9, connection=7, cause="network", last_frame_ns=0),
            Started(at_ns=NOON_NS, version="0", host="h", boot_id="b", pid=1, config={}, restated=True),
        )
        assert (summary.starts, summary.stops) == (1, 1)
        assert summary.connections == [
            Connection(1, "level3", 1, NOON_NS, NOON_NS + 10 * SECOND_NS, "stop"),
            Connection(2, "trade", 2, NOON_NS + 1, NOON_NS + 5, "crash"),
        ]

    def test_a_refusal_counts_until_the_symbol_is_accepted(self, tmp_path):
        def refused(symbol, at_ns):
            return Rejected(at_ns=at_ns, connection=1, channel="level3", symbol=symbol, error="no", retry_s=1.0)

        accepted = Acknowledged(at_ns=NOON_NS, connection=1, channel="level3", symbol="B", depth=10)
        records = refused("A", 1), refused("A", 2), refused("B", 3), accepted
        summary = self.told(tmp_path, *records)
        assert [(r.symbol, r.times, r.at_ns) for r in summary.rejected] == [("A", 2, 2)]

    def test_gaps_are_parted_from_the_end_of_the_recording(self, tmp_path):
        names = {"channel": "level3", "symbol": "BTC/USD"}
        summary = self.told(
            tmp_path,
            GapOpened(at_ns=NOON_NS, cause="network", left_ns=NOON_NS, **names),
            GapClosed(at_ns=NOON_NS, cause="network", left_ns=NOON_NS, right_ns=NOON_NS + SECOND_NS, **names),
            GapOpened(at_ns=NOON_NS, cause="stop", left_ns=NOON_NS + SECOND_NS, **names),
        )
        assert [(gap.cause, gap.seconds) for gap in summary.gaps] == [("network", 1.0)]
        assert [gap.cause for gap in summary.ends] == ["stop"]

    def test_missing_trades(self, tmp_path):
        gap = TradeGap(at_ns=NOON_NS, symbol="BTC/USD", last_id=4, next_id=9, connection=1)
        assert self.told(tmp_path, gap).trade_gaps == [gap]

    def test_a_day_without_a_journal_is_said(self, tmp_path):
        self.told(tmp_path, Stopped(at_ns=NOON_NS, reason="x"))
        (tmp_path / f"journal-{DAY}.ndjson").unlink()
        summary = summarise(open_archive(tmp_path))
        assert summary.missing == [f"journal-{DAY}.ndjson: no journal, so nothing is known of gaps and their causes"]
