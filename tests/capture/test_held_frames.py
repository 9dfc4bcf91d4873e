"""What is held while another recorder writes: bounded, with each symbol's newest message."""

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.journal import Acknowledged, Alive, GapClosed, GapOpened
from kraken_l3.capture.held_frames import FRAME_OVERHEAD_BYTES, HeldFrames
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
