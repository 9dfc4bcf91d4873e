"""Synthetic order flow: a small seeded matching engine that renders Kraken's level3 and trade messages.

It shares no code with the client's decoder or the book, so that an error in one cannot hide in the other:
prices, quantities and checksums are written from its own orders as decimal text.
"""

from kraken_l3.exchange.flow.generate import generate
from kraken_l3.exchange.flow.listing import Pair, listing
from kraken_l3.exchange.flow.market import Market
from kraken_l3.exchange.flow.trader import Trader, TraderProfile

__all__ = ["Market", "Pair", "Trader", "TraderProfile", "generate", "listing"]
