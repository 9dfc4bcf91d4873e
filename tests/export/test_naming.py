"""Symbols as file names, and back."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.export.naming import escape_symbol, part_path, unescape_symbol

ANY_TEXT = st.text(st.characters(), max_size=40)  # surrogates too: JSON can name half a character
ALLOWED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~")


@given(ANY_TEXT)
def test_names_lead_back_to_symbols(symbol):
    name = escape_symbol(symbol)
    assert name
    assert not set(name) - ALLOWED
    if "~~" not in name:
        assert unescape_symbol(name) == symbol


@given(ANY_TEXT, ANY_TEXT)
def test_two_symbols_have_two_names_where_case_does_not_count(one, other):
    assert (escape_symbol(one).lower() == escape_symbol(other).lower()) == (one == other)


def test_the_usual_name_is_the_usual_one():
    assert escape_symbol("BTC/USD") == "BTC-USD"
    assert escape_symbol("A-B/USD") == "A~2DB-USD"
    assert escape_symbol("AAPLx/USD") == "AAPL~78-USD"
    assert escape_symbol("") == "~"


def test_a_name_fits_every_file_system_and_stays_unique():
    long = ["A" * 100_000, "A" * 99_999 + "B", "ä" * 5_000]
    names = [escape_symbol(symbol) for symbol in long]
    assert max(map(len, names)) < 160
    assert len(set(names)) == len(names)
    for name in names:
        with pytest.raises(ValueError, match="too long"):
            unescape_symbol(name)


def test_where_a_part_lies():
    day = dt.date(2026, 11, 22)
    assert part_path("events", "BTC/USD", day) == "events/symbol=BTC-USD/date=2026-11-22/part-0.parquet"
    assert part_path("events", "X", None) == "events/symbol=X/date=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
