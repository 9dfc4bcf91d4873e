"""The server's WebSocket frames, read back by another implementation (websockets)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from kraken_l3.exchange.wire import BINARY, CLOSE, PONG, TEXT, close_frame, fragments, frame


def read(data):
    """All frames in some bytes."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while reader.buffer:
        steps = Frame.parse(reader.read_exact, mask=False)
        with pytest.raises(StopIteration) as done:
            next(steps)
        found.append(done.value.value)
    return found


@given(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]), st.sampled_from([TEXT, BINARY]))
def test_every_length_form(size, opcode):
    (one,) = read(frame(b"x" * size, opcode))
    assert (one.opcode, one.data, one.fin, one.rsv1) == (opcode, b"x" * size, True, False)


def test_a_pong_and_a_reserved_bit():
    assert read(frame(b"hello", PONG))[0].opcode is Opcode.PONG
    with pytest.raises(ProtocolError, match="reserved bits"):
        read(frame(b"hello", rsv=0x40))


@given(st.binary(max_size=300), st.integers(-1, 20))
def test_fragments_make_the_message_again(payload, pieces):
    first, *rest = read(fragments(payload, pieces))
    data = [f for f in [first, *rest] if f.opcode is not Opcode.PING]
    assert b"".join(bytes(f.data) for f in data) == payload
    assert [f.fin for f in data] == [False] * (len(data) - 1) + [True]
    assert [f.opcode for f in data] == [Opcode.TEXT] + [Opcode.CONT] * (len(data) - 1)
    assert len(data) <= max(1, pieces)
    assert len(rest) == (0 if len(data) == 1 else len(data))


def test_a_close_reason_is_cut_to_what_a_control_frame_holds():
    (one,) = read(close_frame(1001, "x" * 500))
    assert one.opcode == CLOSE
    assert struct.unpack("!H", one.data[:2]) == (1001,)
    assert one.data[2:] == b"x" * 123
