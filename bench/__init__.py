"""Benchmarks: each prints a table; `make bench` runs them all. No test depends on a time."""
