"""The public pages that checks cite."""

from __future__ import annotations

_DOCS = "https://docs.kraken.com/api/docs/"

#: Kraken's own pages.
TIME = _DOCS + "rest-api/get-server-time"
SYSTEM_STATUS = _DOCS + "rest-api/get-system-status"
ASSETS = _DOCS + "rest-api/get-asset-info"
ASSET_PAIRS = _DOCS + "rest-api/get-tradable-asset-pairs"
TOKEN = _DOCS + "rest-api/get-websockets-token"
LEVEL3_CALL = _DOCS + "rest-api/get-level-3-order-book"
REST_INTRO = _DOCS + "guides/spot-rest-intro"
REST_AUTH = _DOCS + "guides/spot-rest-auth"
ERRORS = _DOCS + "guides/spot-errors"
WS_INTRO = _DOCS + "guides/spot-ws-intro"
CHANGES = _DOCS + "change-log"
STATUS = _DOCS + "websocket-v2/status"
HEARTBEAT = _DOCS + "websocket-v2/heartbeat"
PING = _DOCS + "websocket-v2/ping"
LEVEL3 = _DOCS + "websocket-v2/level3"
LEVEL3_CHECKSUM = _DOCS + "guides/spot-ws-l3-v2"
BOOK = _DOCS + "websocket-v2/book"
BOOK_CHECKSUM = _DOCS + "guides/spot-ws-book-v2"
TRADE = _DOCS + "websocket-v2/trade"
TICKER = _DOCS + "websocket-v2/ticker"
INSTRUMENT = _DOCS + "websocket-v2/instrument"

#: Others, who published what they saw.
CRYPTO_TRADER = "https://github.com/eudaldrg/crypto_trader"  # live level3, 2026-09
DEPTH_CHARGE = "https://github.com/GarethCooke/DepthCharge"  # live book channel, 2026-08
KRACKED = "https://github.com/r2stanton/kracked"  # recorded level3 events, 2024-11
RUSTRADE = "https://docs.rs/crate/rustrade-data/0.14.0/source/src/exchange/kraken/subscription.rs"
BARTER = "https://docs.rs/crate/barter-data/0.11.0/source/src/exchange/kraken/subscription.rs"  # version 1 of the API
XCHANGE = "https://github.com/knowm/XChange/issues/3683"
