"""Run in NautilusTrader's environment: its Tardis loader over exported CSV files.

Arguments: incremental_book_L2 file, book_snapshot_25 file, price precision, size precision. Prints both as JSON.
"""

import json
import sys

from nautilus_trader.adapters.tardis.loaders import TardisCSVDataLoader
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId


def main() -> None:
    changes, snapshots, price, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    instrument = InstrumentId.from_str("BTC/USD.KRAKEN")
    loader = TardisCSVDataLoader(price_precision=price, size_precision=size, instrument_id=instrument)
    book = OrderBook(instrument, BookType.L2_MBP)
    tops = []
    for delta in loader.load_deltas(changes):
        book.apply_delta(delta)
        if delta.flags & 128:
            tops.append([delta.ts_init, float(str(book.best_bid_price())), float(str(book.best_ask_price()))])
    depths = [
        [
            d.ts_init,
            [[float(str(o.price)), float(str(o.size))] for o in d.bids],
            [[float(str(o.price)), float(str(o.size))] for o in d.asks],
        ]
        for d in loader.load_depth10(snapshots, levels=25)
    ]
    print(json.dumps({"tops": tops, "depths": depths}))


main()
