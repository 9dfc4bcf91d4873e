"""Run in NautilusTrader's environment: the trades and instruments of an exported catalog, by its own reader.

Arguments: catalog, instrument id. Prints the trades as [trade id, price, size, aggressor, ts_event, ts_init], and the
instruments, as JSON.
"""

import json
import sys

from nautilus_trader.persistence.catalog import ParquetDataCatalog


def main() -> None:
    catalog, instrument = ParquetDataCatalog(sys.argv[1]), sys.argv[2]
    trades = [
        [str(t.trade_id), str(t.price), str(t.size), t.aggressor_side.name, t.ts_event, t.ts_init]
        for t in catalog.trade_ticks(instrument_ids=[instrument])
    ]
    pairs = [type(pair).to_dict(pair) for pair in catalog.instruments(instrument_ids=[instrument])]
    print(json.dumps({"trades": trades, "pairs": pairs}, default=str))


main()
