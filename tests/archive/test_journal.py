"""Journal records: what is one, what is not, and what holds after them."""

from typing import get_args

import msgspec
import pytest
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
    Instruments,
    JournalState,
    Record,
    Started,
    decode_record,
    decode_records,
    encode_record,
    is_damaged,
)
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.instruments import Instrument

DEEP = b"[" * 100_000 + b"]" * 100_000  # deeper than any Python follows: 3.13 takes several thousand


LINES = [
    b'{"kind":"start","at_ns":5,"version":"1","host":"h","boot_id":"b","pid":7,"config":{"symbols":["A/USD"]}}',
    b'{"kind":"connect","at_ns":5,"mono_ns":1,"connection":3,"url":"wss://x","channel":"level3","symbols":["A/USD"]}',
    b'{"kind":"disconnect","at_ns":5,"connection":3,"cause":"network","close_code":1006,"last_frame_ns":4}',
    b'{"kind":"control","at_ns":5,"connection":3,"frame":"{}"}',
    b'{"kind":"unrecognised","at_ns":5,"connection":3,"size":2,"count":1,"frame":"\xc2\x80"}',
    b'{"kind":"ack","at_ns":5,"restated":true,"connection":3,"channel":"level3","symbol":"A/USD","depth":10}',
    b'{"kind":"rejected","at_ns":5,"connection":3,"channel":"level3","symbol":"A/USD","error":"no","retry_s":1.5}',
    b'{"kind":"gap_opened","at_ns":5,"channel":"level3","symbol":"A/USD","cause":"network","left_ns":4}',
    b'{"kind":"gap_closed","at_ns":5,"channel":"level3","symbol":"A/USD","cause":"stop","left_ns":4,"right_ns":6}',
    b'{"kind":"handover","at_ns":5,"channel":"level3","symbol":"A/USD","connection":3,"matched":"bytes","bridged":2}',
    b'{"kind":"difference","at_ns":5,"symbol":"A/USD","outcome":"lost","leader":3,"follower":4,"leader_only":0,'
    b'"follower_only":2,"kept":4}',
    b'{"kind":"out_of_step","at_ns":5,"symbol":"A/USD","connection":4,"reason":"it lags"}',
    b'{"kind":"trade_gap","at_ns":5,"symbol":"A/USD","last_id":1,"next_id":5,"connection":3}',
    b'{"kind":"finding","at_ns":5,"symbol":"A/USD","what":"mismatch","line":1,"offset":9,"expected":2,"computed":3}',
    b'{"kind":"resync","at_ns":5,"symbol":"A/USD","cause":"mismatch","attempt":1,"connection":3}',
    b'{"kind":"instruments","at_ns":5,"instruments":[{"symbol":"A/USD","price_precision":1,"qty_precision":8,'
    b'"price_increment":"0.1","qty_increment":null,"status":"online"}]}',
    b'{"kind":"clock_step","at_ns":5,"step_ns":-7}',
    b'{"kind":"sync","at_ns":5,"offsets":{"l3-2026-11-22.ndjson":10},"lines":{"l3-2026-11-22.ndjson":1}}',
    b'{"kind":"alive","at_ns":5,"last_frame_ns":{"3":4},"lines":9}',
    b'{"kind":"disk","at_ns":5,"state":"full","free_bytes":0}',
    b'{"kind":"recovery","at_ns":5,"file":"l3-2026-11-22.ndjson","torn":[[1,2,"torn"]],"torn_file":"x"}',
    b'{"kind":"rotated","at_ns":5,"next_day":"2026-11-23"}',
    b'{"kind":"stop","at_ns":5,"reason":"SIGTERM"}',
    b'{"kind":"source","at_ns":5,"source":1,"name":"data","read":3,"lines":2,"clock_ahead_ns":-7}',
    b'{"kind":"repaired","at_ns":5,"symbol":"A/USD","cause":"network","left_ns":4,"right_ns":6,"source":0,'
    b'"taken_from":1,"lines":9,"proof":"book"}',
    b'{"kind":"conflict","at_ns":5,"channel":"level3","symbol":"A/USD","source":0,"other":1,"msg_ns":4}',
    b'{"kind":"not_spliced","at_ns":5,"symbol":"A/USD","source":1,"beside":0,"reason":"another depth"}',
    b'{"kind":"aligned_by_content","at_ns":5,"symbol":"A/USD","source":1,"beside":0}',
]


def test_every_kind_is_written_as_the_format_says():
    assert [encode_record(decode_record(line)) for line in LINES] == LINES
    assert {type(decode_record(line)) for line in LINES} == set(get_args(Record))
    assert not any(is_damaged(line) for line in LINES)


@given(line=st.sampled_from(LINES), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_one_wrong_byte_is_damage_or_another_record(line, at, byte):
    changed = line[:at] + bytes([byte]) + line[at + 1 :]
    try:
        record = decode_record(changed)
    except MalformedMessage:
        return
    assert not is_damaged(changed)
    JournalState([record]).restate()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"kind":"rotated","at_ns":1,"next_day":"never"}',
        b'{"kind":"rotated","at_ns":1,"next_day":"2026-02-30"}',
        b'{"kind":"start","at_ns":1,"version":"\xff","host":"","boot_id":"","pid":1,"config":{}}',
        b'{"kind":"start","at_ns":1,"version":"","host":"","boot_id":"","pid":1,"config":{"a":%s}}' % DEEP,
        b'{"kind":"stop","at_ns":1}',
        b'{"kind":"stop","at_ns":9223372036854775808,"reason":"x"}',
        b'{"kind":"connect","at_ns":1,"connection":4294967296,"url":"","channel":"level3","symbols":[]}',
        b'{"kind":"ack","at_ns":1,"connection":-1,"channel":"level3","symbol":"BTC/USD"}',
    ],
)
def test_what_is_no_record(line):
    with pytest.raises(MalformedMessage):
        decode_record(line)


@pytest.mark.parametrize("line", [b"", b"[]", b'{"kind":1}', b'{"kind":"stop"}', b'{"kind":"moon","x":%s}' % DEEP])
def test_damage(line):
    assert is_damaged(line)


@pytest.mark.parametrize("line", [b'{"kind":"moon"}', b'{"kind":"stop","at_ns":1,"reason":"","mood":"good"}', b"{}"])
def test_a_later_version_may_write_more(line):
    assert not is_damaged(line)


def start(**more):
    return Started(at_ns=5, version="0", host="h", boot_id="b", pid=1, config={}, **more)


def connect(number, at_ns=6):
    return Connected(at_ns=at_ns, connection=number, url="x", channel="level3", symbols=["A/USD", "B/USD"])


def ack(number, symbol):
    return Acknowledged(at_ns=7, connection=number, channel="level3", symbol=symbol, depth=10)


def gap(symbol, cause, left_ns):
    return GapOpened(at_ns=8, channel="level3", symbol=symbol, cause=cause, left_ns=left_ns)


class TestState:
    def test_the_first_cause_and_the_first_edge_count(self):
        state = JournalState([gap("A/USD", "network", 1), gap("A/USD", "crash", 2)])
        assert state.gaps["level3", "A/USD"] == gap("A/USD", "network", 1)
        state.apply(GapClosed(at_ns=9, channel="level3", symbol="A/USD", cause="network", left_ns=1, right_ns=9))
        assert state.gaps == {}

    def test_subscriptions_end_with_their_connection(self):
        state = JournalState([connect(1), connect(2), ack(1, "A/USD"), ack(2, "B/USD")])
        state.apply(Disconnected(at_ns=9, connection=1, cause="network"))
        assert set(state.connections) == {2}
        assert set(state.subscriptions) == {("level3", "B/USD")}

    def test_a_subscription_belongs_to_the_connection_that_leads(self):
        over = HandedOver(at_ns=8, channel="level3", symbol="A/USD", connection=2, matched="bytes", previous=1)
        state = JournalState([connect(1), connect(2), ack(1, "A/USD"), over])
        state.apply(Disconnected(at_ns=9, connection=1, cause="network"))
        assert state.subscriptions["level3", "A/USD"].connection == 2

    def test_a_start_ends_everything_but_gaps_and_instruments(self):
        known = Instruments(at_ns=8, instruments=[Instrument(symbol="A/USD", price_precision=1, qty_precision=8)])
        state = JournalState([connect(1), ack(1, "A/USD"), gap("A/USD", "stop", 3), known, start()])
        assert state.connections == state.subscriptions == {}
        assert set(state.gaps) == {("level3", "A/USD")}
        assert set(state.instruments) == {"A/USD"}

    def test_what_is_restated_holds_alone_and_restates_the_same(self):
        known = Instruments(at_ns=5, instruments=[Instrument(symbol="A/USD", price_precision=1, qty_precision=8)])
        records = [start(), connect(1), ack(1, "A/USD"), gap("B/USD", "mismatch", 3), known]
        records.append(Alive(at_ns=9, last_frame_ns={1: 9}))
        restated = JournalState(records).restate()
        assert all(record.restated for record in restated)
        assert JournalState(restated).restate() == restated
        assert [msgspec.structs.replace(record, restated=False) for record in restated[:3]] == records[:3]


PIECES = [
    *LINES[:3],
    LINES[0] + LINES[1],
    LINES[0] + b" ",
    b" " + LINES[0],
    LINES[3].replace(b",", b",\n", 1),
    b"",
    b"{",
    b"{}",
]


@given(pieces=st.lists(st.sampled_from([*LINES, *PIECES]), max_size=6), end=st.sampled_from([b"\n", b"", b"\r\n"]))
def test_many_lines_are_decoded_at_once_only_where_each_is_a_record(pieces, end):
    text = b"\n".join(pieces) + end
    records = decode_records(text)
    if records is not None:
        assert text.endswith(b"\n")
        assert records == [decode_record(line) for line in text[:-1].split(b"\n")]


def test_many_records_are_decoded_at_once():
    assert decode_records(b"\n".join(LINES) + b"\n") == [decode_record(line) for line in LINES]
