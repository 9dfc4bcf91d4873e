"""JSON whose numbers keep the text that they were sent as: 90000.0 does not become 90000."""

from __future__ import annotations

import json
from typing import Any, Callable, Optional

__all__ = ["read_exact", "write_exact"]


class _Number(str):
    """A number's text as sent."""

    __slots__ = ()


def read_exact(text: str, pairs: Optional[Callable[[list[tuple[str, Any]]], Any]] = None) -> Any:
    """The value of a JSON text; `pairs` makes an object of its keys and values (None: a dictionary, in their order)."""
    return json.loads(text, parse_float=_Number, parse_int=_Number, object_pairs_hook=pairs)


def write_exact(value: object) -> str:
    """The JSON text of such a value, without white space."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{write_exact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_exact, value)) + "]"
    return json.dumps(value)
