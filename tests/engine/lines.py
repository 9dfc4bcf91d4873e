"""Level3 lines written by hand, with checksums that the caller gives or that are left out."""

import json
import zlib

T0 = "2026-01-02T03:04:05.000000000Z"


def at(ns):
    return f"2026-01-02T03:04:05.{ns:09d}Z"


def order(order_id, price, qty, ns=1, event=None):
    """Numbers are texts, as on the wire."""
    kind = f'"event":"{event}",' if event else ""
    return f'{{{kind}"order_id":"{order_id}","limit_price":{price},"order_qty":{qty},"timestamp":"{at(ns)}"}}'


def message(kind, bids=(), asks=(), checksum=None, symbol="A/USD", ns=9):
    stated = f'"checksum":{checksum},' if checksum is not None else ""
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":{json.dumps(symbol)},{stated}'
        f'"bids":[{",".join(bids)}],"asks":[{",".join(asks)}],"timestamp":"{at(ns)}"}}]}}'
    ).encode()


def snapshot(bids=(), asks=(), checksum=None, **more):
    return message("snapshot", bids, asks, checksum, **more)


def update(bids=(), asks=(), checksum=None, **more):
    return message("update", bids, asks, checksum, **more)


def crc(text):
    return zlib.crc32(text.encode())


#: One bid of 2.0 at 10.0 and one ask of 3.0 at 11.0, precision 1 and 1.
SNAPSHOT = snapshot([order("b", "10.0", "2.0")], [order("a", "11.0", "3.0")], crc("11030" + "10020"))
