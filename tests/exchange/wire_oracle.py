"""A book of a few lines, written for these tests alone: decimal text in, checksum out.

It knows nothing of the project. Rules: the checksum page of Kraken's documentation, and truncation after every message.
"""

import json
import re
import zlib
from decimal import Decimal


class Number(str):
    """A number as written."""


def read(payload):
    text = payload.decode() if isinstance(payload, (bytes, bytearray)) else payload
    return json.loads(text, parse_float=Number, parse_int=Number)


class Book:
    def __init__(self, depth, price_precision=None, qty_precision=None):
        self.depth = depth
        self.precisions = (price_precision, qty_precision)
        self.sides = {"bids": {}, "asks": {}}

    def apply(self, payload):
        """Applies a level3 message; whether its checksum is right."""
        message = read(payload)
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name, orders in self.sides.items():
            for entry in data[name]:
                event = entry.get("event", "add")
                if event == "delete":
                    del orders[entry["order_id"]]  # unknown: KeyError, which is a failure
                else:
                    assert event != "modify" or entry["order_id"] in orders
                    orders[entry["order_id"]] = entry
            self._truncate(name)
        return self.checksum() == int(data["checksum"])

    def levels(self, name):
        prices = {}
        for entry in self.sides[name].values():
            prices.setdefault(Decimal(entry["limit_price"]), []).append(entry)
        ordered = sorted(prices, reverse=name == "bids")
        return [(p, sorted(prices[p], key=lambda e: e["timestamp"])) for p in ordered]

    def _truncate(self, name):
        for _, entries in self.levels(name)[self.depth :]:
            for entry in entries:
                del self.sides[name][entry["order_id"]]

    def checksum(self):
        tokens = []
        for name in ("asks", "bids"):
            for _, entries in self.levels(name)[:10]:
                for e in entries:
                    tokens += [
                        self._token(e["limit_price"], self.precisions[0]),
                        self._token(e["order_qty"], self.precisions[1]),
                    ]
        return zlib.crc32("".join(tokens).encode())

    @staticmethod
    def _token(text, precision):
        if precision is not None:
            text = f"{Decimal(text):.{precision}f}"
        assert re.fullmatch(r"\d+(\.\d+)?", text), text
        return text.replace(".", "").lstrip("0")
