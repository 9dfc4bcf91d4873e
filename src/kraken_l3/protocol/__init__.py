"""Kraken WebSocket v2 and its REST token call, without any I/O."""
