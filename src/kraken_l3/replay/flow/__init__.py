"""Synthetic order flow: a small seeded matching engine that renders Kraken's level3 and trade messages.

It shares no code with the client's decoder or the book, so that an error in one cannot hide in the other:
prices, quantities and checksums are written from its own orders as decimal text.
"""

from kraken_l3.replay.flow.generate import generate
from kraken_l3.replay.flow.listing import Pair, listing
from kraken_l3.replay.flow.market import Market
from kraken_l3.replay.flow.trader import Habits, Trader

__all__ = ["Habits", "Market", "Pair", "Trader", "generate", "listing"]
