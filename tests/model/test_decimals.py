"""Wire text to scaled integers and back, held against the standard library's fractions."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.decimals import MAX_DIGITS, TooManyDecimals, decimals_in, format_scaled, parse_scaled

PRECISIONS = st.integers(0, 18)


@st.composite
def wire_texts(draw) -> str:
    """A number as recorders and exchanges write them: with a point, an exponent, zeros around, quoted or not."""
    text = draw(st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
    return draw(st.sampled_from([text, f'"{text}"']))


def fraction_of(text: str) -> Fraction:
    # Fraction takes no point without digits behind it before Python 3.12
    return Fraction(re.sub(r"\.(?!\d)", "", text.strip('"')))


@given(wire_texts(), PRECISIONS)
def test_a_number_is_read_exactly_or_refused(text, precision):
    exact = fraction_of(text) * 10**precision
    fits = exact.denominator == 1
    try:
        scaled = parse_scaled(text.encode(), precision)
    except TooManyDecimals:
        assert not fits
    except ValueError:
        assert exact >= 10**MAX_DIGITS or not fits
    else:
        assert scaled == exact


@given(st.integers(0, 10**MAX_DIGITS - 1), PRECISIONS)
def test_what_is_written_is_read_back(value, precision):
    text = format_scaled(value, precision)
    assert fraction_of(text) * 10**precision == value
    if len(text.replace(".", "")) <= MAX_DIGITS:
        assert parse_scaled(text.encode(), precision) == value


@given(wire_texts())
def test_decimals_written_hold_the_number_and_one_less_than_needed_does_not(text):
    written, needed = decimals_in(text.encode())
    assert 0 <= needed <= written
    number = fraction_of(text)
    assert (number * 10**needed).denominator == 1
    assert not needed or (number * 10 ** (needed - 1)).denominator != 1


@pytest.mark.parametrize(
    ("text", "decimals"),
    [(b"1E-8", (8, 8)), (b"1.250", (3, 2)), (b"100", (0, 0)), (b"0.000", (3, 0)), (b'"7.0"', (1, 0))],
)
def test_decimals_by_example(text, decimals):
    assert decimals_in(text) == decimals


@pytest.mark.parametrize(
    "text",
    [b"", b"-1", b"+1", b".5", b"1,5", b"0x1", b"NaN", b"Infinity", b"1e", b"1e1000", b"1 ", "٣".encode(), b"null"],
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a price or quantity"):
        parse_scaled(text, 8)


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"1" * (MAX_DIGITS + 1), "more than 38 digits"), (b"1e99", "out of range"), (b"1e30", "out of range")],
)
def test_a_number_without_bound_is_refused_before_it_grows(text, why):
    with pytest.raises(ValueError, match=why):
        parse_scaled(text, 18)


def test_negative_numbers_are_written_for_differences():
    assert format_scaled(-5, 2) == "-0.05"
    assert format_scaled(-12345, 2) == "-123.45"
    assert format_scaled(7, 0) == "7"
