"""The order-by-order (market-by-order) book, without any I/O."""
