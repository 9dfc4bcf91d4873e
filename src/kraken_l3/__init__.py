"""Kraken's order-by-order book: recorded byte for byte, verified, rebuilt, exported."""

from kraken_l3._version import __version__

__all__ = ["__version__"]
