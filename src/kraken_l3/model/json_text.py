"""JSON that others wrote: decoded, or one error of the tree, whatever is wrong with it."""

from __future__ import annotations

from typing import TypeVar, Union

import msgspec

from kraken_l3.errors import MalformedMessage

__all__ = ["decode_json"]

T = TypeVar("T")


def decode_json(decoder: msgspec.json.Decoder[T], text: Union[bytes, str, msgspec.Raw], *, where: str = "") -> T:
    """Decode JSON that cannot be trusted.

    A decoder says in several ways that a text is no good: `msgspec.DecodeError`; `UnicodeDecodeError` for bytes that
    are not UTF-8; `RecursionError` for brackets nested too deep; `OverflowError` and other `ValueError` for numbers and
    dates out of range. Who catches the first alone is brought down by the others.

    Args:
        decoder: what the text must be.
        text: JSON.
        where: where it stands, for the error.

    Raises:
        MalformedMessage: it is not that.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedMessage(f"not the JSON expected ({error})", where=where) from error
