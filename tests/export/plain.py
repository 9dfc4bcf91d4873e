"""Arrow tables as plain Python values, times as integer nanoseconds: they need no pandas, and lose nothing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def plain(table: pa.Table) -> list[dict[str, Any]]:
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table.to_pylist()


def columns(table: pa.Table) -> list[tuple[str, pa.DataType]]:
    """Names and types; words by what they are, since older readers number them otherwise."""
    types = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    return list(zip(table.schema.names, types))
