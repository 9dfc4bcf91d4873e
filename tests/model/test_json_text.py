"""Whatever is wrong with a text, it is one error."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json

OBJECT = msgspec.json.Decoder(dict)


def test_what_is_right_is_decoded():
    assert decode_json(OBJECT, b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'{"a": 1', b'{"a": "\xff"}', b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": 1e999999}'],
)
def test_what_is_wrong_is_one_error(text):
    with pytest.raises(MalformedMessage, match=r"^line 3: not the JSON expected "):
        decode_json(OBJECT, text, where="line 3")


@given(st.binary())
def test_any_bytes(text):
    with contextlib.suppress(MalformedMessage):
        assert isinstance(decode_json(OBJECT, text), dict)
