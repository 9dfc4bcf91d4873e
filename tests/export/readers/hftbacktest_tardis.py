"""Run in hftbacktest's environment: its Tardis converter over an incremental_book_L2 file. Prints a summary."""

import contextlib
import io
import json
import sys

from hftbacktest.data.utils import tardis

with contextlib.redirect_stdout(io.StringIO()):
    data = tardis.convert([sys.argv[1]], buffer_size=1_000_000, ss_buffer_size=100_000)
print(json.dumps({"rows": len(data), "kinds": sorted({int(ev) & 0xFF for ev in data["ev"]})}))
