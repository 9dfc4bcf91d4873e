"""Parquet files with their provenance, published when they are complete.

Nothing in them depends on when, where or by how many processes they were made: the same source gives the same bytes.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kraken_l3._version import __version__
from kraken_l3.export.storage import Output

__all__ = ["COMPRESSION_LEVEL", "ParquetOutput"]

#: Measured on order events: as small as level 3, and a fifth faster.
COMPRESSION_LEVEL = 1
#: Columns that hardly move from row to row: half the time and a fraction of the room of plain numbers.
_DELTA = ("ts_recv", "timestamp", "line", "price")
#: Columns of few values.
_FEW = ("level", "queue_position", "flags")
#: Columns whose smallest and largest value are much the same in every row group, and let no reader pass one over.
_NO_STATISTICS = ("order_id", "side", "action", "classification")
#: Rows that the writer takes at a time, a whole row group: its own 1,024 cost a fifth more time.
_BATCH_ROWS = 131_072


class ParquetOutput:
    """One Parquet file in the making.

    Args:
        output: where it goes.
        schema: of its rows.
        description: what stands in its metadata from the start, each as "kraken_l3.<key>".
    """

    def __init__(self, output: Output, schema: pa.Schema, description: dict[str, str]) -> None:
        self._output = output
        few = [f.name for f in schema if pa.types.is_dictionary(f.type) or pa.types.is_int8(f.type) or f.name in _FEW]
        named = {f"kraken_l3.{key}": value for key, value in description.items()}
        self.rows = 0
        try:  # the head of the file is written at once, which may fail
            self._writer = pq.ParquetWriter(
                output.file,
                schema.with_metadata(named),
                version="2.6",
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                use_dictionary=few,
                column_encoding={name: "DELTA_BINARY_PACKED" for name in schema.names if name in _DELTA},
                write_statistics=[name for name in schema.names if name not in _NO_STATISTICS],
                write_batch_size=_BATCH_ROWS,
            )
        except BaseException:
            output.abandon()
            raise

    def write(self, table: pa.Table) -> None:
        """Add a row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self.rows += len(table)

    def publish(self, **description: Any) -> int:
        """Add what is known only now (as JSON unless text), and make the file appear; gives its size."""
        texts = {key: value if isinstance(value, str) else _json(value) for key, value in description.items()}
        texts["program"] = f"kraken-l3-recorder {__version__}"
        self._writer.add_key_value_metadata({f"kraken_l3.{key}": text for key, text in sorted(texts.items())})
        self._writer.close()
        return self._output.publish()

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError, pa.ArrowException):  # it writes a footer, which may fail as the rows did
            self._writer.close()
        self._output.abandon()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
