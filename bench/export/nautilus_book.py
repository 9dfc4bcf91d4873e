"""NautilusTrader's level 3 book fed with an exported catalog: python nautilus_book.py CATALOG INSTRUMENT. Prints JSON.

Loading is not counted: only applying the deltas, and reading the best prices after each message.
"""

import json
import sys
import time

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.persistence.catalog import ParquetDataCatalog

deltas = ParquetDataCatalog(sys.argv[1]).order_book_deltas(instrument_ids=[sys.argv[2]])
book = OrderBook(InstrumentId.from_str(sys.argv[2]), BookType.L3_MBO)
start = time.perf_counter()
messages = 0
for delta in deltas:
    book.apply_delta(delta)
    if delta.flags & 128:
        book.best_bid_price(), book.best_ask_price()
        messages += 1
print(json.dumps({"seconds": time.perf_counter() - start, "rows": messages}))
