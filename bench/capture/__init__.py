"""What recording costs: `python -m bench.capture`."""
