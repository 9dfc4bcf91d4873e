"""What is held while another recorder writes: bounded, with each symbol's newest message."""

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.journal import (
    Acknowledged,
    Alive,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    HandedOver,
    JournalState,
)
from kraken_l3.archive.last_messages import LastMessages
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.held_archive import HeldArchive
from kraken_l3.capture.held_frames import FRAME_OVERHEAD_BYTES, HeldFrames
from kraken_l3.clock import SystemClock
from kraken_l3.model.frames import Frame

SYMBOLS = ("A/USD", "B/USD", "C/USD")


def frame(number, symbol, kind="update"):
    text = f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"{symbol}","n":{number}}}]}}'
    return Frame(text.encode(), number, number, 1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=60), st.integers(0, 30))
def test_with_little_memory_each_symbol_keeps_its_newest_in_a_row(steps, room):
    held, all_frames = HeldFrames(), {symbol: [] for symbol in SYMBOLS}
    limit = room * (FRAME_OVERHEAD_BYTES + 80)
    for number, (which, kind) in enumerate(steps):
        symbol = SYMBOLS[which]
        each = frame(number, symbol, "snapshot" if kind == 0 else "update")
        if kind == 0:
            all_frames[symbol].clear()  # its line begins anew
        all_frames[symbol].append(each)
        held.put("level3", each)
        held.trim(limit)
    kept = held.by_key()
    for symbol, frames in all_frames.items():
        mine = kept.get(("level3", symbol), [])
        assert mine == frames[len(frames) - len(mine) :]
        assert bool(mine) == bool(frames)
    in_order = [each for _, run in held.runs({}) for each in run]
    assert in_order == sorted(in_order, key=lambda each: each.recv_ns)


def test_frames_come_in_runs_of_a_stream_without_those_that_are_archived():
    held = HeldFrames()
    keys = [("level3", "A/USD"), ("trade", "A/USD"), ("level3", "A/USD"), ("level3", "B/USD")]
    for number, (stream, symbol) in enumerate(keys):
        held.put(stream, frame(number, symbol))
    runs = [(stream, [each.recv_ns for each in run]) for stream, run in held.runs({("level3", "A/USD"): 1})]
    assert runs == [("trade", [1]), ("level3", [2, 3])]


def test_records_that_say_something_later_are_kept_and_gaps_while_they_are_open():
    held = HeldFrames()
    gap = {"channel": "level3", "cause": "network", "left_ns": 5, "at_ns": 6}
    ack = Acknowledged(at_ns=1, connection=1, channel="trade", symbol="A/USD")
    gaps = [GapOpened(symbol=symbol, **gap) for symbol in ("A/USD", "B/USD")]
    for record in (ack, Alive(at_ns=2, last_frame_ns={}), *gaps):
        held.note(record)
    held.note(GapClosed(symbol="A/USD", right_ns=9, **gap))
    assert held.records == [ack]
    assert held.acknowledged == {"A/USD": ack}
    assert [key[1] for key in held.gaps] == ["B/USD"]
    held.put("level3", frame(1, "B/USD", "snapshot"))
    assert held.gaps == {}


def test_a_subscription_that_was_handed_over_outlives_its_first_connection():
    held = HeldFrames()
    for number in (1, 2):
        held.note(Connected(at_ns=1, connection=number, url="wss://x", channel="level3", symbols=["A/USD"]))
    held.note(Acknowledged(at_ns=2, connection=1, channel="level3", symbol="A/USD", depth=10))
    held.note(HandedOver(at_ns=3, channel="level3", symbol="A/USD", connection=2, matched="bytes", previous=1))
    held.note(Disconnected(at_ns=4, connection=1, cause="network"))
    assert not any(isinstance(record, HandedOver) for record in held.records)
    subscription = JournalState(held.records).subscriptions["level3", "A/USD"]
    assert (subscription.connection, subscription.depth) == (2, 10)


def trade(number, at_ns):
    text = (
        '{"channel":"trade","type":"update","data":[{"symbol":"A/USD","side":"buy","price":1.0,"qty":1.0,'
        f'"ord_type":"market","trade_id":{number},"timestamp":"2026-11-27T00:00:00.000000Z"}}]}}'
    )
    return Frame(text.encode(), at_ns, at_ns, 1)


def test_trades_that_had_no_room_are_in_the_gap(tmp_path):
    now_ns = SystemClock().wall_ns()
    writer = ArchiveWriter.open(tmp_path, clock=SystemClock())
    writer.journal(GapOpened(at_ns=now_ns, channel="trade", symbol="A/USD", cause="crash", left_ns=now_ns))
    held = HeldArchive(1_000, SystemClock(), limit_bytes=0)
    held.journal(Acknowledged(at_ns=now_ns + 1, connection=1, channel="trade", symbol="A/USD"))
    for number in (6, 7, 8):
        held.append("trade", [trade(number, now_ns + number)])  # only the newest stays
    results = []
    held.spliced = results.append
    held.open(writer, LastMessages({}, []), LastMessages({"A/USD": trade(5, now_ns)}, []))
    held.flush()
    held.close()
    assert results[0].gaps == []
    archive = open_archive(tmp_path)
    (closed,) = [each for day in archive.days for each in archive.journal(day) if isinstance(each, GapClosed)]
    assert closed.right_ns == now_ns + 8
