"""Compares what was recorded with what Kraken's REST API says: books, and the ids of trades."""
