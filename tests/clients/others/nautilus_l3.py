"""NautilusTrader's own Kraken adapter, with checksum validation on: a node whose actor subscribes to level3 books.

    nautilus_l3.py SECONDS SYMBOL...       address and key from the environment, as `kraken-l3 simulate` prints them

Prints one JSON object: for each symbol the deltas and snapshots (clears) that reached the actor.
"""

import json
import os
import sys

from nautilus_trader.adapters.kraken import KRAKEN, KrakenDataClientConfig, KrakenLiveDataClientFactory
from nautilus_trader.common.actor import Actor
from nautilus_trader.config import ActorConfig, InstrumentProviderConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import BookAction, BookType
from nautilus_trader.model.identifiers import InstrumentId, TraderId

seconds, symbols = float(sys.argv[1]), sys.argv[2:]


class Counter(Actor):
    def __init__(self):
        super().__init__(ActorConfig())
        self.seen = {symbol: {"deltas": 0, "clears": 0} for symbol in symbols}

    def on_start(self):
        for symbol in symbols:
            identifier = InstrumentId.from_str(f"{symbol}.KRAKEN")
            self.subscribe_order_book_deltas(identifier, book_type=BookType.L3_MBO, depth=10)

    def on_order_book_deltas(self, deltas):
        seen = self.seen[deltas.instrument_id.symbol.value]
        seen["deltas"] += len(deltas.deltas)
        seen["clears"] += sum(delta.action == BookAction.CLEAR for delta in deltas.deltas)


settings = KrakenDataClientConfig(
    api_key=os.environ["KRAKEN_API_KEY"],
    api_secret=os.environ["KRAKEN_API_SECRET"],
    base_url_http_spot=os.environ["KRAKEN_L3_REST_URL"],
    base_url_ws_spot=os.environ["KRAKEN_L3_PUBLIC_WS_URL"],
    base_url_ws_l3_spot=os.environ["KRAKEN_L3_WS_URL"],
    instrument_provider=InstrumentProviderConfig(load_all=True),
    validate_l3_checksum=True,
)
node = TradingNode(
    TradingNodeConfig(
        trader_id=TraderId("CLIENT-001"),
        logging=LoggingConfig(log_level="WARNING", log_colors=False),
        data_clients={KRAKEN: settings},
        timeout_connection=20.0,
        timeout_disconnection=2.0,
        timeout_post_stop=0.5,
    )
)
counter = Counter()
node.trader.add_actor(counter)
node.add_data_client_factory(KRAKEN, KrakenLiveDataClientFactory)
node.build()
node.kernel.loop.call_later(seconds, node.stop)
node.run()
node.dispose()
print(json.dumps(counter.seen))
