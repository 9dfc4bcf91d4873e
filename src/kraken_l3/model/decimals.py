"""Exact decimals: wire text on one side, scaled integers on the other, never a float in between."""

from __future__ import annotations

import re

__all__ = ["MAX_DIGITS", "TooManyDecimals", "decimals_in", "exact", "format_scaled", "parse_scaled"]

#: No real price or quantity comes near; a longer number is refused instead of growing memory.
MAX_DIGITS = 38


class TooManyDecimals(ValueError):
    """A number has nonzero digits beyond the precision it is read with."""


_NUMBER = re.compile(rb'"?(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?"?')


def _parts(text: bytes) -> tuple[bytes, int]:
    """Digits without the point, and how many of them stand behind it (after applying the exponent)."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a price or quantity: {text[:48]!r}")
    whole, fraction, exponent = match.groups(default=b"")
    digits = whole + fraction
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits: {text[:48]!r}")
    return digits, len(fraction) - int(exponent or 0)


def parse_scaled(text: bytes, precision: int) -> int:
    """The number times 10**precision, exactly. Accepts exponents and quoted numbers (both were seen on the wire).

    Raises:
        TooManyDecimals: nonzero digits beyond the precision.
        ValueError: not a number that is >= 0, or over `MAX_DIGITS`.
    """
    digits, scale = _parts(text)
    value = int(digits)
    shift = precision - scale
    if abs(shift) > 2 * MAX_DIGITS and value:
        raise ValueError(f"out of range: {text[:48]!r}")
    if shift >= 0:
        result = value * 10**shift if value else 0
        if result >= 10**MAX_DIGITS:
            raise ValueError(f"out of range: {text[:48]!r}")
        return result
    result, rest = divmod(value, 10**-shift) if value else (0, 0)
    if rest:
        raise TooManyDecimals(f"{text[:48]!r} has more than {precision} decimals")
    return result


def decimals_in(text: bytes) -> tuple[int, int]:
    """How many decimals the text writes, trailing zeros included, and how few would do.

    An exponent moves the point: b"1E-8" has 8 of both, b"1.250" has 3 and 2.

    Raises:
        ValueError: as `parse_scaled`.
    """
    digits, scale = _parts(text)
    significant = digits.rstrip(b"0")
    needed = scale - (len(digits) - len(significant)) if significant else 0
    return max(scale, 0), max(needed, 0)


def format_scaled(value: int, precision: int) -> str:
    """The inverse of `parse_scaled`, with every decimal written out: format_scaled(5, 2) is "0.05"."""
    if precision == 0:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).rjust(precision + 1, "0")
    return f"{sign}{digits[:-precision]}.{digits[-precision:]}"


def exact(text: bytes) -> tuple[int, int]:
    """The number as digits and how many of them stand behind the point, without trailing zeros.

    Two texts give the same where they are the same number: b"0.50", b"5e-1" and b'"0.5"' are (5, 1).

    Raises:
        ValueError: as `parse_scaled`.
    """
    digits, scale = _parts(text)
    significant = digits.rstrip(b"0")
    return (int(significant), scale - (len(digits) - len(significant))) if significant else (0, 0)
