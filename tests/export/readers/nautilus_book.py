"""Run in NautilusTrader's environment: its own level 3 book over an exported catalog.

Arguments: catalog, instrument id. Prints [ts_init, bid, size, ask, size] after each message, as JSON.
"""

import json
import sys
from decimal import Decimal

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.persistence.catalog import ParquetDataCatalog


def main() -> None:
    catalog, instrument = ParquetDataCatalog(sys.argv[1]), sys.argv[2]
    book = OrderBook(InstrumentId.from_str(instrument), BookType.L3_MBO)
    tops = []
    for delta in catalog.order_book_deltas(instrument_ids=[instrument]):
        book.apply_delta(delta)
        if delta.flags & 128:
            bid, ask = book.best_bid_price(), book.best_ask_price()
            sizes = [sum(Decimal(str(order.size)) for order in side()[0].orders()) for side in (book.bids, book.asks)]
            tops.append([delta.ts_init, str(bid), str(sizes[0]), str(ask), str(sizes[1])])
    print(json.dumps(tops))


main()
